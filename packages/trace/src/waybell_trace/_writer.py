"""Puts each span on file when it starts and when it ends, one `os.write` each."""

import logging
import os
import threading
import weakref
from pathlib import Path
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from waybell_trace._ids import forks
from waybell_trace._otlp import Lines, encode_start


_log: Final = logging.getLogger("waybell_trace")


class LineFile:
    """A file of lines, each written by one `os.write` on `O_APPEND`.

    The kernel appends each write whole, also between processes (local file systems
    of Linux and macOS), so there is no buffer to lose and no lock to hold at a fork.
    """

    __slots__ = (
        "__weakref__", "_closed", "_fd", "_forks", "_lock", "_torn", "_what", "lost",
        "path", "sealed",
    )  # fmt: skip

    def __init__(self, path: str | os.PathLike[str], what: str) -> None:
        self.path = os.fspath(path)
        self.lost, self._what = 0, what
        self.sealed = self._torn = self._closed = False
        self._forks = forks[0]
        self._lock = threading.Lock()
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        # The number is given back only when nobody can write to it any more.
        weakref.finalize(self, os.close, self._fd).atexit = False
        self._seal()

    def write(self, line: bytes) -> None:
        """Append `line`, which ends in a newline; never raises, but counts losses."""
        try:
            if self._torn or os.write(self._fd, line) != len(line):
                self._rewrite(line)
            if self._closed:
                self.lose("it is closed")
        except OSError as error:
            self.lose("it is closed" if self._closed else error)

    def lose(self, error: BaseException | str) -> None:
        """Count a line that could not be written; the first one is warned of."""
        if self._forks != forks[0]:
            # Another thread may have held it at the fork.
            self._forks, self._lock = forks[0], threading.Lock()
        with self._lock:
            first, self.lost = not self.lost, self.lost + 1
        if first:
            _log.warning("%s lost, not written to %s: %s", self._what, self.path, error)

    def close(self) -> None:
        """Give the file back; what is written from now on is counted as lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        # Closing the number here would let a thread that is just about to write hit
        # whatever file is opened next under the same number.
        try:
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:  # no number is free: ours is given back with this object
            self._fd = -1
            return
        os.dup2(null, self._fd, inheritable=False)
        os.close(null)

    def _rewrite(self, line: bytes) -> None:
        # A write was cut short (disk full, quota). Finishing it later could land behind
        # a line of another process, so the stump is ended and the line written again.
        self._torn = True
        if os.write(self._fd, b"\n" + line) == len(line) + 1:
            self._torn = False
        else:
            self.lose("the write was cut short")

    def _seal(self) -> None:
        size = os.fstat(self._fd).st_size
        if not size or os.pread(self._fd, 1, size - 1) == b"\n":
            return
        # Either a stump, or another process's line in flight. The kernel lets a write
        # in flight finish before ours, so what is in front of our newline then tells.
        try:
            os.write(self._fd, b"\n")
        except OSError:
            self._torn = True
            return
        end = os.lseek(self._fd, 0, os.SEEK_CUR)
        if os.pread(self._fd, 1, end - 2) != b"\n":
            self.sealed = True
            _log.warning("%s ended in the middle of a line; sealed it", self.path)


class FileProcessor(SpanProcessor):
    """Writes a span in the very call that ends it; `force_flush` finds nothing to do."""

    __slots__ = ("_lines", "spans", "starts")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.spans = LineFile(path, "span")
        self.starts = LineFile(starts_path(path), "start of a span")
        self._lines = Lines()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - its interface
        """Write that `span` has begun."""
        try:
            self.starts.write(encode_start(span))
        except Exception as error:
            self.starts.lose(error)

    def on_end(self, span: ReadableSpan) -> None:
        """Write the whole of `span`."""
        try:
            self.spans.write(self._lines.encode(span))
        except Exception as error:
            self.spans.lose(error)

    def close(self) -> None:
        """Close both files."""
        self.spans.close()
        self.starts.close()


def starts_path(path: str | os.PathLike[str]) -> str:
    """The side file of `path`: `traces.jsonl` has `traces.starts.jsonl`."""
    file = Path(path)
    return str(file.with_name(f"{file.stem}.starts{file.suffix}"))
