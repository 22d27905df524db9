"""Encodes spans as OTLP/JSON, one `TracesData` object a line.

See https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind

from waybell_trace._values import DEPTH, plain, text


Json = dict[str, Any]

_KINDS: Final = {kind: kind.value + 1 for kind in SpanKind}
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_NOT_FINITE: Final = {inf: "Infinity", -inf: "-Infinity"}
_SELDOM: Final[dict[type, Callable[[Any], Json]]] = {
    type(None): lambda _: {},
    bytes: lambda value: {"bytesValue": b64encode(value).decode()},
    # str() of a huge integer raises (a limit of the interpreter), hex() does not.
    int: lambda n: {"stringValue": str(n) if n.bit_length() < 10_000 else hex(n)},
    # JSON has no such number; proto3 writes its name.
    float: lambda value: {"doubleValue": _NOT_FINITE.get(value, "NaN")},
}
_FRAMES: Final = 64


def encode_value(value: object, depth: int = 0) -> Json:
    """An `AnyValue`. What OTLP has no type for becomes text."""
    kind = type(value)
    if kind is str:
        return {"stringValue": value}
    if kind is int and _INT_MIN <= value <= _INT_MAX:  # type: ignore[operator]  # an int
        return {"intValue": str(value)}
    if kind is float and value - value == 0.0:  # type: ignore[operator]  # a finite one
        return {"doubleValue": value}
    if kind is bool:
        return {"boolValue": value}
    return _compound(value, kind, depth)


def _compound(value: Any, kind: type, depth: int) -> Json:
    if convert := _SELDOM.get(kind):
        return convert(value)
    if depth > DEPTH:
        return {"stringValue": "..."}
    # proto3 leaves out lists that are empty.
    if issubclass(kind, Mapping):
        values = encode_attributes(value, depth + 1)
        return {"kvlistValue": {"values": values} if values else {}}
    if kind is tuple:
        values = [encode_value(item, depth + 1) for item in value]
        return {"arrayValue": {"values": values} if values else {}}
    return encode_value(plain(value), depth)


def encode_attributes(attributes: Mapping[str, object], depth: int = 0) -> list[Json]:
    """A list of `KeyValue`."""
    return [
        {
            "key": key,
            "value": {"stringValue": value}
            if type(value) is str
            else encode_value(value, depth),
        }
        for key, value in attributes.items()
    ]


def _identity(context: Any, origin: SpanContext | None) -> Json:
    remote = origin is not None and origin.is_remote
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "flags": 0x300 if remote else 0x100,  # whether it is remote, and: that is known
    }


def _detail(item: Json, source: Event | Link) -> Json:
    if attributes := _copy(source.attributes):
        item["attributes"] = encode_attributes(attributes)
    if dropped := source.dropped_attributes:
        item["droppedAttributesCount"] = dropped
    return item


def _copy(attributes: Any) -> Mapping[str, Any]:
    # The SDK's mapping is Python code with a lock; its copy() is a dict, thrice as fast.
    try:
        copy: dict[str, Any] = attributes.copy()
    except AttributeError:
        return dict(attributes or {})
    return copy


def encode_start(span: ReadableSpan) -> bytes:
    """The line that says a span has begun: not OTLP, which knows ended spans only."""
    context: Any = span.context  # never None in a span that has started
    parent = span.parent
    item: Json = {"name": text(span.name), "attributes": _copy(span.attributes)}
    try:
        body = orjson.dumps(item, default=text)
    except TypeError:  # integers beyond 64 bits, lone surrogates
        item["attributes"] = {k: text(v) for k, v in item["attributes"].items()}
        body = dumps(item)
    return b'{"traceId":"%032x","spanId":"%016x","parentSpanId":"%016x",' % (
        context.trace_id,
        context.span_id,
        0 if parent is None else parent.span_id,
    ) + b'"startTimeUnixNano":"%d",%b\n' % (span.start_time or 0, body[1:])


def encode_span(span: ReadableSpan) -> Json:
    """A `Span` of the protocol's JSON mapping."""
    context: Any = span.context  # never None in a span that has started
    parent = span.parent
    item = _identity(context, parent)
    item["name"] = text(span.name)
    item["kind"] = _KINDS[span.kind]
    item["startTimeUnixNano"] = str(span.start_time)
    item["endTimeUnixNano"] = str(span.end_time)
    if parent is not None:
        item["parentSpanId"] = f"{parent.span_id:016x}"
    if state := context.trace_state:
        item["traceState"] = state.to_header()
    if attributes := _copy(span.attributes):
        item["attributes"] = encode_attributes(attributes)
    status: Json = {"code": code} if (code := span.status.status_code.value) else {}
    if description := span.status.description:
        status["message"] = description
    item["status"] = status
    if events := span.events:
        item["events"] = [
            _detail(
                {"timeUnixNano": str(event.timestamp), "name": text(event.name)}, event
            )
            for event in events
        ]
    return _add_rare(item, span)


def _add_rare(item: Json, span: ReadableSpan) -> Json:
    # `links` copies under a lock, even the usual none; the field behind it tells fast.
    if getattr(span, "_links", True) and (links := span.links):
        item["links"] = [_detail(_identity(x.context, x.context), x) for x in links]
    # Only a provider with limits of its own drops anything.
    if dropped := span.dropped_attributes:
        item["droppedAttributesCount"] = dropped
    if dropped := span.dropped_events:
        item["droppedEventsCount"] = dropped
    if dropped := span.dropped_links:
        item["droppedLinksCount"] = dropped
    return item


def dumps(item: object) -> bytes:
    """JSON of `item`; lone surrogates, which UTF-8 cannot carry, become "?"."""
    try:
        return orjson.dumps(item)
    except TypeError:
        return json.dumps(item, ensure_ascii=False).encode("utf-8", "replace")


class Lines:
    """Writes whole lines: what does not change from span to span is encoded once."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        # Found by identity; the last two keep it, so that no other object gets it.
        self._frames: dict[tuple[int, int], tuple[bytes, bytes, object, object]] = {}

    def encode(self, span: ReadableSpan) -> bytes:
        """The line of one ended span, newline included."""
        resource, scope = span.resource, span.instrumentation_scope
        frame = self._frames.get((id(resource), id(scope)))
        if frame is None:
            if len(self._frames) >= _FRAMES:
                self._frames.clear()  # a program that makes scopes in a loop
            frame = (*_around(resource, scope), resource, scope)
            self._frames[id(resource), id(scope)] = frame
        return frame[0] + dumps(encode_span(span)) + frame[1]


def _around(
    resource: Resource, scope: InstrumentationScope | None
) -> tuple[bytes, bytes]:
    """What stands before and after the spans."""
    about = _present(attributes=encode_attributes(resource.attributes))
    shown: Json = {}
    if scope is not None:
        attributes = encode_attributes(scope.attributes or {})
        shown = _present(name=scope.name, version=scope.version, attributes=attributes)
    spans = _present(schemaUrl=scope.schema_url if scope else None)
    spans |= {"scope": shown, "spans": [0]}
    whole = _present(schemaUrl=resource.schema_url)
    whole |= {"resource": about, "scopeSpans": [spans]}
    # No text can hold this mark: in JSON its quotes would be escaped.
    head, tail = dumps({"resourceSpans": [whole]}).split(b'"spans":[0]')
    return head + b'"spans":[', b"]" + tail + b"\n"


def _present(**fields: object) -> Json:
    return {key: value for key, value in fields.items() if value}
