"""Spans read back from OTLP/JSON, whoever wrote it."""

from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

from waybell_trace import _semconv as names
from waybell_trace._capture import restored
from waybell_trace._money import NANO


class SpanUsage(NamedTuple):
    """What work used, tokens and nano-dollars; None is unknown, which is not 0."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    nano_usd: int | None = None

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    @property
    def usd(self) -> Decimal | None:
        """Cost in US dollars."""
        return None if self.nano_usd is None else Decimal(self.nano_usd) / NANO

    def plus(self, other: "SpanUsage") -> "SpanUsage":
        """Both together; what only one of them knows counts."""
        pairs = zip(self, other, strict=True)
        return SpanUsage(*(b if a is None else a + (b or 0) for a, b in pairs))


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One span as a file tells it."""

    name: str
    trace_id: str  # 32 hex digits, common to a tree
    span_id: str  # 16 hex digits
    parent_id: str | None  # None for a root
    start_ns: int  # nanoseconds since 1970
    end_ns: int | None  # None if it never ended
    attributes: dict[str, Any]
    events: tuple[tuple[int, str, dict[str, Any]], ...] = ()  # time, name, attributes
    links: tuple[tuple[str, str], ...] = ()  # trace and span ids
    failed: bool = False
    error: str | None = None  # what its status says
    resource: dict[str, Any] = field(default_factory=dict[str, Any])  # who wrote it

    @property
    def seconds(self) -> float | None:
        """How long it took; None if it never ended."""
        if self.end_ns is None:
            return None
        return max(0, self.end_ns - self.start_ns) / NANO

    @property
    def agent(self) -> str | None:
        """The agent whose turn it is; a delivery without one is named by its topic."""
        return self.attributes.get(names.AGENT) or self.attributes.get(names.TOPIC)

    @property
    def model(self) -> str | None:
        """The model that answered, or else the one asked."""
        asked = self.attributes.get(names.REQUEST_MODEL)
        return self.attributes.get(names.RESPONSE_MODEL) or asked

    @property
    def usage(self) -> SpanUsage:
        """What is recorded on this very span."""
        found = (self.attributes.get(name) for name in names.USAGE)
        return SpanUsage(*(n if isinstance(n, int) else None for n in found))

    @property
    def capture(self) -> str | None:
        """How much of its texts was kept: "none", "digest", "text", or None if it has none."""
        return self.attributes.get(names.CAPTURE)

    @property
    def prompt(self) -> str | None:
        """What was asked, if `capture` was "text"."""
        return restored(self.attributes, "prompt")

    @property
    def reply(self) -> str | None:
        """What was answered, if `capture` was "text"."""
        return restored(self.attributes, "reply")


def spans_of(message: dict[str, Any]) -> Iterator[SpanRecord]:
    """The spans of one `TracesData` object, or of a line of the file of starts."""
    if "spanId" in message:
        yield _span(message, {})
        return
    for resource in message["resourceSpans"]:
        about = _attributes(resource.get("resource", {}))
        for scope in resource.get("scopeSpans", ()):
            for item in scope.get("spans", ()):
                yield _span(item, about)


def _span(item: dict[str, Any], resource: dict[str, Any]) -> SpanRecord:
    status = item.get("status", {})
    return SpanRecord(
        name=item.get("name", ""),
        trace_id=item["traceId"].lower(),
        span_id=item["spanId"].lower(),
        parent_id=_id(item.get("parentSpanId")),
        start_ns=int(item.get("startTimeUnixNano", 0)),
        end_ns=int(item["endTimeUnixNano"]) if "endTimeUnixNano" in item else None,
        attributes=_attributes(item),
        events=tuple(
            (int(e.get("timeUnixNano", 0)), e.get("name", ""), _attributes(e))
            for e in item.get("events", ())
        ),
        links=tuple((x["traceId"], x["spanId"]) for x in item.get("links", ())),
        failed=status.get("code") in (2, "STATUS_CODE_ERROR"),
        error=status.get("message"),
        resource=resource,
    )


def _id(written: str | None) -> str | None:
    # Some writers spell "no parent" as an empty string or as zeros.
    return written.lower() if written and written.strip("0") else None


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    found = item.get("attributes", ())
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)  # a start's, which are plain JSON
    return {entry["key"]: _value(entry.get("value")) for entry in found}


def _value(value: dict[str, Any] | None) -> Any:
    for kind, written in (value or {}).items():
        return _DECODERS[kind](written)
    return None


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,  # a string by the book, a number by some
    "doubleValue": float,  # takes "NaN" and "Infinity" as they are spelled
    "bytesValue": b64decode,
    "arrayValue": lambda array: [_value(v) for v in array.get("values", ())],
    "kvlistValue": lambda pairs: _attributes({"attributes": pairs.get("values", ())}),
}
