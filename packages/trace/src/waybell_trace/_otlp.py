"""Encodes spans as OTLP/JSON, one `TracesData` object a line.

See https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/.
"""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from waybell_trace._values import DEPTH, plain, text


# This module reads limits when it is imported, and raises if one is nonsense.
_hidden = {k: os.environ.pop(k) for k in [*os.environ] if k.endswith("_COUNT_LIMIT")}
try:
    from opentelemetry.sdk.trace import ReadableSpan
finally:
    os.environ.update(_hidden)

Json = dict[str, Any]

_KINDS: Final = {kind: kind.value + 1 for kind in SpanKind}
_NOT_FINITE: Final = {inf: "Infinity", -inf: "-Infinity"}
_SELDOM: Final[dict[type, Callable[[Any], Json]]] = {
    type(None): lambda _: {},
    bytes: lambda value: {"bytesValue": b64encode(value).decode()},
    # str() of a huge integer raises (a limit of the interpreter), hex() does not.
    int: lambda n: {"stringValue": str(n) if n.bit_length() < 10_000 else hex(n)},
    # JSON has no such number; proto3 writes its name.
    float: lambda value: {"doubleValue": _NOT_FINITE.get(value, "NaN")},
}
_TRACE_ID, _SPAN_ID = "%032x".__mod__, "%016x".__mod__  # twice as fast as format()


def encoded(value: object, depth: int = 0) -> Json:
    """An `AnyValue`. What OTLP has no type for becomes text."""
    kind = type(value)
    if kind is str:
        return {"stringValue": value}
    if kind is int and -(2**63) <= value < 2**63:  # type: ignore[operator]  # an int
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
        return {"kvlistValue": _present(values=key_values(value, depth + 1))}
    if kind is tuple:
        items = [encoded(item, depth + 1) for item in value]
        return {"arrayValue": _present(values=items)}
    return encoded(plain(value), depth)


def key_values(attributes: Mapping[str, object], depth: int = 0) -> list[Json]:
    """A list of `KeyValue`."""
    return [
        {"key": k, "value": {"stringValue": v} if type(v) is str else encoded(v, depth)}
        for k, v in attributes.items()
    ]


def _identity(context: Any, origin: SpanContext | None) -> Json:
    remote = origin is not None and origin.is_remote
    return {
        "traceId": _TRACE_ID(context.trace_id),
        "spanId": _SPAN_ID(context.span_id),
        "flags": 0x300 if remote else 0x100,  # whether it is remote, and: that is known
    }


def _detail(item: Json, source: Any) -> Json:
    """`item` with the attributes of a span, an event or a link."""
    if attributes := _copy(source):
        item["attributes"] = key_values(attributes)
    if dropped := source.dropped_attributes:
        item["droppedAttributesCount"] = dropped
    return item


def _copy(source: Any) -> Mapping[str, Any]:
    # The public view of the SDK's mapping takes thrice as long.
    try:
        copy: dict[str, Any] = source._attributes.copy()  # noqa: SLF001 - see above
    except AttributeError:
        return dict(source.attributes or {})
    return copy


def encode_start(span: ReadableSpan) -> bytes:
    """The line that says a span has begun: not OTLP, which knows ended spans only."""
    context: Any = span.context  # never None in a span that has started
    item: Json = {"name": text(span.name), "attributes": _copy(span)}
    try:
        body = orjson.dumps(item, default=text)
    except TypeError:  # integers beyond 64 bits, lone surrogates
        item["attributes"] = {k: text(v) for k, v in item["attributes"].items()}
        body = dumps(item)
    ids = context.trace_id, context.span_id, span.parent.span_id if span.parent else 0
    head = b'{"traceId":"%032x","spanId":"%016x","parentSpanId":"%016x",' % ids
    return head + b'"startTimeUnixNano":"%d",%b\n' % (span.start_time or 0, body[1:])


def encode_span(span: ReadableSpan) -> Json:
    """A `Span` of the protocol's JSON mapping."""
    context: Any = span.context  # never None in a span that has started
    parent, code = span.parent, span.status.status_code
    item = _identity(context, parent)
    item["name"] = text(span.name)
    item["kind"] = _KINDS[span.kind]
    item["startTimeUnixNano"] = str(span.start_time)
    item["endTimeUnixNano"] = str(span.end_time)
    item["status"] = {}
    if parent is not None:
        item["parentSpanId"] = _SPAN_ID(parent.span_id)
    if state := context.trace_state:
        item["traceState"] = state.to_header()
    if code is not StatusCode.UNSET:
        item["status"] = _present(code=code.value, message=span.status.description)
    if events := span.events:
        item["events"] = [
            _detail({"timeUnixNano": str(e.timestamp), "name": text(e.name)}, e)
            for e in events
        ]
    return _add_rare(item, span)


def _add_rare(item: Json, span: ReadableSpan) -> Json:
    # `links` copies under a lock, even the usual none; the field behind it tells fast.
    if getattr(span, "_links", True) and (links := span.links):
        item["links"] = [_detail(_identity(x.context, x.context), x) for x in links]
    # Only a provider with limits of its own drops anything.
    if dropped := span.dropped_events:
        item["droppedEventsCount"] = dropped
    if dropped := span.dropped_links:
        item["droppedLinksCount"] = dropped
    return _detail(item, span)


def dumps(item: object) -> bytes:
    """JSON of `item`; lone surrogates, which UTF-8 cannot carry, become "?"."""
    try:
        return orjson.dumps(item)
    except TypeError:
        shown = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
        return shown.encode("utf-8", "replace")


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
            if len(self._frames) > 64:  # a program that makes scopes in a loop
                self._frames.clear()
            frame = (*_around(resource, scope), resource, scope)
            self._frames[id(resource), id(scope)] = frame
        return frame[0] + dumps(encode_span(span)) + frame[1]


def _around(
    resource: Resource, scope: InstrumentationScope | None
) -> tuple[bytes, bytes]:
    """What stands before and after the spans."""
    spans: Json = {"scope": {}, "spans": [0]}
    if scope is not None:
        pairs = key_values(scope.attributes or {})
        shown = _present(name=scope.name, version=scope.version, attributes=pairs)
        spans |= {"scope": shown} | _present(schemaUrl=scope.schema_url)
    about = _present(attributes=key_values(resource.attributes))
    whole = _present(schemaUrl=resource.schema_url)
    whole |= {"resource": about, "scopeSpans": [spans]}
    # No text can hold this mark: in JSON its quotes would be escaped.
    head, tail = dumps({"resourceSpans": [whole]}).split(b'"spans":[0]')
    return head + b'"spans":[', b"]" + tail + b"\n"


def _present(**fields: object) -> Json:
    return {key: value for key, value in fields.items() if value}
