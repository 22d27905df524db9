"""Bytes of a stream in, JSON objects out: SSE, NDJSON and whole bodies, cut anywhere."""

from json import JSONDecoder
from typing import Any, cast


LIMIT = 16 * 1024 * 1024  # bytes of one event: far above any real one
_decoder: Any = JSONDecoder()
_scan = _decoder.scan_once  # what `raw_decode` calls, without its frame


class SSEParser:
    """Data of server-sent events, by https://html.spec.whatwg.org/#parsing-an-event-stream.

    Event names, ids and retry times are dropped: the data of all vendors says its type.

    Args:
        limit: Bytes that one event may have.
    """

    __slots__ = ("_after_cr", "_begun", "_buffer", "_limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._after_cr = False
        self._begun = False

    def feed(self, chunk: bytes) -> list[str]:
        """Take what was read and give the data of the events it completes.

        Raises:
            ValueError: An event has more bytes than the limit.
        """
        if self._after_cr or b"\r" in chunk:
            chunk = self._newlines(chunk)
        buffer = self._buffer
        if not buffer and chunk.find(b"\n") == len(chunk) - 2 and chunk[-1:] == b"\n":
            return self._read([chunk[:-2]])  # one event of one line, as most are
        seen = max(len(buffer) - 1, 0)
        buffer += chunk
        end = buffer.rfind(b"\n\n", seen)
        if end < 0:
            if len(buffer) > self._limit:
                raise ValueError(f"an event of more than {self._limit} bytes")
            return []
        blocks = bytes(buffer[:end]).split(b"\n\n")
        del buffer[: end + 2]
        return self._read(blocks)

    def finish(self) -> list[str]:
        """The data of a last event that no blank line has ended."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return self._read([rest])

    def _read(self, blocks: list[bytes]) -> list[str]:
        if not self._begun and any(blocks):
            self._begun = True
            blocks[0] = blocks[0].removeprefix(b"\xef\xbb\xbf")
        found: list[str] = []
        for block in blocks:
            # Most events are one line of data; the rest take the long way.
            one = block.startswith(b"data:") and b"\n" not in block
            data = block[5:] if one else _data(block)
            if data:
                found.append(data.decode("utf-8", "replace"))
        return found

    def _newlines(self, chunk: bytes) -> bytes:
        """All three line endings as one, a CRLF cut in its middle too."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            if not chunk:
                self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class LineParser:
    """One JSON text a line.

    Args:
        limit: Bytes that one line may have.
    """

    __slots__ = ("_buffer", "_limit")
    _end: bytes | None = b"\n"

    def __init__(self, limit: int = LIMIT) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, chunk: bytes) -> list[str]:
        """Take what was read and give the lines it completes.

        Raises:
            ValueError: A line has more bytes than the limit.
        """
        seen = len(self._buffer)
        self._buffer += chunk
        end = -1 if self._end is None else self._buffer.rfind(self._end, seen)
        if end < 0:
            if len(self._buffer) > self._limit:
                raise ValueError(f"a line of more than {self._limit} bytes")
            return []
        lines = bytes(self._buffer[:end]).split(b"\n")
        del self._buffer[: end + 1]
        return _lines(lines)

    def finish(self) -> list[str]:
        """A last line that nothing has ended."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return _lines([rest])


class BodyParser(LineParser):
    """A whole JSON body, for servers that do not stream although they were asked to."""

    __slots__ = ()
    _end = None


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, several if they are glued together; "[DONE]" is none.

    Raises:
        ValueError: It is not JSON, or not of objects.
    """
    text = text.strip()
    try:
        value, at = _scan(text, 0)
    except (RecursionError, StopIteration, ValueError):
        return _glued(text)
    # Nearly every text is one object; the rest take the long way.
    return [value] if at == len(text) and type(value) is dict else _glued(text)


def _glued(text: str) -> list[dict[str, Any]]:
    text = text.removesuffix("[DONE]").rstrip()
    found: list[dict[str, Any]] = []
    at = 0
    while at < len(text):
        try:
            value, at = _decoder.raw_decode(text, at)
        except RecursionError:
            raise ValueError("JSON nested too deep") from None
        if not isinstance(value, dict):
            raise ValueError(f"not a JSON object: {text[:80]!r}")  # noqa: TRY004 - it is about the text
        found.append(cast(dict[str, Any], value))
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def mended(text: str) -> str:
    """The text with the halves of characters that a server has cut put together.

    Servers in JavaScript cut between the two UTF-16 units of one.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _data(block: bytes) -> bytes:
    lines = [line for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def _lines(lines: list[bytes]) -> list[str]:
    found = (line.decode("utf-8", "replace").strip() for line in lines)
    return [line.removeprefix("data:") for line in found if line]
