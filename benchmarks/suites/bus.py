"""The bus: the limit, blinker and ours."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import asyncio
from itertools import count, cycle, repeat

from benchmarks._cases import Suite, Target
from benchmarks.suites._bus_cases import (
    CASES,
    LIMIT,
    NEW,
    ONE,
    OPTIONS,
    SUSPENDING,
    TEN,
    TOPICS,
    WILD,
)


async def answer(event):
    return event["line"]


async def suspend(event):
    await asyncio.sleep(0)
    return event["line"]


def handlers(function=answer):
    """Ten different handlers with the same work."""

    def another():
        async def handler(event):
            return await function(event)

        return handler

    return [another() for _ in range(10)]


def emitter(table):
    """The limit: look the topic up, await each handler with the fields."""

    async def emit(topic, /, **data):
        found = None
        for handler in table[topic]:
            found = await handler(data)
        return found

    return emit


def loop_over(emit, topic="review.done"):
    async def run(times):
        for _ in repeat(None, times):
            await emit(topic, path="a.py", line=3)

    return run


def loop_over_all(emit, topics):
    order = cycle(topics)

    async def run(times):
        for _, topic in zip(repeat(None, times), order, strict=False):
            await emit(topic, path="a.py", line=3)

    return run


@ONE.limit(LIMIT)
@WILD.limit(LIMIT)
@OPTIONS.limit(LIMIT)
async def _limit():
    yield loop_over(emitter({"review.done": [answer]}))


@TEN.limit("`asyncio.gather` of a list")
async def _limit_ten():
    table = handlers()

    async def emit(topic, /, **data):
        return await asyncio.gather(*[handler(data) for handler in table])

    yield loop_over(emit)


@TOPICS.limit(LIMIT)
async def _limit_topics():
    topics = [f"review.{i}" for i in range(1000)]
    yield await warmed(emitter({topic: [answer] for topic in topics}), topics)


@SUSPENDING.limit("`asyncio.gather`")
async def _limit_suspending():
    ten = handlers(suspend)

    async def emit(topic, /, **data):
        return await asyncio.gather(*[handler(data) for handler in ten])

    yield loop_over(emit)


@SUSPENDING.peer("`asyncio.TaskGroup`", env="own")
async def _task_group():
    ten = handlers(suspend)

    async def emit(topic, /, **data):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(handler(data)) for handler in ten]
        return [task.result() for task in tasks]

    yield loop_over(emit)


async def warmed(emit, topics):
    """A run over all topics, each sent once already: what is cached is there."""
    run = loop_over_all(emit, topics)
    await run(len(topics))
    return run


def new_bus(**settings):
    from waybell_bus import EventBus

    return EventBus(**settings)


@ONE.ours("waybell_bus `emit`")
@ONE.ours("waybell_bus `emit` †", env="newer")
@OPTIONS.ours("none")
async def _ours():
    bus = new_bus()
    bus.on("review.done", answer)
    yield loop_over(bus.emit)


@ONE.ours("waybell_bus `request`")
async def _request():
    bus = new_bus()
    bus.on("review.done", answer)
    yield loop_over(bus.request)


@TEN.ours("waybell_bus `emit`")
@TEN.ours("waybell_bus `emit` †", env="newer")
async def _ours_ten():
    bus = new_bus()
    for handler in handlers():
        bus.on("review.done", handler)
    yield loop_over(bus.emit)


@TOPICS.ours("waybell_bus `emit`")
async def _ours_topics():
    bus = new_bus()
    topics = [f"review.{i}" for i in range(1000)]
    for topic in topics:
        bus.on(topic, answer)
    yield await warmed(bus.emit, topics)


def wild_bus(size=10_000):
    bus = new_bus()
    for i in range(size):
        bus.on(f"team{i}.*", answer)
    return bus


@WILD.ours("waybell_bus `emit`")
async def _ours_wild():
    yield loop_over(wild_bus().emit, f"team{5_000}.done")


@NEW.ours("waybell_bus `emit`")
async def _ours_new():
    bus, number = wild_bus(), count()

    async def run(times):
        for _ in repeat(None, times):
            await bus.emit(f"team5000.n{next(number)}", path="a.py", line=3)

    yield run


@SUSPENDING.ours("waybell_bus `gather`")
@SUSPENDING.ours("waybell_bus `gather` †", env="newer")
async def _ours_suspending():
    bus = new_bus()
    for handler in handlers(suspend):
        bus.on("review.done", handler)
    yield loop_over(bus.gather)


@OPTIONS.ours("history of 1,000 events")
async def _history():
    bus = new_bus(history=1000)
    bus.on("review.done", answer)
    yield loop_over(bus.emit)


def _option(label, **settings):
    @OPTIONS.ours(label)
    async def _with_option():
        bus = new_bus()
        bus.on("review.done", answer, **settings)
        yield loop_over(bus.emit)


_option("a weak receiver", weak=True)
_option("a timeout of its own", timeout=30)
_option("a concurrency limit of its own", concurrency=8)


@OPTIONS.ours("one observer")
async def _observed():
    bus = new_bus()
    bus.on("review.done", answer)
    bus.observe("review.*", lambda event: None)
    yield loop_over(bus.emit)


@OPTIONS.ours("one middleware")
async def _middleware():
    async def pass_on(event, call_next):
        return await call_next(event)

    bus = new_bus()
    bus.on("review.done", answer)
    bus.use(pass_on)
    yield loop_over(bus.emit)


SUITE = Suite(
    "bus",
    "Bus",
    CASES,
    (
        Target(
            "one emit to one async handler, against the limit",
            ONE,
            "waybell_bus `emit`",
            LIMIT,
            3.0,
            2.2,
        ),
        Target(
            "the same, against blinker's `send_async`",
            ONE,
            "waybell_bus `emit`",
            "blinker `send_async`",
            1.0,
        ),
        Target(
            "through 10,000 wildcard subscriptions, topic seen before",
            WILD,
            "waybell_bus `emit`",
            LIMIT,
            3.5,
            3.0,
        ),
        Target(
            "`gather` of ten handlers that suspend, against `asyncio.gather`",
            SUSPENDING,
            "waybell_bus `gather`",
            "`asyncio.gather`",
            0.9,
            0.6,
        ),
    ),
    (
        (
            "a NATS server on loopback",
            (
                "a server is not installed from PyPI; FastStream's test broker "
                "stands for its client"
            ),
        ),
    ),
)
