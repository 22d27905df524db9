"""Encodes spans as OTLP/JSON, one `TracesData` object a line.

See https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind

from waybell_trace._values import DEPTH, plain, text


Json = dict[str, Any]

_KINDS: Final = {kind: kind.value + 1 for kind in SpanKind}
_HAS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x300
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_NOT_FINITE: Final = {inf: "Infinity", -inf: "-Infinity"}
_FRAMES: Final = 64


def encode_value(value: object, depth: int = 0) -> Json:
    """An `AnyValue`. What OTLP has no type for becomes text."""
    kind = type(value)
    if kind is str:
        return {"stringValue": value}
    if kind is int:
        return _integer(value)  # type: ignore[arg-type]  # exactly an int
    if kind is float and value - value == 0.0:  # type: ignore[operator]  # a finite one
        return {"doubleValue": value}
    if kind is bool:
        return {"boolValue": value}
    return _compound(value, kind, depth)


def _integer(value: int) -> Json:
    if _INT_MIN <= value <= _INT_MAX:
        return {"intValue": str(value)}
    # str() of a huge integer raises (a limit of the interpreter), hex() does not.
    return {"stringValue": str(value) if value.bit_length() < 10_000 else hex(value)}


def _compound(value: Any, kind: type, depth: int) -> Json:
    if value is None:
        return {}
    if kind is float:  # JSON has no such number; proto3 writes its name
        return {"doubleValue": _NOT_FINITE.get(value, "NaN")}
    if issubclass(kind, bytes):
        return {"bytesValue": b64encode(value).decode()}
    if depth > DEPTH:
        return {"stringValue": "..."}
    if issubclass(kind, Mapping):
        return {"kvlistValue": _list("values", encode_attributes(value, depth + 1))}
    if issubclass(kind, Sequence) and not issubclass(kind, str):
        return {
            "arrayValue": _list("values", [encode_value(v, depth + 1) for v in value])
        }
    return encode_value(plain(value, depth), depth)


def _list(name: str, values: list[Json]) -> Json:
    # proto3 leaves out what is empty.
    return {name: values} if values else {}


def encode_attributes(attributes: Mapping[str, object], depth: int = 0) -> list[Json]:
    """A list of `KeyValue`."""
    return [
        {
            "key": key if type(key) is str else text(key),
            "value": {"stringValue": value}
            if type(value) is str
            else encode_value(value, depth),
        }
        for key, value in attributes.items()
    ]


def _event(event: Event) -> Json:
    item: Json = {"timeUnixNano": str(event.timestamp), "name": text(event.name)}
    return _detail(item, event)


def _link(link: Link) -> Json:
    context = link.context
    item: Json = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "flags": _IS_REMOTE if context.is_remote else _HAS_REMOTE,
    }
    return _detail(item, link)


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
    return b'{"traceId":"%032x","spanId":"%016x","parentSpanId":"%016x",' % (
        context.trace_id,
        context.span_id,
        0 if parent is None else parent.span_id,
    ) + b'"startTimeUnixNano":"%d","name":%b,"attributes":%b}\n' % (
        span.start_time or 0,
        dumps(text(span.name)),
        _plainly(_copy(span.attributes)),
    )


def _plainly(attributes: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(attributes, default=text)
    except TypeError:  # integers beyond 64 bits, lone surrogates
        return dumps({text(key): text(value) for key, value in attributes.items()})


def encode_span(span: ReadableSpan) -> Json:
    """A `Span` of the protocol's JSON mapping."""
    context: Any = span.context  # never None in a span that has started
    parent = span.parent
    item: Json = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "flags": _IS_REMOTE if parent is not None and parent.is_remote else _HAS_REMOTE,
        "name": text(span.name),
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
    }
    if parent is not None:
        item["parentSpanId"] = f"{parent.span_id:016x}"
    if state := context.trace_state:
        item["traceState"] = state.to_header()
    if attributes := _copy(span.attributes):
        item["attributes"] = encode_attributes(attributes)
    return _what_happened(item, span)


def _what_happened(item: Json, span: ReadableSpan) -> Json:
    if events := span.events:
        item["events"] = [_event(event) for event in events]
    if links := span.links:
        item["links"] = [_link(link) for link in links]
    status = span.status
    shown: Json = {"code": code} if (code := status.status_code.value) else {}
    if status.description:
        shown["message"] = status.description
    item["status"] = shown
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
    about: Json = {"scope": _scope(scope), "spans": [0]}
    if scope and scope.schema_url:
        about["schemaUrl"] = scope.schema_url
    whole: Json = {
        "resource": _list("attributes", encode_attributes(resource.attributes)),
        "scopeSpans": [about],
    }
    if resource.schema_url:
        whole["schemaUrl"] = resource.schema_url
    # No text can hold this mark: in JSON its quotes would be escaped.
    head, tail = dumps({"resourceSpans": [whole]}).split(b'"spans":[0]')
    return head + b'"spans":[', b"]" + tail + b"\n"


def _scope(scope: InstrumentationScope | None) -> Json:
    if scope is None:
        return {}
    item = _list("attributes", encode_attributes(scope.attributes or {}))
    return item | {
        key: value
        for key, value in (("name", scope.name), ("version", scope.version))
        if value
    }
