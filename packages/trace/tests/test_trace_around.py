"""The bus middleware, on fakes of the shape it promises to work with."""

import asyncio
import tempfile
from collections.abc import Mapping

import pytest

from waybell_trace import Tracer, read_traces


class FakeEvent(Mapping):
    def __init__(self, topic, event_id, /, *, parent=None, root=None, **fields):
        self.topic, self.id, self.parent = topic, event_id, parent
        self.root = root or event_id
        self.time = 0.0
        self._fields = fields

    def __getitem__(self, key):
        return self._fields[key]

    def __iter__(self):
        return iter(self._fields)

    def __len__(self):
        return len(self._fields)


class Next:
    handler = "desk.answer"

    def __init__(self, function):
        self._function = function

    async def __call__(self, event):
        return await self._function(event)


@pytest.mark.parametrize("capture", ["none", "digest", "text"])
async def test_each_delivery_is_a_span_nested_as_the_events_are(path, capture):
    async def inner(event):
        return "answer"

    async def outer(event):
        below = FakeEvent(
            "llm.call", "e2", parent="e1", root="e1", prompt="p", name="n"
        )
        return await tracer.around(below, Next(inner))

    with Tracer(path, capture=capture) as tracer:
        event = FakeEvent("intent:ask", "e1", question="why?", topic="t")
        assert await tracer.around(event, Next(outer)) == "answer"
    traces = read_traces(path)
    (first,) = traces.roots
    (second,) = traces.children(first)
    assert (first.name, second.name) == ("intent:ask", "llm.call")
    assert (
        first.attributes["waybell.event.id"]
        == first.attributes["waybell.event.root"]
        == "e1"
    )
    assert "waybell.event.parent" not in first.attributes
    assert second.attributes["waybell.event.parent"] == "e1"
    assert second.attributes["waybell.handler"] == "desk.answer"
    assert (second.agent, second.capture) == ("llm.call", capture)
    texts = (second.prompt, second.reply)
    assert texts == (
        ('{"name":"n","prompt":"p"}', "answer") if capture == "text" else (None, None)
    )
    assert ("waybell.prompt.sha256" in second.attributes) is (capture != "none")
    assert second.attributes.get("waybell.reply.length") == (
        None if capture == "none" else 6
    )


async def test_a_failing_handler_leaves_a_failed_span(tracer, path):
    async def fail(event):
        raise LookupError("no route")

    with pytest.raises(LookupError):
        await tracer.around(FakeEvent("a", "1"), fail)
    (span,) = read_traces(path).failed
    assert span.error == "LookupError: no route"
    assert span.attributes["waybell.handler"] is None


async def test_concurrent_deliveries_do_not_mix(tracer, path):
    async def handle(event):
        await asyncio.sleep(0)
        with tracer.span("inside", of=event.id):
            await asyncio.sleep(0)

    await asyncio.gather(
        *(tracer.around(FakeEvent("t", str(n)), Next(handle)) for n in range(20))
    )
    traces = read_traces(path)
    for root in traces.roots:
        (inside,) = traces.children(root)
        assert inside.attributes["of"] == root.attributes["waybell.event.id"]
    assert len(traces.roots) == 20


def test_a_digest_tells_texts_apart_and_a_text_is_kept_whole(path):
    long = "surrogate \udc80 and\nlines"
    with Tracer(path, capture="text") as tracer, tracer.llm("m") as span:
        span.record_text(prompt=long, reply={"k": {1, 2}})
    (kept,) = read_traces(path).spans
    assert kept.prompt == "surrogate ? and\nlines"
    assert kept.reply == '{"k":[1,2]}'
    with Tracer(path) as tracer:
        for prompt in ("a", "b", "a"):
            with tracer.llm("m") as span:
                span.record_text(prompt=prompt, reply=2**70)
    digests = [
        s.attributes["waybell.prompt.sha256"] for s in read_traces(path).spans[1:]
    ]
    assert digests[0] == digests[2] != digests[1]
    assert len(digests[0]) == 32


async def test_messages_of_other_shapes_do_not_break_reading(tracer, path):
    for messages in ("not json", "[1]", '[{"parts":[{}]}]', 7):
        with tracer.span("x", **{"gen_ai.input.messages": messages}):
            pass
    assert [span.prompt for span in read_traces(path).spans] == [None] * 4


@pytest.mark.simulate(seeds=30)
async def test_spans_nest_under_any_schedule(rng):
    with tempfile.TemporaryDirectory() as folder:
        loop = asyncio.get_running_loop()
        tracer = Tracer(f"{folder}/t.jsonl", now=loop.time)

        async def work(depth):
            async with tracer.span(f"{depth}"):
                await asyncio.sleep(rng.choice([0, 0, 1, 2]))
                if depth < 3:
                    below = (work(depth + 1) for _ in range(rng.randint(0, 3)))
                    await asyncio.gather(*below)

        await asyncio.gather(work(0), work(0))
        tracer.close()
        traces = read_traces(tracer.path)
    assert [root.name for root in traces.roots] == ["0", "0"]
    for span in traces.spans:
        assert all(int(c.name) == int(span.name) + 1 for c in traces.children(span))
        assert all(
            span.start_ns <= c.start_ns <= c.end_ns <= span.end_ns
            for c in traces.children(span)
        )
