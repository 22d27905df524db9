"""The built-in tools that read, write and list files under one folder."""

import os
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from secrets import token_hex

from waybell_tools._beneath import Root, opened, parts_of, told, writable
from waybell_tools._errors import ToolDenied, ToolError, ToolLimitError
from waybell_tools._limits import positive


_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_WIDEST = 4  # bytes of a character, without which no reading goes on


def read_file(
    root: str | os.PathLike[str],
    *,
    max_bytes: int = 1_000_000,
    hard_links: bool = False,
) -> Callable[..., str]:
    """Make a tool that reads text files under `root`, and nothing else.

    Args:
        root: An existing folder.
        max_bytes: Of one call; of a longer file the rest is read by another.
        hard_links: Whether files of several names may be read.
    """
    base, most = Root(root), int(positive(max_bytes, "max_bytes"))
    if most < _WIDEST:
        raise ValueError(f"max_bytes must be at least {_WIDEST}, not {max_bytes}")

    def read_file(path: str, start: int = 0) -> str:
        """Read a text file.

        Args:
            path: Relative to the root.
            start: The byte to start at.
        """
        parts = parts_of(path)
        with base.folder(parts[:-1], path) as folder:
            file = opened((parts or ["."])[-1], folder, path, hard_links=hard_links)
        with os.fdopen(file, "rb") as source:
            size = os.fstat(file).st_size
            start = min(max(0, start), size)
            source.seek(start)
            data = source.read(most)
        return _text(data, start, size, path)

    return read_file


def _text(data: bytes, start: int, size: int, path: str) -> str:
    decoder = getincrementaldecoder("utf-8")()
    whole = start + len(data) >= size
    try:
        text = decoder.decode(data, whole)
    except UnicodeDecodeError as error:
        raise ToolError(f"{path!r} is not UTF-8 text (byte {error.start})") from None
    if whole:
        return text
    end = start + len(data) - len(decoder.getstate()[0])
    return f"{text}\n[cut: {size} bytes, read on with start={end}]"


def write_file(
    root: str | os.PathLike[str],
    *,
    max_bytes: int = 1_000_000,
    overwrite: bool = True,
) -> Callable[..., str]:
    """Make a tool that writes text files under `root`, each at once or not at all.

    Args:
        root: An existing folder.
        max_bytes: Of a file.
        overwrite: Whether existing files may be replaced.
    """
    base = Root(root)

    def write_file(path: str, content: str) -> str:
        """Write a text file; missing folders are made.

        Args:
            path: Relative to the root.
            content: The whole text.
        """
        data = content.encode(errors="replace")
        if len(data) > max_bytes:
            raise ToolLimitError(f"{path!r}: {len(data)} bytes, {max_bytes} may be")
        parts = parts_of(path)
        if _CONTROL.search(path):
            raise ToolDenied(f"{path!r} has control characters")
        name = (parts or ["."])[-1]
        with base.folder(parts[:-1], path, make=True) as folder:
            mode = writable(name, folder, path)
            with told(path):
                _replace(folder, name, data, mode, overwrite)
        return f"wrote {len(data)} bytes to {path}"

    return write_file


def _replace(fd: int, name: str, data: bytes, mode: int, overwrite: bool) -> None:
    draft = f".waybell-{token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, mode or 0o666, dir_fd=fd), "wb") as file:
        try:
            file.write(data)
            file.flush()
            if mode:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            if overwrite:
                os.rename(draft, name, src_dir_fd=fd, dst_dir_fd=fd)
            else:
                os.link(draft, name, src_dir_fd=fd, dst_dir_fd=fd)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=fd)


def list_files(
    root: str | os.PathLike[str], *, max_entries: int = 1000
) -> Callable[..., list[str]]:
    """Make a tool that lists folders under `root`.

    Args:
        root: An existing folder.
        max_entries: Of one call.
    """
    base = Root(root)

    def list_files(path: str = ".", recursive: bool = False) -> list[str]:
        """List a folder: files by their path, folders with / and links with @ behind.

        Args:
            path: Relative to the root.
            recursive: Whether to list the folders in it too.
        """
        names = _walk(base, parts_of(path), recursive, max(max_entries + 1, 100_000))
        found = list(islice(names, max_entries + 1))
        if len(found) > max_entries:
            found[max_entries:] = [f"[cut: more than {max_entries} entries]"]
        return found

    return list_files


def _walk(base: Root, start: list[str], recursive: bool, most: int) -> Iterator[str]:
    waiting = [start]
    while waiting:
        parts = waiting.pop()
        try:
            entries = _entries(base, parts, most)
        except OSError:  # it is closed to us, or gone or a link by now
            if parts is start:
                raise
            continue
        for name, mark in entries:
            yield "/".join([*parts, name]) + mark
        if recursive:
            waiting += [[*parts, name] for name, mark in entries if mark == "/"][::-1]


def _entries(base: Root, parts: list[str], most: int) -> list[tuple[str, str]]:
    path = "/".join(parts) or "."
    with base.folder(parts, path) as fd, told(path), os.scandir(fd) as found:
        return sorted((e.name, _mark(e)) for e in islice(found, most))


def _mark(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return "@"
    if entry.is_dir(follow_symlinks=False):
        return "/"
    return "" if entry.is_file(follow_symlinks=False) else "="
