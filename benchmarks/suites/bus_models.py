"""Event buses and workflows on pydantic models, beside the bus."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

from benchmarks.suites._bus_cases import ONE, TEN, TOPICS
from benchmarks.suites.bus import loop_over, warmed


MANY = 1000


def bubus_event():
    from bubus import BaseEvent

    class Reviewed(BaseEvent[int]):
        path: str
        line: int

    return Reviewed


def bubus_emit(bus, kind):
    async def emit(topic, /, **data):
        event = await bus.dispatch(kind(**data))
        return await event.event_result()

    return emit


@ONE.peer("bubus", env="agents", package="bubus")
async def _bubus():
    from bubus import EventBus

    bus, kind = EventBus(), bubus_event()

    async def review(event: kind) -> int:
        return event.line

    bus.on(kind, review)
    yield loop_over(bubus_emit(bus, kind))
    await bus.stop()


@TEN.peer("bubus", env="agents", package="bubus")
async def _bubus_ten():
    from bubus import EventBus

    bus, kind = EventBus(), bubus_event()
    for i in range(10):

        async def review(event: kind) -> int:
            return event.line

        review.__name__ = f"review_{i}"
        bus.on(kind, review)
    yield loop_over(bubus_emit(bus, kind))
    await bus.stop()


def abxbus_event():
    from abxbus import BaseEvent

    class Reviewed(BaseEvent[int]):
        path: str
        line: int

    return Reviewed


def abxbus_bus():
    """Its own default refuses events after a hundred."""
    from abxbus import EventBus

    return EventBus(max_history_drop=True)


def abxbus_emit(bus, kind):
    async def emit(topic, /, **data):
        event = await bus.emit(kind(**data)).now()
        return await event.event_result()

    return emit


@ONE.peer("abxbus", env="agents", package="abxbus")
async def _abxbus():
    bus, kind = abxbus_bus(), abxbus_event()

    async def review(event: kind) -> int:
        return event.line

    bus.on(kind, review)
    yield loop_over(abxbus_emit(bus, kind))


@TEN.peer("abxbus", env="agents", package="abxbus")
async def _abxbus_ten():
    bus, kind = abxbus_bus(), abxbus_event()
    for i in range(10):

        async def review(event: kind) -> int:
            return event.line

        review.__name__ = f"review_{i}"
        bus.on(kind, review)
    yield loop_over(abxbus_emit(bus, kind))


def many_kinds(base):
    """A thousand kinds of event, each with a name of its own."""
    return {f"Reviewed{i}": type(f"Reviewed{i}", (base,), {}) for i in range(MANY)}


def many_emit(bus, kinds, emit_of):
    emitters = {name: emit_of(bus, kind) for name, kind in kinds.items()}

    async def emit(topic, /, **data):
        return await emitters[topic](topic, **data)

    return emit


@TOPICS.peer("bubus", env="agents", package="bubus")
async def _bubus_topics():
    from bubus import EventBus

    bus, kinds = EventBus(), many_kinds(bubus_event())
    for kind in kinds.values():
        bus.on(kind, by_line)
    yield await warmed(many_emit(bus, kinds, bubus_emit), list(kinds))
    await bus.stop()


@TOPICS.peer("abxbus", env="agents", package="abxbus")
async def _abxbus_topics():
    bus, kinds = abxbus_bus(), many_kinds(abxbus_event())
    for kind in kinds.values():
        bus.on(kind, by_line)
    yield await warmed(many_emit(bus, kinds, abxbus_emit), list(kinds))


async def by_line(event):
    return event.line


@ONE.peer(
    "llama-index-workflows, a run of one step",
    env="agents",
    package="llama-index-workflows",
)
async def _workflow():
    from workflows import Workflow, step
    from workflows.events import StartEvent, StopEvent

    class Review(Workflow):
        @step
        async def review(self, event: StartEvent) -> StopEvent:
            return StopEvent(result=event.line)

    flow = Review(timeout=None)

    async def emit(topic, /, **data):
        return await flow.run(**data)

    yield loop_over(emit)


@TEN.peer(
    "llama-index-workflows, ten jobs of one step",
    env="agents",
    package="llama-index-workflows",
)
async def _workflow_ten():
    from workflows import Context, Workflow, step
    from workflows.events import Event, StartEvent, StopEvent

    class Job(Event):
        line: int

    class Done(Event):
        line: int

    class Review(Workflow):
        @step
        async def split(self, context: Context, event: StartEvent) -> Job | None:
            for _ in range(10):
                context.send_event(Job(line=event.line))

        @step(num_workers=10)
        async def review(self, event: Job) -> Done:
            return Done(line=event.line)

        @step
        async def join(self, context: Context, event: Done) -> StopEvent | None:
            done = context.collect_events(event, [Done] * 10)
            return StopEvent(result=[one.line for one in done]) if done else None

    flow = Review(timeout=None)

    async def emit(topic, /, **data):
        return await flow.run(**data)

    yield loop_over(emit)
