"""One request and the reading of its answer; it knows no second try."""

from collections import deque
from contextlib import suppress
from http.client import HTTPException
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError

from waybell_adapters._dialect import Dialect, Reader
from waybell_adapters._events import BodyParser, LineParser, SSEParser, mended, objects
from waybell_adapters._line import Line
from waybell_adapters._prompt import count_tokens
from waybell_adapters._refusals import refusal
from waybell_adapters._reply import CallAttempt, Usage
from waybell_adapters._wait import Steps


if TYPE_CHECKING:
    from waybell_adapters._exchange import Exchange

LONGEST = 32 * 1024 * 1024  # characters of a reply: far above any real one
LOST = (HTTPError, HTTPException, OSError, EOFError, UnicodeError)
# What reading raises of JSON that is shaped in no way that any server is known for.
SHAPE = (AttributeError, IndexError, KeyError, OverflowError, TypeError)
_BLANK = b"\xef\xbb\xbf \t\r\n"  # with the byte order mark: may stand before a body
_BODY = 64 * 1024  # bytes of an error's body that are read
_IDS = ("request-id", "x-request-id", "x-litellm-call-id")


class Attempt:
    """One request; `open` it, then `pull` until its `reader` is done.

    Args:
        line: Owns the connection.
        dialect: Reads the answer.
        exchange: Sends the request.
        pieces: Where the pieces of the reply go.
    """

    __slots__ = (
        "_began", "_dialect", "_half", "_kind", "_length", "_line", "_parser", "body",
        "exchange", "id", "last", "pieces", "reader", "status",
    )  # fmt: skip

    def __init__(
        self, line: Line, dialect: Dialect, exchange: "Exchange", pieces: deque[str]
    ) -> None:
        self._line = line
        self._dialect = dialect
        self._began = monotonic()
        self._half = ""
        self._length = 0
        self._kind = ""
        self._parser: SSEParser | LineParser | BodyParser | None = None
        self.exchange = exchange
        self.body: dict[str, Any] = {}
        self.id: str | None = None
        self.last = ""  # what was read last, for an error about it
        self.pieces = pieces
        self.reader: Reader = dialect.reader()
        self.status: int | None = None

    def open(self, request: bytes) -> Steps[None]:
        """Send the request and look at the head of the answer.

        Raises:
            Refusal: It is an error.
            ValueError: It is a page.
        """
        exchange, answer = self.exchange, self.exchange.answer
        yield from exchange.send(request)
        yield from exchange.head()
        headers = answer.headers
        self.id = next((headers[name] for name in _IDS if name in headers), None)
        self.status = answer.status
        if not 200 <= self.status < 300:
            said = yield from self._rest()
            raise refusal(self.status, headers, said, time())
        self._kind = headers.get("content-type", "").lower()
        if "html" in self._kind:
            self.last = yield from self._rest()
            raise ValueError("the server answered with a page, not a reply")

    def pull(self) -> Steps[None]:
        """Read what has come, at least one byte.

        Raises:
            EOFError: The stream ended before the reply.
            Refusal: An error came in the stream.
            ValueError: What came cannot be understood.
        """
        reader = self.reader
        try:
            chunk = yield from self.exchange.read()
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

    def drain(self) -> Steps[None]:
        """Read what is left behind the reply, so that the connection can be kept.

        Raises:
            ValueError: The reply cannot be understood.
        """
        self.facts("", cut=False)  # while an error can still be raised
        exchange = self.exchange
        if not exchange.answer.ended:
            exchange.hurry(0.1)
            with suppress(*LOST, ValueError):
                for _ in range(4):
                    if not (yield from exchange.read()):
                        return

    def record(self, error: str | None, usage: Usage | None) -> CallAttempt:
        """What there is to tell of it."""
        seconds = monotonic() - self._began
        return CallAttempt(self.status, error, seconds, usage, self.id)

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
            raise refusal(None, self.exchange.answer.headers, text, time())
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

    def _rest(self) -> Steps[str]:
        """The body of an answer that is no reply, as far as it is worth reading."""
        found = b""
        self.exchange.hurry(5)
        try:
            while len(found) < _BODY and (more := (yield from self.exchange.read())):
                found += more
        except (*LOST, ValueError):
            if self._line.cut:
                raise
        return found[:_BODY].decode("utf-8", "replace")
