"""One request and the reading of its answer; it knows no second try."""

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from json import dumps
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError

from waybell_adapters._dialect import Dialect, Reader
from waybell_adapters._events import BodyParser, LineParser, SSEParser, mended, objects
from waybell_adapters._line import Line, LineCut
from waybell_adapters._prompt import count_tokens
from waybell_adapters._refusals import refusal
from waybell_adapters._reply import CallAttempt, Usage


if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from waybell_adapters._engine import Engine

LONGEST = 32 * 1024 * 1024  # characters of a reply: far above any real one
LOST = (HTTPError, HTTPException, OSError, EOFError, UnicodeError)
# What reading raises of JSON that is shaped in no way that any server is known for.
SHAPE = (AttributeError, IndexError, KeyError, OverflowError, TypeError)
_BLANK = (
    b"\xef\xbb\xbf \t\r\n"  # what may stand before a body, with the byte order mark
)
_BODY = 64 * 1024  # bytes of an error's body that are read
_MOST = 65536  # bytes that are read at once
_IDS = ("request-id", "x-request-id", "x-litellm-call-id")


class Attempt:
    """One request; `open` it, then `pull` until its `reader` is done.

    Args:
        line: Owns the connection.
        dialect: Reads the answer.
    """

    __slots__ = (
        "_began", "_dialect", "_half", "_kind", "_length", "_line", "_packed", "_parser",
        "_response", "body", "id", "last", "pieces", "reader", "status",
    )  # fmt: skip

    def __init__(self, line: Line, dialect: Dialect) -> None:
        self._line = line
        self._dialect = dialect
        self._began = monotonic()
        self._half = ""
        self._packed = False
        self._length = 0
        self._kind = ""
        self._parser: SSEParser | LineParser | BodyParser | None = None
        self._response: BaseHTTPResponse | None = None
        self.body: dict[str, Any] = {}
        self.id: str | None = None
        self.last = ""  # what was read last, for an error about it
        self.pieces: deque[str] = deque()
        self.reader: Reader = dialect.reader()
        self.status: int | None = None

    def open(self, engine: "Engine", body: dict[str, Any], cap: float | None) -> None:
        """Send the request and look at the head of the answer.

        Raises:
            Refusal: It is an error.
            ValueError: It is a page.
        """
        self.body = body
        text = dumps(body, ensure_ascii=False, separators=(",", ":"))
        sent = text.encode("utf-8", "replace")  # a lone surrogate is no text anywhere
        self._response = response = engine.send(self._line, sent, cap)
        headers = response.headers
        self._packed = "content-encoding" in headers  # though none was asked for
        self.id = next((headers[name] for name in _IDS if name in headers), None)
        self.status = response.status
        if not 200 <= self.status < 300:
            said = self._rest()
            raise refusal(self.status, headers, said, time())
        self._kind = headers.get("content-type", "")
        if "html" in self._kind:
            self.last = self._rest()
            raise ValueError("the server answered with a page, not a reply")

    def pull(self) -> None:
        """Read what has come, at least one byte.

        Raises:
            EOFError: The stream ended before the reply.
            Refusal: An error came in the stream.
            ValueError: What came cannot be understood.
        """
        reader = self.reader
        try:
            chunk = self._read(_MOST)
        except LOST:
            if reader.stop is None or self._line.cut:
                raise
            reader.done = True  # the model had said its last word
            return
        for text in self._texts(chunk):
            self._take(text)
            if reader.done:
                return  # whatever follows is not of this reply
        if not chunk:
            if reader.stop is None:
                raise EOFError("the stream ended before the reply did")
            reader.done = True

    def facts(self, text: str, *, cut: bool) -> dict[str, Any]:
        """The reply's fields, of what has come.

        Raises:
            ValueError: It cannot be understood.
        """
        try:
            return self.reader.facts(text, cut=cut)
        except SHAPE as error:
            raise ValueError(f"a reply of no known shape: {error!r}") from None

    def counts(self, text: str, *, size: int, cut: bool) -> Usage:
        """What the server said that it used, or an estimate where it did not say all."""
        try:
            known, hidden = self.reader.usage() or Usage(), self.reader.hidden()
        except (*SHAPE, ValueError):
            known, hidden = Usage(), ""
        if not cut and known.output_tokens >= bool(text) and known.total:
            return known
        counts: dict[str, Any] = dict(known)
        if known.total == known.output_tokens:
            counts["input_tokens"] = size  # it said nothing of them
        said = count_tokens(text) + count_tokens(hidden)
        counts["output_tokens"] = max(known.output_tokens, said)
        return Usage(**counts, estimated=True)

    def drain(self) -> None:
        """Read what is left behind the reply, so that the connection can be kept."""
        self._line.settimeout(0.1)
        with suppress(*LOST):
            for _ in range(4):
                if not self._read(_MOST):
                    self._response = None
                    return

    def drop(self) -> None:
        """Give the connection back, closed if anything is left to read."""
        response, self._response = self._response, None
        if response is not None:
            response.close()
            response.release_conn()

    def record(self, error: str | None, usage: Usage | None) -> CallAttempt:
        """What there is to tell of it."""
        return CallAttempt(
            self.status, error, monotonic() - self._began, usage, self.id
        )

    def _read(self, most: int) -> bytes:
        if self._response is None:
            raise LineCut
        return self._response.read1(most, decode_content=self._packed)

    def _texts(self, chunk: bytes) -> list[str]:
        """The events that it completes, whatever form the server said it would use."""
        if self._parser is None:
            chunk = chunk.lstrip(_BLANK)
            if not chunk:
                return []
            lines = self._dialect.lines or "ndjson" in self._kind
            # The first letter of a comment, data, event, id, retry.
            kind = SSEParser if chunk[:1] in b":deir" else None
            self._parser = (kind or (LineParser if lines else BodyParser))()
        return self._parser.feed(chunk) if chunk else self._parser.finish()

    def _take(self, text: str) -> None:
        self.last = text
        events = objects(text)
        for event in events:
            piece = self._said(event, text)
            if self._half or "\ud800" <= piece[-1:] <= "\udbff":
                piece = self._joined(piece)
            if piece:
                self.pieces.append(piece)
        if not events and "[DONE]" in text:
            self.reader.done = True

    def _said(self, event: dict[str, Any], text: str) -> str:
        if event.get("error") or event.get("type") == "error":
            none: Mapping[str, str] = {}
            headers = none if self._response is None else self._response.headers
            raise refusal(None, headers, text, time())
        try:
            piece = self.reader.read(event)
        except SHAPE as error:
            raise ValueError(f"an event of no known shape: {error!r}") from None
        self._length += len(piece or text)
        if self._length > LONGEST:
            raise ValueError(f"a reply of more than {LONGEST} characters")
        return piece

    def _joined(self, piece: str) -> str:
        """The piece with the half of a character that came before, without one after."""
        whole = self._half + piece
        self._half = whole[-1] if "\ud800" <= whole[-1] <= "\udbff" else ""
        return mended(whole.removesuffix(self._half))

    def _rest(self) -> str:
        """The body of an answer that is no reply, as far as it is worth reading."""
        found = b""
        self._line.settimeout(5)
        try:
            while len(found) < _BODY and (more := self._read(_BODY - len(found))):
                found += more
        except LOST:
            if self._line.cut:
                raise
        return found.decode("utf-8", "replace")
