"""Answers of HTTP/1.1, of bytes, by https://www.rfc-editor.org/rfc/rfc9112.

It reads from no socket, so that threads and loops share it.
"""

import re
import zlib
from http.client import HTTPException
from typing import Any

from waybell_adapters._framing import Chunks, Open, Sized, framing


HEAD = 128 * 1024  # bytes of a head
LINES = 1000  # lines of a head
UNPACKED = 64 * 1024  # bytes that are unpacked at once
_GZIP = 0x1F8B
_BLANK = " \t\r"
_END = re.compile(rb"\n\r?\n")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_STATUS = re.compile(r"HTTP/1\.(\d) ([1-9]\d\d)(?=[ \r]|$)")


class Packed:
    """The data in a packed body, a part at a time, as little may stand for very much.

    Args:
        kind: The Content-Encoding.
    """

    __slots__ = ("_codec", "_held", "_kind")

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._codec: Any = None  # none before the first two bytes, and behind the last
        self._held = b""

    @property
    def more(self) -> bool:
        """Whether there is something to unpack without a further read."""
        return self._codec is not None and bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take what was read, and give some of the data in it.

        Raises:
            ValueError: It is not packed so, or in a way that cannot be read.
        """
        data, self._held = self._held + data, b""
        if self._codec is None and len(data) > 1:
            self._begin(data)
        if self._codec is None:
            self._held = data[:2]  # too little to know, or what comes behind it all
            return b""
        try:
            found: bytes = self._codec.decompress(data, UNPACKED)
        except zlib.error as error:
            raise ValueError(f"the answer cannot be unpacked: {error}") from None
        self._held = self._codec.unconsumed_tail
        if self._codec.eof:
            self._held = self._codec.unused_data
            self._kind, self._codec = "", None
            if len(self._held) > 1:
                self._begin(self._held)
        return found

    def _begin(self, data: bytes) -> None:
        """Unpack what begins so, if it is the first or another one behind it."""
        mark, kind = int.from_bytes(data[:2], "big"), self._kind
        if kind not in ("", "gzip", "x-gzip", "deflate"):
            raise ValueError(f"the answer is packed as {kind[:40]!r}, unasked")
        if kind == "deflate" and mark != _GZIP:
            framed = mark % 31 == 0 and mark >> 8 & 15 == 8
            self._codec = zlib.decompressobj(15 if framed else -15)
        elif kind or mark == _GZIP:
            self._codec = zlib.decompressobj(47)  # gzip or zlib, as it says itself


class Answer:
    """An answer's head, then its body; those that come before it are passed over.

    `headers` have their names in lower case; `keep` says whether the connection can
    have another request once the answer has `ended`.
    """

    __slots__ = (
        "_body", "_head", "_packed", "_rest", "ended", "headers", "keep", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self._head: bytearray | None = bytearray()  # None once it is read
        self._rest = b""  # of the body, read with the head
        self._body: Chunks | Sized | Open = Open()
        self._packed: Packed | None = None
        self.headers: dict[str, str] = {}
        self.status = 0
        self.keep = False
        self.ended = False

    def begin(self, data: bytes) -> bool:
        """Take what was read, nothing at its end, until the head is whole.

        Raises:
            HTTPException: It is no head of HTTP/1.1.
        """
        held = self._head
        assert held is not None
        seen = max(len(held) - 2, 0)
        held += data
        while (end := _END.search(held, seen)) is not None:
            self._read_head(held[: end.start()].decode("latin-1"))
            held, seen = held[end.end() :], 0
            if self.status >= 200 or self.status == 101:
                self._frame(bytes(held))
                return True
        if not data:
            raise HTTPException("the connection ended before the answer")
        if len(held) > HEAD:
            raise HTTPException(f"a head of more than {HEAD} bytes")
        self._head = held
        return False

    @property
    def more(self) -> bool:
        """Whether there is something to give out without a further read."""
        return bool(self._rest) or self.unpacking

    @property
    def unpacking(self) -> bool:
        """Whether there is something left to unpack."""
        return self._packed is not None and self._packed.more

    def read(self, data: bytes = b"") -> bytes:
        """Take what was read, nothing at its end, and give the data in it.

        Nothing is given where only framing came, and when it has `ended`.

        Raises:
            HTTPException: The body is not framed as it said, or ends too soon.
            ValueError: It is not packed as it said.
        """
        found = b"" if self.unpacking else self._data(data)
        return found if self._packed is None else self._packed.feed(found)

    def _data(self, data: bytes) -> bytes:
        if self._rest:
            data, self._rest = self._rest, b""
        if self.ended:
            return b""
        body = self._body
        found = body.feed(data)
        self.ended = body.ended
        # A body that the connection's end has ended leaves none for another request.
        self.keep = self.keep and bool(data) and not body.beyond
        return found

    def _read_head(self, text: str) -> None:
        first, *lines = text.split("\n")
        status = _STATUS.match(first)
        if status is None:
            raise HTTPException(f"this is no answer of HTTP/1.1: {first[:40]!r}")
        if len(lines) > LINES:
            raise HTTPException(f"a head of more than {LINES} lines")
        self.status, self.headers = int(status[2]), _fields(lines)
        said = self.headers.get("connection", "").lower().split(",")
        # An older server says that it keeps it, a newer one that it does not.
        old = status[1] == "0"
        word = "keep-alive" if old else "close"
        self.keep = (word in map(str.strip, said)) is old
        # Of what is framed in two ways nobody knows what comes after it.
        if "transfer-encoding" in self.headers:
            self.keep &= not (old or "content-length" in self.headers)

    def _frame(self, rest: bytes) -> None:
        self._head, self._rest = None, rest
        headers = self.headers
        bare = self.status < 200 or self.status in (204, 304)
        self._body = Sized(0) if bare else framing(headers)
        self.ended = self._body.ended
        if "" in headers or self.status == 101 or (self.ended and rest):
            self.keep = False  # nobody knows what is to come
        packing = headers.get("content-encoding", "").lower()
        if packing not in ("", "identity"):
            self._packed = Packed(packing)


def _fields(lines: list[str]) -> dict[str, str]:
    """The fields of a head by their names in lower case; several of one are a list.

    What is no field has the name "".
    """
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[0] in " \t" and name:
            found[name] += " " + line.strip(_BLANK)  # an old way to go on
            continue
        said, _, value = line.partition(":")
        name = said.rstrip(" \t").lower()
        if not _NAME.fullmatch(name):
            name = ""
        value = value.strip(_BLANK)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
