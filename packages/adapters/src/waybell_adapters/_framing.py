"""Where the body of an answer ends, by https://www.rfc-editor.org/rfc/rfc9112#section-6.3.

Each way takes what was read (nothing at its end) and gives the data in it; `ended` says
that nothing more is of this body, `beyond` that something came after it.
"""

import re
from collections.abc import Mapping
from http.client import HTTPException, IncompleteRead


LIMIT = 16 * 1024  # bytes of a size with its extensions, and of all trailers
# The end of the data before it, and the size of the next.
_FRAME = re.compile(rb"\r\n([0-9a-fA-F]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
_TRAILERS = re.compile(rb"(?:(?!\r?\n)[^\n]*\n)*\r?\n")
_SIZE = re.compile(r"[0-9]{1,18}")


def framing(headers: Mapping[str, str]) -> "Chunks | Sized | Open":
    """How the body of an answer with these fields is framed.

    Raises:
        HTTPException: The head does not say it, or says two things.
    """
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked":
            raise HTTPException(f"a body coded as {coding[:40]!r}")
        return Chunks()
    if length is None:
        return Open()
    sizes = {size.strip(" \t") for size in length.split(",")}
    size = sizes.pop()
    if sizes or not _SIZE.fullmatch(size):
        raise HTTPException(f"an answer of no one length: {length[:40]!r}")
    return Sized(int(size))


class Open:
    """A body that lasts until the connection ends."""

    __slots__ = ("beyond", "ended")

    def __init__(self) -> None:
        self.ended = self.beyond = False

    def feed(self, data: bytes) -> bytes:
        """Take what was read and give the data in it."""
        self.ended = not data
        return data


class Sized:
    """A body of so many bytes.

    Args:
        size: How many.
    """

    __slots__ = ("_left", "beyond", "ended")

    def __init__(self, size: int) -> None:
        self._left = size
        self.ended = not size
        self.beyond = False

    def feed(self, data: bytes) -> bytes:
        """Take what was read and give the data in it.

        Raises:
            HTTPException: It ends too soon.
        """
        if not data:
            raise IncompleteRead(b"", self._left)
        found = data[: self._left]
        self._left -= len(found)
        self.ended, self.beyond = not self._left, len(found) < len(data)
        return found


class Chunks:
    """A chunked body, by https://www.rfc-editor.org/rfc/rfc9112#section-7.1.

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
