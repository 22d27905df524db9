"""Reading: anyone's OTLP/JSON, torn files, unfinished spans, roll-ups."""

import gc
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext

from waybell_trace import (
    SpanReader,
    SpanRecord,
    SpanUsage,
    Stats,
    Tracer,
    Traces,
    read_traces,
)


def record(name, span_id, parent_id=None, *, start=0, end=10, **attributes):
    return SpanRecord(
        name=name,
        trace_id="t",
        span_id=span_id,
        parent_id=parent_id,
        start_ns=start * 1_000_000_000,
        end_ns=None if end is None else end * 1_000_000_000,
        attributes=attributes,
    )


def spent(**usage):
    names = {
        "input": "gen_ai.usage.input_tokens",
        "output": "gen_ai.usage.output_tokens",
        "read": "gen_ai.usage.cache_read.input_tokens",
        "nano": "waybell.cost.nano_usd",
    }
    return {names[key]: amount for key, amount in usage.items()}


def fail(tracer):
    with tracer.agent("a", odd=(1, None, {"k": b"x"})):
        with tracer.llm("asked", provider="p") as span:
            span.add_event("half", n=1)
            span.otel.add_link(SpanContext(15, 16, is_remote=False))
            span.record_usage(
                model="answered", input_tokens=3, output_tokens=1, usd="0.5"
            )
        raise ValueError("no")


def test_what_was_written_is_read_back(tracer, path):
    with pytest.raises(ValueError, match="no"):
        fail(tracer)
    traces = read_traces(path)
    (root,) = traces.roots
    (call,) = traces.children(root)
    assert (root.name, root.agent, root.parent_id) == ("invoke_agent a", "a", None)
    assert root.attributes["odd"] == [1, None, {"k": b"x"}]
    assert (root.failed, root.error) == (True, "ValueError: no")
    assert traces.failed == [root]
    assert (call.model, call.parent_id, call.failed) == (
        "answered",
        root.span_id,
        False,
    )
    assert call.links == ((f"{15:032x}", f"{16:016x}"),)
    ((at, name, attributes),) = call.events
    assert call.start_ns <= at <= call.end_ns
    assert (name, attributes) == ("half", {"n": 1})
    assert call.usage == SpanUsage(3, 1, None, None, 500_000_000)
    assert (call.usage.tokens, call.usage.usd) == (4, Decimal("0.5"))
    assert call.seconds >= 0
    assert call.resource["telemetry.sdk.name"] == "opentelemetry"
    assert traces.unfinished == []


def test_a_file_of_the_official_encoder_with_many_spans_a_line_is_read(tmp_path):
    provider = TracerProvider(shutdown_on_exit=False)
    made = provider.get_tracer("lib")
    with (
        made.start_as_current_span("outer") as outer,
        made.start_as_current_span("inner") as inner,
    ):
        pass
    path = tmp_path / "official.jsonl"
    path.write_text(json.dumps(encode_spans([inner, outer]).to_dict()) + "\n")
    traces = read_traces(path)
    assert [span.name for span in traces.walk(traces.roots[0])] == ["outer", "inner"]


def test_other_spellings_of_the_protocol_are_read(tmp_path):
    path = tmp_path / "other.jsonl"
    item = {
        "traceId": "AB" * 16,
        "spanId": "CD" * 8,
        "parentSpanId": "",
        "name": "x",
        "startTimeUnixNano": 5,
        "endTimeUnixNano": 7,
        "status": {"code": "STATUS_CODE_ERROR", "message": "m"},
        "attributes": [
            {"key": "int", "value": {"intValue": 7}},
            {"key": "nan", "value": {"doubleValue": "-Infinity"}},
            {"key": "none", "value": {}},
            {"key": "missing"},
            {"key": "empty", "value": {"arrayValue": {}}},
        ],
    }
    path.write_text(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [item]}]}]})
    )
    (span,) = SpanReader(path)
    assert (span.trace_id, span.span_id, span.parent_id) == ("ab" * 16, "cd" * 8, None)
    assert (span.start_ns, span.end_ns, span.failed, span.error) == (5, 7, True, "m")
    assert span.attributes == {
        "int": 7,
        "nan": float("-inf"),
        "none": None,
        "missing": None,
        "empty": [],
    }


def lines(count):
    for number in range(count):
        item = {
            "traceId": "a" * 32,
            "spanId": f"{number + 1:016x}",
            "name": f"s{number}",
        }
        yield (
            json.dumps(
                {"resourceSpans": [{"scopeSpans": [{"spans": [item]}]}]},
                separators=(",", ":"),
            ).encode()
            + b"\n"
        )


def test_a_file_cut_at_any_byte_gives_every_whole_line(tmp_path):
    path = tmp_path / "cut.jsonl"
    whole = b"".join(lines(3))
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        reader = SpanReader(path)
        assert len(list(reader)) == sum(cut >= end for end in ends)
        torn = cut not in ends and cut != 0 and cut - 1 not in ends
        assert (reader.torn, reader.foreign) == (int(torn), 0)


def test_foreign_lines_and_stumps_are_counted_and_cost_no_span(tmp_path):
    one, two, three = lines(3)
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(
        b"\n"
        b'{"decision":"route"}\n'
        + one[:40]
        + two  # glued to the stump of a process that died
        + one[:50]
        + b"\n"
        b'[1,2]\n\xff\xfe\n{"resourceSpans":7}\n{"resou\n' + three + b'{"half'
    )
    with SpanReader(path) as reader:
        assert [span.name for span in reader] == ["s1", "s2"]
    assert (reader.foreign, reader.torn) == (4, 4)
    assert list(reader) == []
    traces = read_traces(path)
    assert (len(traces.spans), traces.foreign, traces.torn) == (2, 4, 4)


def test_a_reader_can_be_left_early(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"".join(lines(3)))
    with SpanReader(path) as reader:
        assert next(reader).name == "s0"
    assert list(reader) == []


def test_spans_that_never_ended_are_shown_after_a_crash(path):
    code = """if True:
        import os, sys
        from waybell_trace import Tracer

        tracer = Tracer(sys.argv[1])
        with tracer.agent("planner", goal="g"):
            with tracer.tool("done"):
                pass
            with tracer.llm("m"):
                os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    traces = read_traces(path)
    assert [span.name for span in traces.unfinished] == [
        "invoke_agent planner",
        "chat m",
    ]
    (root,) = traces.roots
    assert (root.attributes["goal"], root.seconds) == ("g", None)
    assert [s.name for s in traces.walk(root)] == [
        "invoke_agent planner",
        "execute_tool done",
        "chat m",
    ]
    stats = traces.agents()["planner"]
    assert (stats.calls, stats.unfinished, stats.durations, stats.percentile(50)) == (
        1,
        1,
        (),
        None,
    )


def test_a_start_is_written_before_the_work_begins(tracer, path):
    with tracer.span("now", n=1, deep={"a": [1]}):
        (span,) = read_traces(path).unfinished
        assert (span.name, span.attributes) == ("now", {"n": 1, "deep": {"a": [1]}})
    assert read_traces(path).unfinished == []


def test_cost_is_counted_once_where_it_is_recorded_deepest():
    traces = Traces(
        [
            record("run", "1", **spent(input=100, nano=70)),
            record(
                "agent",
                "2",
                "1",
                **{"gen_ai.agent.name": "a"},
                **spent(input=30, nano=70),
            ),
            record("chat", "3", "2", **spent(input=10, output=1)),
            record("chat", "4", "2", **spent(input=20)),
            record("tool", "5", "2"),
            record("loose", "6", **spent(output=9)),
        ]
    )
    run, agent = (
        next(s for s in traces.spans if s.name == n) for n in ("run", "agent")
    )
    assert traces.usage(agent) == SpanUsage(30, 1, None, None, 70)
    assert traces.usage(run) == SpanUsage(30, 1, None, None, 70)
    assert traces.usage() == SpanUsage(30, 10, None, None, 70)
    assert {name: s.usage for name, s in traces.agents().items()} == {
        "a": SpanUsage(30, 1, None, None, 70),
        "": SpanUsage(None, 9, None, None, None),
    }
    assert SpanUsage().usd is None


def test_cost_is_counted_once_across_spans_that_record_none():
    traces = Traces(
        [
            record("run", "1", **spent(nano=70)),
            record("agent", "2", "1"),
            record("tool", "3", "2"),
            record("chat", "4", "3", **spent(nano=70)),
        ]
    )
    assert traces.usage().nano_usd == 70


usages = st.fixed_dictionaries(
    {},
    optional={
        "input": st.integers(0, 9),
        "output": st.integers(0, 9),
        "nano": st.integers(0, 9),
    },
)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), usages), max_size=25),
    st.randoms(),
)
@settings(max_examples=80)
def test_groups_always_add_up_to_the_whole(shape, random):
    spans = [
        record(
            "x",
            str(number + 1),
            str(parent) if parent != number + 1 else None,
            start=number,
            end=number + 1,
            **({"gen_ai.agent.name": f"a{number % 3}"} if named else {}),
            **spent(**usage),
        )
        for number, (parent, named, usage) in enumerate(shape)
    ]
    random.shuffle(spans)
    traces = Traces(spans)
    total = SpanUsage()
    for stats in traces.agents().values():
        total = total.plus(stats.usage)
    assert total == traces.usage()
    by_root = SpanUsage()
    for root in traces.roots:
        by_root = by_root.plus(traces.usage(root))
    assert by_root == total
    assert sorted(s.span_id for r in traces.roots for s in traces.walk(r)) == sorted(
        s.span_id for s in spans
    )


def test_latency_percentiles_failures_and_groups_of_another_kind():
    spans = [
        record(
            "invoke_agent a", f"{n}", start=n, end=n + n, **{"gen_ai.agent.name": "a"}
        )
        for n in range(1, 101)
    ]
    spans.append(
        record("chat", "chat", "1", **{"gen_ai.request.model": "m"}, **spent(output=2))
    )
    failed = SpanRecord(
        "invoke_agent b", "t", "f", None, 5, 4, {"gen_ai.agent.name": "b"}, failed=True
    )
    traces = Traces([*spans, failed])
    a, b = traces.agents()["a"], traces.agents()["b"]
    assert [a.percentile(p) for p in (0, 50, 90, 99, 100)] == [
        1.0,
        50.0,
        90.0,
        99.0,
        100.0,
    ]
    assert (a.name, a.calls, a.failed, a.usage.output_tokens) == ("a", 100, 0, 2)
    assert (b.calls, b.failed, b.durations) == (1, 1, (0.0,))
    models = traces.by(lambda span: span.model)
    assert (models["m"].calls, models["m"].usage.tokens) == (1, 2)


def test_a_deep_chain_and_a_circle_are_walked():
    chain = [
        record("x", str(n), str(n - 1) if n else None, start=n) for n in range(5000)
    ]
    assert len(Traces(chain).walk(chain[0])) == 5000
    circle = Traces(
        [record("a", "1", "2"), record("b", "2", "1"), record("c", "3", "3")]
    )
    assert len(circle.roots) == 2
    assert len([s for root in circle.roots for s in circle.walk(root)]) == 3


def test_a_span_read_twice_counts_once(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"".join(lines(2)) * 2)
    assert len(read_traces(path).spans) == 2


def test_a_missing_file_is_an_error_also_beside_its_starts(tmp_path, tracer, path):
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        read_traces(tmp_path / "none.jsonl")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"traces\.jsonl"):
        read_traces(path)
    gc.collect()  # a file left open would be warned of, which is an error here


@pytest.mark.parametrize("percent", [-1, 100.1, 150, float("nan"), float("inf")])
def test_a_percentile_there_cannot_be_is_refused_by_name(percent):
    for durations in ((), (1.0, 2.0)):
        stats = Stats("a", len(durations), 0, 0, durations, SpanUsage())
        with pytest.raises(ValueError, match=f"not {percent}"):
            stats.percentile(percent)


def test_chrome_events_nest_or_lie_beside_each_other(tmp_path):
    traces = Traces(
        [
            record("root", "1", start=0, end=10),
            record("a", "2", "1", start=1, end=5),
            record("b", "3", "1", start=2, end=6),  # beside a: another lane
            record("c", "4", "2", start=2, end=3),
            record("d", "5", "1", start=7, end=None),
            SpanRecord(
                "e",
                "u",
                "6",
                None,
                0,
                9,
                {1: object()},
                events=((4, "half", {"n": 1}),),
                failed=True,
            ),
        ]
    )
    path = tmp_path / "chrome.json"
    traces.to_chrome(path)
    events = json.loads(path.read_bytes())
    lanes = {e["name"]: (e["pid"], e["tid"]) for e in events if e["ph"] != "M"}
    assert lanes == {
        "root": (1, 0),
        "a": (1, 0),
        "c": (1, 0),
        "b": (1, 1),
        "d": (1, 0),
        "e": (2, 0),
        "half": (2, 0),
    } or lanes["d"][1] in (0, 1, 2)
    shown = {e["name"]: e for e in events if e["ph"] != "M"}
    assert (shown["a"]["ts"], shown["a"]["dur"], shown["a"]["ph"]) == (1e6, 4e6, "X")
    assert shown["d"]["ph"] == "B"
    assert shown["half"] | {"ph": "i", "ts": 0.004} == shown["half"]
    assert shown["e"]["cat"] == "failed"
    assert [e["args"]["name"] for e in events if e["ph"] == "M"] == ["root t", "e u"]


def test_chrome_shows_integers_that_its_format_has_no_room_for(tmp_path):
    odd = {"big": 2**70, "deep": [{"bigger": -(2**90)}], "n": 1}
    events = ((4, "half", odd),)
    spans = [SpanRecord("x", "t", "1", None, 0, 9, attributes=odd, events=events)]
    path = tmp_path / "chrome.json"
    Traces(spans).to_chrome(path)
    shown = [e["args"] for e in json.loads(path.read_bytes()) if e["ph"] != "M"]
    assert shown == [{key: str(value) for key, value in odd.items()}] * 2


def test_old_files_stay_readable():
    traces = read_traces(Path(__file__).parent / "golden" / "traces-v1.jsonl")
    assert [span.name for span in traces.unfinished] == ["chat small-1"]
    stats = traces.agents()["writer"]
    assert (stats.calls, stats.failed, stats.usage) == (
        1,
        1,
        SpanUsage(15, 4, 2, None, 1_250_000),
    )
    (call,) = (span for span in traces.spans if span.prompt)
    assert (call.capture, call.prompt, call.reply) == ("text", "What rings?", "A bell.")


def test_a_tracer_reads_what_another_left_behind(path):
    path.parent.mkdir()
    path.write_bytes(b"".join(lines(1)) + b'{"resourceSpans":[{"re')
    with Tracer(path) as tracer, tracer.span("next"):
        pass
    traces = read_traces(path)
    assert ([s.name for s in traces.spans], traces.torn) == (["s0", "next"], 1)


def test_an_agents_span_right_inside_another_of_its_name_is_the_same_call(tmp_path):
    tracer = Tracer(export_path=tmp_path / "t.jsonl")
    with tracer.agent("x"), tracer.agent("x") as span:
        span.record_usage(model="m", input_tokens=1, output_tokens=2, usd=1)
        with tracer.tool("again"), tracer.agent("x"):
            pass
    tracer.close()
    stats = read_traces(tmp_path / "t.jsonl").agents()["x"]
    assert stats.calls == 2  # the one told twice, and the one inside a tool
    assert stats.usage.usd == 1
