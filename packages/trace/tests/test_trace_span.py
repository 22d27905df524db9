"""Spans as users make them: blocks, decorators, attributes, errors, parents."""

import asyncio
import contextlib
import inspect
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from enum import Enum, IntEnum

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from waybell_trace import Tracer, _ids, propagate, read_traces


def names(spans):
    return {span["name"]: span for span in spans}


def test_a_span_is_on_file_when_its_block_is_left(tracer, path, written, plainly):
    with tracer.span("work", agent="a", tries=3, share=0.5, ok=True) as span:
        span.set_attribute("late", "yes")
        span.add_event("half", name="n", self="s", attributes="x")
        assert written(path) == []
    (item,) = written(path)
    assert item["name"] == "work"
    assert plainly(item) == {
        "agent": "a",
        "tries": "3",
        "share": 0.5,
        "ok": True,
        "late": "yes",
    }
    assert plainly(item["events"][0]) == {"name": "n", "self": "s", "attributes": "x"}
    assert int(item["startTimeUnixNano"]) <= int(item["endTimeUnixNano"])
    assert item["status"] == {}


def test_attributes_may_be_named_like_any_parameter(tracer, path, written, plainly):
    fields = {
        key: key for key in ("self", "name", "attributes", "kind", "context", "model")
    }
    for make in (tracer.span, tracer.agent, tracer.tool, tracer.llm, tracer.workflow):
        with make("x", **fields):
            pass
    assert all(fields.items() <= plainly(item).items() for item in written(path))


async def test_async_blocks_work_too(tracer, path, written):
    async with tracer.span("outer"), tracer.span("inner"):
        await asyncio.sleep(0)
    found = names(written(path))
    assert found["inner"]["parentSpanId"] == found["outer"]["spanId"]
    assert "parentSpanId" not in found["outer"]


async def test_a_decorated_function_is_a_new_span_at_each_call(tracer, path, written):
    @tracer.span("sync", a=1)
    def add(a, b):
        return a + b

    @tracer.agent("helper")
    async def fetch(x):
        await asyncio.sleep(0)
        return add(x, 1)

    assert add.__name__ == "add"
    assert await asyncio.gather(fetch(1), fetch(2)) == [2, 3]
    found = written(path)
    assert (
        sorted(item["name"] for item in found)
        == ["invoke_agent helper"] * 2 + ["sync"] * 2
    )
    assert len({item["spanId"] for item in found}) == 4
    agents = {item["spanId"] for item in found if item["name"] != "sync"}
    assert {item["parentSpanId"] for item in found if item["name"] == "sync"} == agents


async def test_methods_and_async_callables_can_be_decorated(tracer, path, written):
    class Agent:
        @tracer.span("method")
        def work(self, x):
            return x

        async def __call__(self, x):
            with tracer.span("inside"):
                await asyncio.sleep(0)
            return self.work(x)

    assert await tracer.span("call")(Agent())(3) == 3
    found = names(written(path))
    call = found.pop("call")
    assert {item["parentSpanId"] for item in found.values()} == {call["spanId"]}
    assert set(found) == {"method", "inside"}


def test_a_generator_function_cannot_be_decorated(tracer):
    def numbers():
        yield 1

    async def later():
        yield 1

    for function in (numbers, later):
        with pytest.raises(TypeError, match="open the span inside it"):
            tracer.span("x")(function)


def test_a_span_is_entered_once(tracer):
    span = tracer.span("once")
    with span, pytest.raises(RuntimeError, match="entered before"):
        span.__enter__()


def test_a_span_that_has_not_started_says_so(tracer):
    span = tracer.span("idle")
    for use in (
        lambda: span.otel,
        lambda: span.add_event("x"),
        lambda: span.set_attribute("a", 1),
        lambda: span.record_usage(input_tokens=1),
        lambda: span.record_text(prompt="p"),
    ):
        with pytest.raises(RuntimeError, match="has not started"):
            use()


def test_it_is_the_current_span_of_opentelemetry_inside_its_block(tracer):
    before = otel.get_current_span()
    with tracer.span("here") as span:
        assert otel.get_current_span() is span.otel
        with contextlib.suppress(ValueError), tracer.span("there") as inner:
            assert otel.get_current_span() is inner.otel
            raise ValueError
        assert otel.get_current_span() is span.otel
    assert otel.get_current_span() is before


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_an_error_is_recorded_and_goes_on(
    tracer, path, written, plainly, *, error, shown
):
    with pytest.raises(type(error)) as caught, tracer.span("fails"):
        raise error
    assert caught.value is error
    (item,) = written(path)
    assert item["status"] == {"code": 2, "message": shown}
    assert plainly(item)["error.type"] == shown.partition(":")[0]
    (event,) = item["events"]
    assert event["name"] == "exception"
    assert "test_trace_span" in plainly(event)["exception.stacktrace"]


@pytest.mark.parametrize("error", [GeneratorExit(), SystemExit(0), SystemExit()])
def test_leaving_early_without_failure_is_no_error(tracer, path, written, error):
    with pytest.raises(type(error)), tracer.span("leaves"):
        raise error
    assert written(path)[0]["status"] == {}


async def test_a_cancelled_task_leaves_a_failed_span(tracer, path, written):
    started = asyncio.Event()

    async def hang():
        async with tracer.span("hangs"):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written(path)[0]["status"]["message"] == "asyncio.exceptions.CancelledError"


class Mute(Exception):
    def __str__(self):
        raise RuntimeError


def test_an_exception_that_cannot_show_itself_is_recorded(tracer, path, written):
    with pytest.raises(Mute), tracer.span("mute"):
        raise Mute
    assert "<Mute>" in written(path)[0]["status"]["message"]


def test_an_exception_whose_traceback_cannot_be_made_is_recorded(
    tracer, path, written, plainly
):
    class Opaque(Exception):
        @property
        def __suppress_context__(self):
            raise MemoryError

    with pytest.raises(Opaque), tracer.span("opaque"):
        raise Opaque
    trace = plainly(written(path)[0]["events"][0])["exception.stacktrace"]
    assert trace.endswith("which cannot be shown: MemoryError")


def test_a_handled_error_can_mark_the_span(tracer, path, written):
    with tracer.span("handled") as span:
        span.fail(TimeoutError("too late"))
    assert written(path)[0]["status"]["message"] == "TimeoutError: too late"


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Broken:
    def __str__(self):
        raise RuntimeError


class Count:
    def __index__(self):
        return 7


class Name(str):
    __slots__ = ()


class Ratio(float):
    __slots__ = ()


def test_odd_values_never_raise_and_are_kept_as_far_as_possible(
    tracer, path, written, plainly, caplog
):
    cycle = []
    cycle.append(cycle)
    odd = {
        "nan": math.nan,
        "none": None,
        "bytes": b"\xff",
        "array": bytearray(b"a"),
        "surrogate": "\udc80",
        "big": 2**80,
        "set": {3, 1},
        "mixed": [1, "a", None, 2.5, {"k": (1,)}],
        "keys": {1: "one", None: "none", (1, 2): "pair"},
        "decimal": Decimal("0.1"),
        "colour": Colour.RED,
        "level": Level.LOW,
        "name": Name("n"),
        "ratio": Ratio(0.5),
        "broken": Broken(),
        "keyed": {Broken(): 1},
        "cycle": cycle,
        "object": object,
        "count": Count(),
    }
    with tracer.span("odd", **odd) as span:
        span.add_event("odd", **odd)
        for key, value in odd.items():
            span.set_attribute(f"again.{key}", value)
    (item,) = written(path)
    found = plainly(item)
    assert len(found) == 2 * len(odd)
    assert len(item["events"][0]["attributes"]) == len(odd)
    assert (found["nan"], found["none"], found["bytes"]) == ("NaN", None, "/w==")
    assert (found["big"], found["decimal"], found["broken"]) == (
        str(2**80),
        "0.1",
        "<Broken>",
    )
    assert (found["colour"], found["level"], found["name"]) == ("red", "1", "n")
    assert (found["surrogate"], found["ratio"], found["count"]) == ("?", 0.5, "7")
    assert [e["key"] for e in found["keys"]["values"]] == ["1", "None", "(1, 2)"]
    assert found["set"]["values"] == [{"intValue": "1"}, {"intValue": "3"}]
    assert tracer.lost == tracer.lost_starts == 0
    assert caplog.text == ""


def test_thousands_of_events_and_attributes_are_all_kept(tracer, path, written):
    with tracer.span("full", **{f"k{n}": n for n in range(1000)}) as span:
        for number in range(3000):
            span.add_event("e", n=number)
        for number in range(300):
            span.otel.add_link(otel.SpanContext(1, number + 1, is_remote=True))
    (item,) = written(path)
    counts = [len(item[key]) for key in ("attributes", "events", "links")]
    assert counts == [1000, 3000, 300]


async def test_parents_survive_gather_threads_and_carried_executors(
    tracer, path, written
):
    def work(name):
        with tracer.span(name):
            return name

    async def task(name):
        with tracer.span(name):
            await asyncio.sleep(0)

    with ThreadPoolExecutor(2) as pool, tracer.span("root"):
        await asyncio.gather(task("t1"), task("t2"), asyncio.to_thread(work, "thread"))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pool, propagate(work), "carried")
        assert list(pool.map(propagate(work), ["m1", "m2", "m3"])) == ["m1", "m2", "m3"]
        pool.submit(work, "stray").result()
    found = names(written(path))
    root = found.pop("root")["spanId"]
    assert "parentSpanId" not in found.pop("stray")
    assert {item["parentSpanId"] for item in found.values()} == {root}


def test_the_shorthands_set_the_conventions_names(tracer, path, written, plainly):
    with (
        tracer.workflow("desk"),
        tracer.agent("writer", team="a"),
        tracer.llm("claude", provider="anthropic"),
        tracer.tool("search"),
        tracer.llm("local"),
    ):
        pass
    found = {
        name: (plainly(item), item["kind"])
        for name, item in names(written(path)).items()
    }
    assert found == {
        "invoke_workflow desk": (
            {
                "gen_ai.operation.name": "invoke_workflow",
                "openinference.span.kind": "CHAIN",
                "gen_ai.workflow.name": "desk",
            },
            1,
        ),
        "invoke_agent writer": (
            {
                "gen_ai.operation.name": "invoke_agent",
                "openinference.span.kind": "AGENT",
                "gen_ai.agent.name": "writer",
                "team": "a",
            },
            1,
        ),
        "chat claude": (
            {
                "gen_ai.operation.name": "chat",
                "openinference.span.kind": "LLM",
                "gen_ai.request.model": "claude",
                "gen_ai.provider.name": "anthropic",
            },
            3,
        ),
        "execute_tool search": (
            {
                "gen_ai.operation.name": "execute_tool",
                "openinference.span.kind": "TOOL",
                "gen_ai.tool.name": "search",
            },
            1,
        ),
        "chat local": (
            {
                "gen_ai.operation.name": "chat",
                "openinference.span.kind": "LLM",
                "gen_ai.request.model": "local",
            },
            3,
        ),
    }


def test_usage_adds_up_to_the_nano_dollar(tracer, path, written, plainly):
    with tracer.llm("m") as span:
        span.record_usage(
            model="m-1", input_tokens=10, output_tokens=2, usd="0.0000000001"
        )
        span.record_usage(
            input_tokens=5, cache_read_tokens=4, cache_write_tokens=1, usd=0.1
        )
        span.record_usage()
    found = plainly(written(path)[0])
    assert found["gen_ai.response.model"] == "m-1"
    assert found["gen_ai.usage.input_tokens"] == "15"
    assert found["gen_ai.usage.output_tokens"] == "2"
    assert found["gen_ai.usage.cache_read.input_tokens"] == "4"
    assert found["gen_ai.usage.cache_creation.input_tokens"] == "1"
    assert found["waybell.cost.nano_usd"] == "100000001"


def test_usage_from_several_threads_adds_up(tracer, path, plainly, written):
    def add(_):
        span.record_usage(input_tokens=1, usd="0.000000001")

    # Each call within `add` lets another thread go on.
    threading.setprofile(lambda *_: os.sched_yield())
    try:
        with tracer.llm("m") as span, ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(400)))
    finally:
        threading.setprofile(None)
    found = plainly(written(path)[0])
    assert found["gen_ai.usage.input_tokens"] == found["waybell.cost.nano_usd"] == "400"


@pytest.mark.parametrize(
    "usd",
    [
        math.nan,
        math.inf,
        -1,
        "-0.1",
        True,
        "much",
        "1e999999999",
        object(),
        Decimal("nan"),
    ],
)
def test_money_that_is_none_is_refused_by_name(tracer, usd):
    with tracer.span("x") as span, pytest.raises(ValueError, match="usd must be"):
        span.record_usage(usd=usd)


@pytest.mark.parametrize("tokens", [-1, True, 1.5, "7"])
def test_tokens_that_are_no_count_are_refused_by_name(tracer, tokens):
    with (
        tracer.span("x") as span,
        pytest.raises(ValueError, match="input_tokens must be"),
    ):
        span.record_usage(input_tokens=tokens)


def test_a_given_clock_stamps_starts_events_and_ends(path, written):
    times = iter([1.0, 1.5, 2.25])
    with Tracer(path, now=lambda: next(times)) as tracer, tracer.span("timed") as span:
        span.add_event("half")
    (item,) = written(path)
    assert item["startTimeUnixNano"] == "1000000000"
    assert item["events"][0]["timeUnixNano"] == "1500000000"
    assert item["endTimeUnixNano"] == "2250000000"


def test_a_given_providers_exporters_see_everything_too(path, written):
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with Tracer(path, provider=provider) as tracer:
        with tracer.span("ours") as span:
            span.add_event("e")
        with provider.get_tracer("library").start_as_current_span("theirs"):
            pass
        provider.force_flush()
        provider.shutdown()
        with tracer.span("after its provider"):
            pass
    assert [span.name for span in memory.get_finished_spans()] == ["ours", "theirs"]
    assert [item["name"] for item in written(path)] == [
        "ours",
        "theirs",
        "after its provider",
    ]
    assert tracer.lost == 0


def test_a_span_the_given_provider_does_not_record_is_counted(path, written, caplog):
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with Tracer(path, provider=provider) as tracer, tracer.llm("m") as span:
        span.add_event("e")
        span.set_attribute("a", 1)
        span.record_usage(input_tokens=1)
        span.record_text(prompt="p")
        span.fail(ValueError())
    assert (tracer.lost, written(path)) == (1, [])
    assert "does not record" in caplog.text


class Faulty(SimpleSpanProcessor):
    def on_end(self, span):
        raise RuntimeError("faulty processor")


def test_a_processor_that_raises_does_not_reach_the_user(path, caplog):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Faulty(InMemorySpanExporter()))
    with Tracer(path, provider=provider) as tracer, tracer.span("x"):
        pass
    assert tracer.lost == 1
    assert "faulty processor" in caplog.text


def test_only_an_sdk_provider_is_taken(path):
    with pytest.raises(TypeError, match="TracerProvider"):
        Tracer(path, provider=otel.ProxyTracerProvider())
    with pytest.raises(ValueError, match="capture must be"):
        Tracer(path, capture="all")
    assert not path.parent.exists()


def test_spans_that_end_after_close_are_counted(path, written, caplog):
    tracer = Tracer(path)
    with tracer.span("late"):
        tracer.close()
    with tracer.span("later"):
        pass
    assert (tracer.lost, tracer.lost_starts, written(path)) == (2, 1, [])
    assert len(caplog.records) == 2


async def test_a_tracer_closes_at_the_end_of_an_async_block(path):
    async with Tracer(path) as tracer:
        pass
    with tracer.span("late"):
        pass
    assert tracer.lost == 1


def test_a_line_that_cannot_be_encoded_is_counted(tracer, caplog):
    caplog.set_level(logging.WARNING)

    class Hostile:
        @property
        def context(self):
            raise RuntimeError("hostile")

        resource = instrumentation_scope = None

    tracer._files.on_start(Hostile())
    tracer._files.on_end(Hostile())
    assert (tracer.lost, tracer.lost_starts) == (1, 1)


def test_the_tracer_names_its_file_and_setting(tracer, path):
    assert (tracer.path, tracer.sealed) == (str(path), False)
    assert path.with_name("traces.starts.jsonl").exists()


def test_a_torn_tail_is_reported_by_the_tracer(path):
    path.parent.mkdir()
    path.write_bytes(b'{"resourceSp')
    with Tracer(path) as tracer:
        assert tracer.sealed


def test_a_forked_child_that_leaves_the_block_does_not_end_its_parents_span(
    tracer, path, written
):
    with tracer.span("the parent's"):
        _ids._forked()
    assert written(path) == []
    with tracer.span("the child's own"):
        pass
    assert [item["name"] for item in written(path)] == ["the child's own"]


def test_endless_recursion_through_spans_costs_few_of_them(tracer, path, caplog):
    def deeper(level):
        with tracer.span(f"level {level}"):
            deeper(level + 1)

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        with pytest.raises(RecursionError):
            deeper(0)
    finally:
        sys.setrecursionlimit(before)
    traces = read_traces(path)
    assert len(traces.failed) > 40
    assert all(span.error.startswith("RecursionError") for span in traces.failed)
    assert len(traces.failed) + tracer.lost >= len(traces.spans)
    assert max(map(len, path.read_bytes().splitlines())) < 20_000


def linked(kind, count):
    """`count` containers, each of which holds all the others."""
    made = [kind() for _ in range(count)]
    for item in made:
        others = [other for other in made if other is not item]
        if kind is dict:
            item.update((f"peer{n}", other) for n, other in enumerate(others))
        else:
            item.extend(others)
    return made[0]


def doubled(wrap, levels):
    """A value that holds one twice that holds one twice, and so on."""
    value = wrap()
    for _ in range(levels):
        value = wrap((value, wrap((value,))))
    return value


class Endless(Sequence):
    """Makes ever more of itself when looked at."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return Endless()


VAST = {
    "dicts": linked(dict, 20),
    "lists": linked(list, 20),
    "tuples": doubled(tuple, 40),
    "sets": doubled(frozenset, 40),
    "values": linked(dict, 20).values(),
    "keys": {doubled(frozenset, 40): 1},
    "endless": Endless(),
    "many": list(range(1_000_000)),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", VAST)
def test_values_that_refer_to_each_other_are_cut_and_do_not_hang(
    tracer, path, name, written
):
    with tracer.span("vast", value=VAST[name]) as span:
        span.add_event("vast", value=VAST[name])
        span.set_attribute("again", VAST[name])
        span.record_text(prompt=[VAST[name]], reply=VAST[name])
    assert len(written(path)) == 1
    assert b"..." in path.read_bytes()
    assert path.stat().st_size < 10_000_000
    assert tracer.lost == tracer.lost_starts == 0


def test_a_text_of_what_lies_within_itself_is_cut(path):
    ring = []
    ring.append([ring])
    with Tracer(path, capture="text") as tracer, tracer.span("ring") as span:
        span.record_text(prompt=ring)
    (read,) = read_traces(path).spans
    assert read.prompt == '[["..."]]'
    assert tracer.lost == 0


def test_a_value_of_many_parts_is_kept_whole(tracer, path, plainly, written):
    with tracer.span("large", value=[[0.5] * 90] * 100) as span:
        span.record_text(prompt=[[0.5] * 1000] * 100)
    found = plainly(written(path)[0])
    rows = [row["arrayValue"]["values"] for row in found["value"]["values"]]
    assert rows == [[{"doubleValue": 0.5}] * 90] * 100
    shown = json.dumps([[0.5] * 1000] * 100, separators=(",", ":"))
    assert found["waybell.prompt.length"] == str(len(shown))
