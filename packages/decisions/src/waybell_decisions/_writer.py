"""The file: whole lines appended by one write each, torn ones sealed, parts rotated."""

import errno
import fcntl
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from weakref import WeakSet

from waybell_decisions._encode import MARK


BLOCK, _PATIENCE = 1 << 20, 100
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS lacks it
_logger = logging.getLogger("waybell_decisions")


class LogWriteError(OSError):
    """A record could not be written: it is not in the log, or not whole."""

    @property
    def path(self) -> str:
        """The file that refused it."""
        return str(self.filename)


class Sealed(NamedTuple):
    """A torn record that was found, and ended with a newline, when a file was opened."""

    path: str
    offset: int
    size: int


class _Part:
    """An open file; closed when the last thread that writes to it lets go."""

    __slots__ = ("fd", "number", "path", "torn")

    def __init__(self, path: Path, number: int, fd: int) -> None:
        self.path, self.number, self.fd, self.torn = str(path), number, fd, False

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Closed at once, the number could be used again under a thread that is still
        # writing, and its record would end in a stranger's file.
        close(self.fd)


@dataclass(slots=True, weakref_slot=True, eq=False)
class Writer:
    """Appends lines to a path and, when their size is limited, to the parts after it."""

    path: Path
    fsync: bool = False
    rotate_bytes: int | None = None
    write: Callable[[int, bytes], int] = os.write
    sealed: tuple[Sealed, ...] = ()
    stamp: tuple[str, int, "count[int]"] = field(init=False)
    _lock: Lock = field(init=False)
    _part: _Part | None = field(init=False)

    def __post_init__(self) -> None:
        """Open the last part there is."""
        self.renew()
        _writers.add(self)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            last = max((number for number, _ in parts(self.path)), default=0)
            self._part = self._opened(last)
        except OSError as exc:
            raise _refused(exc, self.path) from exc

    def renew(self) -> None:
        """Take a new identity, as the child of a fork must."""
        # What makes ids unique: a name drawn by each log in each process, and a number.
        self.stamp = f"{os.urandom(6).hex()}-", os.getpid(), count(1)
        self._lock = Lock()  # the old one may be held by a thread that was not copied

    def record(self, line: bytes, record_id: str) -> str:
        """Append a line by one write, and return `record_id`."""
        part = self._part
        if part is None:
            raise LogWriteError(errno.EBADF, "the log is closed", str(self.path))
        try:
            if self.rotate_bytes is not None:
                part = self._with_room(part, len(line))
            if part.torn or self.write(part.fd, line) != len(line):
                self._on_a_new_line(part, line)
            if self.fsync:
                _sync(part.fd)
        except OSError as exc:
            raise _refused(exc, part.path) from exc
        return record_id

    outcome = record  # structlog tells its processors which of the two was called

    def close(self) -> None:
        """Take no more records."""
        self._part = None

    def _on_a_new_line(self, part: _Part, line: bytes) -> None:
        # The rest of a record cut short may not be appended later: another process
        # may have written in between. The piece stays, and the record comes again.
        part.torn = True
        if self.write(part.fd, b"\n" + line) != len(line) + 1:
            raise OSError(errno.EIO, "only a part of the record could be written")
        part.torn = False

    def _with_room(self, part: _Part, size: int) -> _Part:
        if self._fits(part, size):
            return part
        with self._lock:
            if self._part is part:
                self._part = self._opened(part.number + 1, size)
            return self._part or part  # closed meanwhile: the record is still taken

    def _fits(self, part: _Part, size: int) -> bool:
        end = os.fstat(part.fd).st_size
        return not end or self.rotate_bytes is None or end + size <= self.rotate_bytes

    def _opened(self, number: int, size: int = 0) -> _Part:
        """Open the first part from `number` on that has room for `size` bytes."""
        while True:
            path = part_path(self.path, number)
            part = _Part(path, number, _create(path, fsync=self.fsync))
            if stat.S_ISFIFO(os.fstat(part.fd).st_mode):
                raise OSError(errno.ESPIPE, "not a file: it keeps nothing", part.path)
            self._seal(part)
            if self._fits(part, size):
                return part
            number += 1

    def _seal(self, part: _Part) -> None:
        """End an unfinished last line; see docs/decisions/torn-tail.md."""
        if size := _unfinished(part.fd):
            # The kernel orders appends: should a record have begun after all, it ends
            # before this newline, and what stands at `size` tells.
            self.write(part.fd, b"\n")
            ours = os.lseek(part.fd, 0, os.SEEK_CUR) - 1
            if ours == size or os.pread(part.fd, len(MARK), size) == MARK:
                torn = len(next(backwards(part.path, size)))
                found = Sealed(part.path, size - torn, torn)
                self.sealed += (found,)
                _logger.warning("%s: sealed at byte %d a record torn at %d", *found)
        with suppress(OSError):
            fcntl.flock(part.fd, fcntl.LOCK_UN)


_writers: "WeakSet[Writer]" = WeakSet()
os.register_at_fork(after_in_child=lambda: list(map(Writer.renew, _writers)))


def _unfinished(fd: int) -> int:
    """Return where a file ends whose last record nobody is writing on; else 0."""
    size = 0
    for _ in range(_PATIENCE):
        size = os.fstat(fd).st_size
        if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
            return 0
        with suppress(OSError):  # another opener is at it, or the file is not ours
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The kernel sets no mode, not even the same, amid a write: after this, a
            # record that was in flight is there.
            os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode))
            if os.fstat(fd).st_size == size:
                break
        time.sleep(0.001)
    return size


def part_path(path: Path, number: int) -> Path:
    """Name a part: `log.jsonl`, then `log.000001.jsonl` and so on."""
    return path.with_name(f"{path.stem}.{number:06d}{path.suffix}") if number else path


def parts(path: Path) -> list[tuple[int, Path]]:
    """List the parts there are, in order, with their numbers."""
    name = re.compile(re.escape(path.stem) + r"\.([0-9]{6,})" + re.escape(path.suffix))
    matches = map(name.fullmatch, os.listdir(path.parent))  # noqa: PTH208 - names do
    found = [(int(match[1]), path.with_name(match[0])) for match in matches if match]
    return sorted([(0, path), *found] if path.exists() else found)


def _create(path: Path, *, fsync: bool) -> int:
    """Open a part for appending; a new one is for its owner only, whatever the umask."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags, 0o600)
    os.fchmod(fd, 0o600)
    if fsync:  # a file whose folder forgets it is lost too
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    return fd


def backwards(path: str | Path, end: int | None = None) -> Iterator[bytes]:
    """Yield the lines of a file, or those before `end`, the last one first."""
    pending: list[bytes] = []  # pieces of the line whose start is not yet read
    with open(path, "rb") as file:  # noqa: PTH123 - of either type
        left = file.seek(0, os.SEEK_END) if end is None else end
        while left:
            size = min(BLOCK, left)
            left = file.seek(left - size)
            first, *lines = file.read(size).split(b"\n")
            if lines:
                yield b"".join([lines.pop(), *reversed(pending)])
                yield from reversed(lines)
                pending = []
            pending.append(first)
    yield b"".join(reversed(pending))


def _refused(exc: OSError, path: str | Path) -> LogWriteError:
    name = str(exc.filename or path)
    return LogWriteError(exc.errno or errno.EIO, exc.strerror or str(exc), name)
