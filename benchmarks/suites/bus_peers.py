"""Small event libraries beside the bus."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import asyncio
from itertools import count, repeat

from benchmarks.suites._bus_cases import MEMORY, NEW, ONE, TEN, TOPICS, WILD
from benchmarks.suites.bus import (
    answer,
    handlers,
    loop_over,
    warmed,
)
from benchmarks.suites.bus_memory import memory_of


TOPIC = "review.done"
NAMES = [f"review.{i}" for i in range(1000)]


def blinker_emit(signals):
    async def emit(topic, /, **data):
        for _, found in await signals[topic].send_async(data):
            last = found
        return last

    return emit


@ONE.peer("blinker `send_async`", env="own", package="blinker")
async def _blinker():
    from blinker import Signal

    signal = Signal()
    signal.connect(answer, weak=False)
    yield loop_over(blinker_emit({TOPIC: signal}))


@TEN.peer("blinker `send_async`, one after another", env="own", package="blinker")
async def _blinker_ten():
    from blinker import Signal

    signal = Signal()
    for handler in handlers():
        signal.connect(handler, weak=False)
    yield loop_over(blinker_emit({TOPIC: signal}))


@ONE.peer("blinker and `asyncio.gather`", env="own", package="blinker")
async def _blinker_gather():
    yield loop_over(_gathered([answer]))


@TEN.peer("blinker and `asyncio.gather`", env="own", package="blinker")
async def _blinker_gather_ten():
    yield loop_over(_gathered(handlers()))


def _gathered(receivers):
    from blinker import Signal

    signal = Signal()
    for receiver in receivers:
        signal.connect(receiver, weak=False)

    async def emit(topic, /, **data):
        found = [receiver(data) for receiver in signal.receivers_for(None)]
        return await asyncio.gather(*found)

    return emit


@TOPICS.peer("blinker `send_async`", env="own", package="blinker")
async def _blinker_topics():
    from blinker import Namespace

    space = Namespace()
    for name in NAMES:
        space.signal(name).connect(answer, weak=False)
    yield await warmed(blinker_emit(space), NAMES)


@MEMORY.peer("blinker", env="own", package="blinker")
def _blinker_memory():
    from blinker import Namespace

    def register(topics):
        space = Namespace()
        for topic in topics:
            space.signal(topic).connect(answer, weak=False)
        return space

    yield memory_of(register)


async def by_keyword(path, line):
    return line


def keyword_handlers():
    return [_another() for _ in range(10)]


def _another():
    async def handler(path, line):
        return line

    return handler


@ONE.peer("emitix, one after another", package="emitix")
async def _emitix():
    from emitix import EventBus

    bus = EventBus()
    bus.on(TOPIC, by_keyword)
    yield loop_over(bus.emit_async)


@TEN.peer("emitix, one after another", package="emitix")
async def _emitix_ten():
    from emitix import EventBus

    bus = EventBus()
    for handler in keyword_handlers():
        bus.on(TOPIC, handler)
    yield loop_over(bus.emit_async)


@TOPICS.peer("emitix, one after another", package="emitix")
async def _emitix_topics():
    from emitix import EventBus

    bus = EventBus()
    for name in NAMES:
        bus.on(name, by_keyword)
    yield await warmed(bus.emit_async, NAMES)


def _emitix_wild_bus():
    from emitix import EventBus

    bus = EventBus()
    for i in range(10_000):
        bus.on(f"team{i}.*", by_keyword)
    return bus


@WILD.peer("emitix", package="emitix")
async def _emitix_wild():
    yield loop_over(_emitix_wild_bus().emit_async, "team5000.done")


@NEW.peer("emitix", package="emitix")
async def _emitix_new():
    yield _new_topics(_emitix_wild_bus().emit_async)


def _new_topics(emit):
    number = count()

    async def run(times):
        for _ in repeat(None, times):
            await emit(f"team5000.n{next(number)}", path="a.py", line=3)

    return run


@MEMORY.peer("emitix", package="emitix")
def _emitix_memory():
    from emitix import EventBus

    yield memory_of(_registering(EventBus))


def _registering(kind):
    def register(topics):
        bus = kind()
        for topic in topics:
            bus.on(topic, by_keyword)
        return bus

    return register


async def pyee_run(emitter, topics):
    """The handlers' tasks must end too: give the loop its turns."""

    async def emit(topic, /, **data):
        emitter.emit(topic, **data)
        await emitter.wait_for_complete()

    return await warmed(emit, topics)


@ONE.peer("pyee (no answer)", package="pyee")
async def _pyee():
    from pyee.asyncio import AsyncIOEventEmitter

    emitter = AsyncIOEventEmitter()
    emitter.on(TOPIC, by_keyword)
    yield await pyee_run(emitter, [TOPIC])


@TEN.peer("pyee (no answer)", package="pyee")
async def _pyee_ten():
    from pyee.asyncio import AsyncIOEventEmitter

    emitter = AsyncIOEventEmitter()
    for handler in keyword_handlers():
        emitter.on(TOPIC, handler)
    yield await pyee_run(emitter, [TOPIC])


@TOPICS.peer("pyee (no answer)", package="pyee")
async def _pyee_topics():
    from pyee.asyncio import AsyncIOEventEmitter

    emitter = AsyncIOEventEmitter()
    for name in NAMES:
        emitter.on(name, by_keyword)
    yield await pyee_run(emitter, NAMES)


@MEMORY.peer("pyee", package="pyee")
def _pyee_memory():
    from pyee.asyncio import AsyncIOEventEmitter

    yield memory_of(_registering(AsyncIOEventEmitter))


def _pymitter(wildcard=False):
    from pymitter import EventEmitter

    return EventEmitter(wildcard=wildcard)


@ONE.peer("pymitter (no answer)", package="pymitter")
async def _pymitter_one():
    emitter = _pymitter()
    emitter.on(TOPIC, by_keyword)
    yield loop_over(emitter.emit_async)


@TEN.peer("pymitter (no answer)", package="pymitter")
async def _pymitter_ten():
    emitter = _pymitter()
    for handler in keyword_handlers():
        emitter.on(TOPIC, handler)
    yield loop_over(emitter.emit_async)


@TOPICS.peer("pymitter (no answer)", package="pymitter")
async def _pymitter_topics():
    emitter = _pymitter()
    for name in NAMES:
        emitter.on(name, by_keyword)
    yield await warmed(emitter.emit_async, NAMES)


def _pymitter_wild_bus():
    emitter = _pymitter(wildcard=True)
    for i in range(10_000):
        emitter.on(f"team{i}.*", by_keyword)
    return emitter


@WILD.peer("pymitter (no answer)", package="pymitter")
async def _pymitter_wild():
    yield loop_over(_pymitter_wild_bus().emit_async, "team5000.done")


@NEW.peer("pymitter (no answer)", package="pymitter")
async def _pymitter_new():
    yield _new_topics(_pymitter_wild_bus().emit_async)


@MEMORY.peer("pymitter", package="pymitter")
def _pymitter_memory():
    yield memory_of(_registering(_pymitter))
