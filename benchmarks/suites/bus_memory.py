"""What a bus keeps for each topic, handler and queued event."""

import asyncio
import tracemalloc

from benchmarks.suites._bus_cases import MEMORY, QUEUED
from benchmarks.suites.bus import answer, new_bus


def traced(build, times):
    """Bytes of what `build` makes, for each of `times`."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = build(times)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return (after - before) / times


def memory_of(register):
    """Measure what `register(topics)` builds, without the topics' own names."""

    def run(times):
        topics = [f"review.{i}" for i in range(times)]
        return traced(lambda _: register(topics), times)

    return run


@MEMORY.limit("a dict of lists")
def _table_memory():
    yield memory_of(lambda topics: {topic: [answer] for topic in topics})


@MEMORY.ours("waybell_bus, `on`")
def _bus_memory():
    def register(topics):
        bus = new_bus()
        for topic in topics:
            bus.on(topic, answer)
        return bus

    yield memory_of(register)


@MEMORY.ours("waybell_bus, `on`, and a compiled plan")
async def _plan_memory():
    async def run(times):
        topics = [f"review.{i}" for i in range(times)]
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        bus = new_bus()
        for topic in topics:
            bus.on(topic, answer)
            await bus.emit(topic, path="a.py", line=3)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return (after - before) / times

    yield run


@MEMORY.ours("waybell_bus, `on`, a wildcard")
def _wild_memory():
    def register(topics):
        bus = new_bus()
        for topic in topics:
            bus.on(f"{topic}.*", answer)
        return bus

    yield memory_of(register)


@QUEUED.limit("`asyncio.Queue` of dicts")
async def _queue_memory():
    async def run(times):
        def build(size):
            queue = asyncio.Queue()
            for i in range(size):
                queue.put_nowait({"path": "a.py", "line": i})
            return queue

        return traced(build, times)

    yield run


@QUEUED.ours("waybell_bus `publish` to a `subscribe`")
async def _queued_memory():
    async def run(times):
        bus = new_bus()
        async with bus.subscribe("review.*", maxsize=times):
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            for i in range(times):
                await bus.publish("review.done", path="a.py", line=i)
            after = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
        return (after - before) / times

    yield run
