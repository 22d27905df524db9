"""Answers of HTTP: early ones, chunks, and what comes behind the end."""

import re
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, cast

from waybell_adapters._line import shutdown


LIMIT = 16 * 1024  # bytes of a size with its extensions, and of all trailers
# The end of the data before it, and the size of the next.
_FRAME = re.compile(rb"\r\n([0-9a-fA-F]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
_TRAILERS = re.compile(rb"(?:(?!\r?\n)[^\n]*\n)*\r?\n")


class Chunks:
    """The data in a chunked body, by https://www.rfc-editor.org/rfc/rfc9112#section-7.1.

    Of a chunk that is not whole its data is given out too; only framing is kept.
    """

    __slots__ = ("_held", "_last", "_left", "beyond", "ended")

    def __init__(self) -> None:
        self._held = b"\r\n"  # as if other data had ended: each frame is the same then
        self._left = 0
        self._last = False  # only trailers can come
        self.ended = False
        self.beyond = False  # something came after the end

    def feed(self, data: bytes) -> bytes:
        """Take what was read, nothing at its end, and give the data in it.

        Raises:
            HTTPException: It is not chunked, or ends too soon.
        """
        at = self._left
        if not data:
            if not self._last:
                raise IncompleteRead(b"")
            self.ended = True  # by a server that leaves out the last line
        if at >= len(data):
            self._left -= len(data)
            return data
        if self._held:
            data = self._held + data
        found = [data[:at]]
        while not self._last and (frame := _FRAME.match(data, at)):
            size, at = int(frame[1], 16), frame.end()
            self._last = not size
            found.append(data[at : at + size])
            at += size
        self._left = max(at - len(data), 0)
        self._hold(data[at:])
        return b"".join(found)

    def _hold(self, rest: bytes) -> None:
        end = _TRAILERS.match(rest) if self._last else None
        if end is not None:
            self.ended, self.beyond = True, end.end() < len(rest)
        elif len(rest) > LIMIT or (not self._last and b"\n" in rest[2:]):
            raise HTTPException(f"this is no chunk: {rest[:40]!r}")
        self._held = rest


class Answer(HTTPResponse):
    """An answer; those that a server sends before it are passed over."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._sock = sock
        self._chunks: Chunks | None = None

    def begin(self) -> None:
        """Read the head, and refuse here, where it is closed, what urllib3 will."""
        super().begin()
        sizes = (self.headers.get("content-length") or "").split(",")
        if len({size.strip() for size in sizes}) > 1:
            raise HTTPException("an answer of two lengths")
        if self.chunked:
            self._chunks = Chunks()

    def read1(self, n: int = -1) -> bytes:
        """What has come: of a chunked body all chunks in it, not only the first."""
        chunks = self._chunks
        if chunks is None:
            return super().read1(n)
        found = b""
        while not (found or chunks.ended):
            found = chunks.feed(self.fp.read1(n))
        if chunks.beyond:
            shutdown(self._sock)  # so that no other call will take it for its answer
        if chunks.ended:
            self._chunks = None
            self.close()
        return found

    def _read_status(self: Any) -> tuple[str, int, str]:
        while True:
            found = cast(tuple[str, int, str], super()._read_status())  # type: ignore[misc]
            if not 100 < found[1] < 200 or found[1] == 101:
                return found
            while self.fp.readline(LIMIT).strip():
                pass
