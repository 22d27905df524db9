"""What a bus costs as topics and subscriptions grow."""

from itertools import count, repeat

from benchmarks.suites._bus_cases import GROWTH
from benchmarks.suites.bus import answer, emitter, loop_over, new_bus


SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


def _table(size):
    @GROWTH.peer("emit, topics: a dict of lists", env="own", size=size)
    async def _dict():
        table = {f"topic.{i}": [answer] for i in range(size)}
        yield loop_over(emitter(table), f"topic.{size // 2}")


def _topics(size):
    @GROWTH.ours("emit, topics", size=size)
    async def _emit():
        bus = new_bus()
        for i in range(size):
            bus.on(f"topic.{i}", answer)
        yield loop_over(bus.emit, f"topic.{size // 2}")


def _wildcards(size):
    @GROWTH.ours("emit, wildcards", size=size)
    async def _emit():
        bus = new_bus()
        for i in range(size):
            bus.on(f"team{i}.*", answer)
        yield loop_over(bus.emit, f"team{size // 2}.done")


def _new_topics(size):
    @GROWTH.ours("emit of a new topic, wildcards", size=size)
    async def _emit():
        bus, number = new_bus(), count()
        for i in range(size):
            bus.on(f"team{i}.*", answer)

        async def run(times):
            for _ in repeat(None, times):
                topic = f"team{size // 2}.n{next(number)}"
                await bus.emit(topic, path="a.py", line=3)

        yield run


def _registering(size):
    @GROWTH.ours("`on` and `off`, topics", size=size)
    def _on_off():
        bus = new_bus()
        for i in range(size):
            bus.on(f"topic.{i}", answer)

        def run(times):
            for _ in repeat(None, times):
                bus.on("one.more", answer)
                bus.off("one.more", answer)

        yield run


for _size in SIZES:
    _table(_size)
    _topics(_size)
    _wildcards(_size)
    _new_topics(_size)
    _registering(_size)
