"""Answers of HTTP/1.1 from bytes, by https://www.rfc-editor.org/rfc/rfc9112.

It reads from no socket, so that threads and loops share it.
"""

import re
import zlib
from http.client import HTTPException, IncompleteRead


LIMIT = 16 * 1024  # bytes of a size with its extensions, and of all trailers
HEAD = 128 * 1024  # bytes of a head
UNPACKED = 64 * 1024  # bytes that are unpacked at once
# The end of the data before it, and the size of the next.
_FRAME = re.compile(rb"\r\n([0-9a-fA-F]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
_TRAILERS = re.compile(rb"(?:(?!\r?\n)[^\n]*\n)*\r?\n")
_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.(\d) ([1-9]\d\d)(?= |$)")


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


class Packed:
    """The data in a packed body, a part at a time, as little may stand for very much.

    Args:
        kind: The Content-Encoding.

    Raises:
        ValueError: It is none that can be read.
    """

    __slots__ = ("_codec", "_held", "_raw")

    def __init__(self, kind: str) -> None:
        if kind not in ("gzip", "x-gzip", "deflate"):
            raise ValueError(f"the answer is packed as {kind[:40]!r}, unasked")
        self._codec = zlib.decompressobj(47)  # gzip or zlib, as it says itself
        self._raw = kind == "deflate"  # may be without zlib's frame
        self._held = b""

    @property
    def more(self) -> bool:
        """Whether there is something to unpack without a further read."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take what was read, and give some of the data in it.

        Raises:
            ValueError: It is not packed so.
        """
        data, self._held = self._held + data, b""
        try:
            found = self._codec.decompress(data, UNPACKED)
        except zlib.error as error:
            if not self._raw:
                raise ValueError(f"the answer cannot be unpacked: {error}") from None
            self._codec, self._raw = zlib.decompressobj(-15), False
            return self.feed(data)
        self._raw = self._raw and not found
        self._held = self._codec.unconsumed_tail
        if self._codec.eof and self._codec.unused_data[:2] == b"\x1f\x8b":
            self._held = self._codec.unused_data  # another follows
            self._codec = zlib.decompressobj(47)
        return found


class Answer:
    """An answer's head, then its body; those that come before it are passed over.

    `headers` have their names in lower case; `keep` says whether the connection can
    have another request once the answer has `ended`.
    """

    __slots__ = (
        "_chunks", "_head", "_left", "_packed", "_rest", "ended", "headers", "keep",
        "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self._head: bytearray | None = bytearray()  # None once it is read
        self._rest = b""  # of the body, read with the head
        self._chunks: Chunks | None = None
        self._left: int | None = None
        self._packed: Packed | None = None
        self.headers: dict[str, str] = {}
        self.status = 0
        self.keep = False
        self.ended = False

    def begin(self, data: bytes) -> bool:
        """Take what was read, nothing at its end, until the head is whole.

        Raises:
            HTTPException: It is no head of HTTP/1.1.
            ValueError: The body is packed in a way that cannot be read.
        """
        held = self._head
        assert held is not None
        seen = max(len(held) - 2, 0)
        held += data
        while (end := _END.search(held, seen)) is not None:
            rest = held[end.end() :]
            early = self._read_head(held[: end.start()].decode("latin-1"))
            if not early:
                self._rest, self._head = bytes(rest), None
                self._frame()
                return True
            held, seen = rest, 0
        if not data:
            raise HTTPException("the connection ended before the answer")
        if len(held) > HEAD:
            raise HTTPException(f"a head of more than {HEAD} bytes")
        self._head = held
        return False

    @property
    def more(self) -> bool:
        """Whether there is something to give out without a further read."""
        return bool(self._rest) or (self._packed is not None and self._packed.more)

    def read(self, data: bytes = b"") -> bytes:
        """Take what was read, nothing at its end, and give the data in it.

        Nothing is given where only framing came, and when it has `ended`.

        Raises:
            HTTPException: The body is not framed as it said, or ends too soon.
            ValueError: It is not packed as it said.
        """
        packed = self._packed
        if packed is not None and packed.more:
            return packed.feed(b"")
        if self._rest:
            data, self._rest = self._rest, b""
        if self.ended:
            return b""
        found = self._unframed(data)
        return found if packed is None or not found else packed.feed(found)

    def _unframed(self, data: bytes) -> bytes:
        chunks, left = self._chunks, self._left
        if chunks is not None:
            found = chunks.feed(data)
            self.ended = chunks.ended
            self.keep = self.keep and bool(data) and not chunks.beyond
            return found
        if left is None:
            self.ended = not data
            return data
        if not data:
            raise IncompleteRead(b"", left)
        found = data[:left]
        self._left = left = left - len(found)
        self.ended = not left
        self.keep = self.keep and len(found) == len(data)
        return found

    def _read_head(self, text: str) -> bool:
        """Read it, and say whether another follows."""
        first, *lines = text.split("\n")
        status = _STATUS.match(first.rstrip("\r"))
        if status is None:
            raise HTTPException(f"this is no answer of HTTP/1.1: {first[:40]!r}")
        self.status = int(status[2])
        headers = self.headers = {}
        last = ""
        for line in lines:
            name, colon, value = line.partition(":")
            if line[:1] in " \t" and last:
                headers[last] += " " + line.strip()  # an old way to go on
            elif colon:
                last, value = name.lower(), value.strip()
                headers[last] = (
                    f"{headers[last]}, {value}" if last in headers else value
                )
        said = headers.get("connection", "").lower()
        self.keep = "close" not in said and (status[1] != "0" or "keep-alive" in said)
        return self.status < 200 and self.status != 101

    def _frame(self) -> None:
        """See how the body is framed, by section 6.3."""
        headers = self.headers
        coding = headers.get("transfer-encoding", "").lower()
        sizes = {size.strip() for size in headers.get("content-length", "").split(",")}
        packing = headers.get("content-encoding", "identity").strip().lower()
        if self.status < 200 or self.status in (204, 304):
            self._left = 0
        elif coding:
            if coding != "chunked":
                raise HTTPException(f"a body coded as {coding[:40]!r}")
            self._chunks = Chunks()
            self.keep = self.keep and sizes == {""}
        elif sizes != {""}:
            size = sizes.pop()
            if sizes or not (size.isascii() and size.isdigit() and len(size) < 20):
                raise HTTPException("an answer of two lengths, or of none")
            self._left = int(size)
        else:
            self.keep = False
        if packing != "identity":
            self._packed = Packed(packing)
        if self._left == 0:
            self.ended, self.keep = True, self.keep and not self._rest
