"""Our lines against the official encoder and the official protobuf definitions."""

import base64
import json
import logging
import math

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceState,
)

from waybell_trace import _semconv
from waybell_trace._otlp import (
    DEPTH,
    Lines,
    encode_start,
    encoded,
    key_values,
)
from waybell_trace._values import plain


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = texts.filter(bool)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | texts
    | st.binary(max_size=9)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=6,
)
attributes = st.dictionaries(keys, values, max_size=4)
moments = st.integers(1, 2**63 - 1)
states = st.sampled_from(
    [None, TraceState([("vendor", "1")]), TraceState([("a", "b"), ("c", "d")])]
)
contexts = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
    trace_state=states,
)
statuses = st.builds(
    Status, st.just(StatusCode.ERROR), texts | st.none()
) | st.sampled_from([Status(StatusCode.OK), Status(StatusCode.UNSET)])
scopes = st.none() | st.builds(
    InstrumentationScope, texts, texts | st.none(), texts | st.none(), attributes
)
spans = st.builds(
    ReadableSpan,
    name=texts.filter(bool),
    context=contexts,
    parent=st.none() | contexts,
    resource=st.builds(Resource, attributes, texts | st.none()),
    attributes=attributes,
    events=st.lists(st.builds(Event, keys, attributes, moments), max_size=3),
    links=st.lists(st.builds(Link, contexts, attributes), max_size=3),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=moments,
    end_time=moments,
    instrumentation_scope=scopes,
)


def parsed(line):
    """The official protobuf message of a line; ids are hex there, base64 here."""

    def rebased(item):
        if isinstance(item, list):
            return [rebased(entry) for entry in item]
        if isinstance(item, dict):
            return {
                key: base64.b64encode(bytes.fromhex(value)).decode()
                if key in {"traceId", "spanId", "parentSpanId"}
                else rebased(value)
                for key, value in item.items()
            }
        return item

    return json_format.ParseDict(rebased(json.loads(line)), TracesData())


@given(spans)
@settings(max_examples=150)
def test_a_line_equals_what_the_official_encoder_says(span):
    assert json.loads(Lines().encode(span)) == encode_spans([span]).to_dict()


@given(spans)
@settings(max_examples=60)
def test_a_line_is_what_the_official_protobuf_definitions_expect(span):
    message = parsed(Lines().encode(span))
    (found,) = message.resource_spans[0].scope_spans[0].spans
    assert found.name == span.name
    assert found.span_id == span.context.span_id.to_bytes(8, "big")
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (
        span.start_time,
        span.end_time,
    )
    assert [event.time_unix_nano for event in found.events] == [
        e.timestamp for e in span.events
    ]
    assert len(found.attributes) == len(span.attributes)
    assert found.kind == span.kind.value + 1
    assert found.status.code == span.status.status_code.value


def test_what_limits_dropped_is_counted_as_the_official_encoder_counts_it(caplog):
    caplog.set_level(logging.CRITICAL)
    provider = TracerProvider(
        span_limits=SpanLimits(
            max_events=1,
            max_links=1,
            max_span_attributes=1,
            max_event_attributes=1,
            max_link_attributes=1,
        ),
        shutdown_on_exit=False,
    )
    context = SpanContext(1, 2, is_remote=False)
    links = [Link(context), Link(context, {"a": 1, "b": 2})]
    span = provider.get_tracer("limited").start_span(
        "x", attributes={"a": 1, "b": 2}, links=links
    )
    span.add_event("dropped")
    span.add_event("kept", {"a": 1, "b": 2})
    span.end()
    shown = json.loads(Lines().encode(span))
    assert shown == encode_spans([span]).to_dict()
    (item,) = shown["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (
        item["droppedAttributesCount"]
        == item["droppedEventsCount"]
        == item["droppedLinksCount"]
        == 1
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**63 - 1, {"intValue": str(2**63 - 1)}),
        (2**63, {"stringValue": str(2**63)}),
        (-(2**63) - 1, {"stringValue": str(-(2**63) - 1)}),
        pytest.param(10**9000, {"stringValue": hex(10**9000)}, id="huge"),
        (math.nan, {"doubleValue": "NaN"}),
        (math.inf, {"doubleValue": "Infinity"}),
        (-math.inf, {"doubleValue": "-Infinity"}),
        (None, {}),
        ({1, 2}, {"arrayValue": {"values": [{"intValue": "1"}, {"intValue": "2"}]}}),
        (object, {"stringValue": "<class 'object'>"}),
    ],
)
def test_an_odd_value_has_a_definite_form(value, shown):
    assert encoded(value) == shown


@pytest.mark.timeout(20)  # every way through it, 60 levels deep, would take for ever
def test_a_tree_whose_nodes_point_to_each_other_is_cut_where_it_repeats():
    root = {"name": "root", "below": []}
    root["below"] = [{"name": n, "parent": root} for n in "ab"]
    below = tuple({"name": n, "parent": "..."} for n in "ab")
    assert plain(root) == {"name": "root", "below": below}
    twice = [1]
    assert plain([twice, twice]) == ((1,), (1,)), "only what is in itself is cut"


def test_a_value_nested_too_deep_for_json_is_cut():
    value = 1
    for _ in range(DEPTH * 3):
        value = (value,)
    assert "..." in json.dumps(encoded(value))
    assert "..." in json.dumps(encoded([[value]]))
    assert json.dumps(key_values({"deep": {"deeper": value}})).count("...") == 1


def test_a_lone_surrogate_does_not_cost_the_line():
    span = ReadableSpan(
        name="bad \udc80",
        context=SpanContext(1, 2, is_remote=False),
        attributes={"k\ud800": ("v\udfff", 2**70)},
        start_time=1,
        end_time=2,
        resource=Resource({}),
    )
    item = json.loads(Lines().encode(span))["resourceSpans"][0]["scopeSpans"][0][
        "spans"
    ][0]
    assert item["name"] == "bad ?"
    assert item["attributes"][0]["key"] == "k?"
    start = json.loads(encode_start(span))
    assert start["name"] == "bad ?"
    assert start["attributes"] == {"k?": "('v\\udfff', 1180591620717411303424)"}


def test_frames_are_told_apart_and_bounded():
    lines = Lines()
    names = []
    for number in range(200):
        span = ReadableSpan(
            name="n",
            context=SpanContext(1, 2, is_remote=False),
            resource=Resource({"number": number}),
            start_time=1,
            end_time=2,
        )
        names.append(json.loads(lines.encode(span))["resourceSpans"][0]["resource"])
    assert [r["attributes"][0]["value"]["intValue"] for r in names] == [
        str(n) for n in range(200)
    ]
    assert len(lines._frames) <= 64


def test_an_event_without_attributes_has_none(tracer, path, written):
    span = ReadableSpan(
        name="n",
        context=SpanContext(1, 2, is_remote=False),
        events=[Event("bare", timestamp=1)],
        resource=Resource({}),
        start_time=1,
        end_time=2,
    )
    assert json.loads(Lines().encode(span)) == encode_spans([span]).to_dict()


def test_names_come_from_the_pinned_conventions():
    pinned = (
        "agent.name operation.name provider.name request.model response.model tool.name "
        "workflow.name usage.input_tokens usage.output_tokens input.messages "
        "output.messages usage.cache_read.input_tokens "
        "usage.cache_creation.input_tokens"
    )
    ours = {value for value in vars(_semconv).values() if isinstance(value, str)}
    ours.update(_semconv.USAGE, _semconv.MESSAGES.values())
    ours.update(name for _, name, _ in _semconv.OPERATIONS.values())
    found = {name for name in ours if name.startswith("gen_ai.")}
    assert found == {f"gen_ai.{name}" for name in pinned.split()}
    registry = {
        v for k, v in vars(gen_ai_attributes).items() if k.startswith("GEN_AI_")
    }
    assert found <= registry
