"""Files under one folder, reached component by component, so that no link leads out."""

import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from waybell_tools._errors import ToolDenied


_FOLDER = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_LONGEST = 4096  # bytes of a path, as the system has it
_CAN = {os.open, os.stat, os.mkdir, os.rename, os.unlink, os.link} <= os.supports_dir_fd


def parts_of(path: str) -> list[str]:
    """The components of a relative path.

    Raises:
        ToolDenied: It is absolute, goes up, or is no path.
    """
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded or not path:
        raise ToolDenied(f"{path!r} is not a path")
    if len(encoded) > _LONGEST:
        raise ToolDenied(f"{path[:100]!r}... is longer than {_LONGEST} bytes")
    if re.match(r"[/\\]|.:", path):
        raise ToolDenied(f"{path!r} is absolute; paths are relative to the root")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ToolDenied(f"{path!r} goes up; paths stay under the root")
    return parts


class Root:
    """The folder under which files are reached.

    A component is opened relative to the open folder before it and never through a
    link, so that nothing swapped in meanwhile leads out.

    Args:
        path: An existing folder.
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not (_CAN and _NOFOLLOW):
            raise ToolDenied("this system cannot open files relative to a folder")
        self.path = str(Path(path).resolve(strict=True))
        os.close(os.open(self.path, _FOLDER))  # raises if it is no folder

    @contextmanager
    def folder(
        self, parts: list[str], path: str, *, make: bool = False
    ) -> Generator[int]:
        """Open a folder; `path` is what errors name, `make` makes missing ones."""
        with told(path):
            fd = os.open(self.path, _FOLDER | _NOFOLLOW)
        try:
            for part in parts:
                with told(path):
                    if make:
                        with suppress(FileExistsError):  # opened as what it is
                            os.mkdir(part, dir_fd=fd)
                    below = os.open(part, _FOLDER | _NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)


@contextmanager
def told(path: str) -> Generator[None]:
    """Name the path as it was given in errors of the system; links are refused."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ToolDenied):
            raise
        if error.errno == getattr(os, "ELOOP", 40):
            raise ToolDenied(f"{path!r} leads through a link") from None
        raise type(error)(error.errno, error.strerror, path) from None


def opened(name: str, fd: int, path: str, *, hard_links: bool) -> int:
    """Open a plain file for reading.

    Raises:
        ToolDenied: It is a link, a device or the like.
    """
    with told(path):
        _check(os.stat(name, dir_fd=fd, follow_symlinks=False), path, hard_links)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | _NOFOLLOW
        file = os.open(name, flags, dir_fd=fd)
    try:
        _check(os.fstat(file), path, hard_links)
    except ToolDenied:
        os.close(file)
        raise
    return file


def writable(name: str, fd: int, path: str) -> int:
    """The mode for a file that is to be written, the old one's if there is one.

    Raises:
        ToolDenied: There is something else than a plain file.
    """
    with told(path):
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return 0
    _check(found, path, hard_links=True)
    if not found.st_mode & 0o222:
        raise ToolDenied(f"{path!r} is read-only")
    return found.st_mode & 0o777  # not the bits that lend its owner's rights


def _check(found: os.stat_result, path: str, hard_links: bool) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise ToolDenied(f"{path!r} is a link")
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "Is a folder", path)
    if not stat.S_ISREG(found.st_mode):
        raise ToolDenied(f"{path!r} is not a plain file")
    if found.st_nlink > 1 and not hard_links:
        raise ToolDenied(f"{path!r} has a hard link, which may be outside of the root")
