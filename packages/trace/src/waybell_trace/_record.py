"""Spans read back from OTLP/JSON, whoever wrote it."""

from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

from waybell_trace import _semconv as names
from waybell_trace._capture import restored
from waybell_trace._money import NANO


class Usage(NamedTuple):
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

    def plus(self, other: "Usage") -> "Usage":
        """Both together; what only one of them knows counts."""
        pairs = zip(self, other, strict=True)
        return Usage(*(b if a is None else a + (b or 0) for a, b in pairs))


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One span as a file tells it.

    Args:
        name: What the work was.
        trace_id: 32 hex digits, common to a tree.
        span_id: 16 hex digits.
        parent_id: The parent's `span_id`; None for a root.
        start_ns: Nanoseconds since 1970.
        end_ns: The same; None if the span never ended.
        attributes: What was attached.
        events: What happened: nanoseconds, name and attributes of each.
        links: Trace and span ids of other spans.
        failed: Whether its status is an error.
        error: What the status says about it.
        resource: Who wrote it: `service.name` and so on.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int | None
    attributes: dict[str, Any]
    events: tuple[tuple[int, str, dict[str, Any]], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    failed: bool = False
    error: str | None = None
    resource: dict[str, Any] | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; None if it never ended."""
        return (
            None if self.end_ns is None else max(0, self.end_ns - self.start_ns) / NANO
        )

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
    def usage(self) -> Usage:
        """What is recorded on this very span."""
        found = (self.attributes.get(name) for name in names.USAGE)
        return Usage(*(n if isinstance(n, int) else None for n in found))

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
    """The spans of one `TracesData` object.

    Raises:
        Exception: It is none; of whatever kind, as the data is a stranger's.
    """
    for resource in message["resourceSpans"]:
        about = _attributes(resource.get("resource", {}))
        for scope in resource.get("scopeSpans", ()):
            for item in scope.get("spans", ()):
                yield _span(item, about)


def started(message: dict[str, Any]) -> Iterator[SpanRecord]:
    """The one span whose start a line of the side file tells."""
    yield SpanRecord(
        name=message["name"],
        trace_id=message["traceId"],
        span_id=message["spanId"],
        parent_id=_id(message["parentSpanId"]),
        start_ns=int(message["startTimeUnixNano"]),
        end_ns=None,
        attributes=message["attributes"],
    )


def _span(item: dict[str, Any], resource: dict[str, Any]) -> SpanRecord:
    status = item.get("status", {})
    return SpanRecord(
        name=item.get("name", ""),
        trace_id=item["traceId"].lower(),
        span_id=item["spanId"].lower(),
        parent_id=_id(item.get("parentSpanId")),
        start_ns=int(item.get("startTimeUnixNano", 0)),
        end_ns=int(item.get("endTimeUnixNano", 0)),
        attributes=_attributes(item),
        events=tuple(
            (
                int(event.get("timeUnixNano", 0)),
                event.get("name", ""),
                _attributes(event),
            )
            for event in item.get("events", ())
        ),
        links=tuple(
            (link["traceId"], link["spanId"]) for link in item.get("links", ())
        ),
        failed=status.get("code") in (2, "STATUS_CODE_ERROR"),
        error=status.get("message"),
        resource=resource,
    )


def _id(written: str | None) -> str | None:
    # Some writers spell "no parent" as an empty string or as zeros.
    return written.lower() if written and written.strip("0") else None


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    return {
        entry["key"]: _value(entry.get("value")) for entry in item.get("attributes", ())
    }


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
