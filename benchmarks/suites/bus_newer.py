"""Event buses that need a newer Python, beside the bus."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

from benchmarks.suites._bus_cases import ONE, TEN, TOPICS, WILD
from benchmarks.suites.bus import loop_over, warmed


TOPIC = "review.done"
MANY = 1000


def async_event_bus(topics, times=1):
    from async_event_bus import EventBus, ExceptionStrategy
    from loguru import logger

    logger.remove()  # else it writes to the terminal
    bus = EventBus(exception_strategy=ExceptionStrategy.RETURN)
    for topic in topics:
        for _ in range(times):

            async def review(context):
                return context.kwargs["line"]

            bus.on(topic)(review)

    async def emit(topic, /, **data):
        found = await bus.emit(topic, **data)
        return found.results

    return emit


@ONE.peer("async-event-bus", env="newer", package="async-event-bus")
async def _async_event_bus():
    yield loop_over(async_event_bus([TOPIC]))


@TEN.peer("async-event-bus", env="newer", package="async-event-bus")
async def _async_event_bus_ten():
    yield loop_over(async_event_bus([TOPIC], times=10))


@TOPICS.peer("async-event-bus", env="newer", package="async-event-bus")
async def _async_event_bus_topics():
    topics = [f"review.{i}" for i in range(MANY)]
    yield await warmed(async_event_bus(topics), topics)


def infinity_parts():
    """Its request template wants models and a handler that publishes the answer."""
    from infinity_bus import EventDeclaration, EventHandler
    from infinity_bus.templates.request import RequestProtocol, ResponseProtocol

    class Ask(RequestProtocol):
        path: str
        line: int

    class Told(ResponseProtocol):
        line: int

    class AskEvent(EventDeclaration):
        name = "review.ask"
        payload_type = Ask

    class ToldEvent(EventDeclaration):
        name = "review.told"
        payload_type = Told

    class Reviewer(EventHandler):
        def __init__(self, patterns=("review.ask",)):
            super().__init__(subscriptions=list(patterns))

        async def handle(self, payload, bus_proxy, raw_event):
            told = Told(
                session_id=payload.session_id,
                request_id=payload.request_id,
                line=payload.line,
            )
            await bus_proxy.publish("review.told", told)

    return (AskEvent, ToldEvent), Reviewer


def infinity_bus(events, handlers_of_it):
    from infinity_bus import EventBus, EventHandlerRegistry, EventRegistry

    registry, handlers = EventRegistry(), EventHandlerRegistry()
    for event in events:
        registry.register(event)

    async def opened():
        for handler in handlers_of_it:
            await handlers.register(handler)
        return EventBus(registry, handlers)

    return opened()


def infinity_emit(bus):
    from infinity_bus.templates.request import request

    proxy = bus.proxy("bench")

    async def emit(topic, /, **data):
        return await request(proxy, "review.ask", data, "review.told")

    return emit


@ONE.peer("infinity_bus request", env="newer", package="infinity-bus")
async def _infinity():
    events, reviewer = infinity_parts()
    async with await infinity_bus(events, [reviewer()]) as bus:
        yield loop_over(infinity_emit(bus))


@WILD.peer("infinity_bus request", env="newer", package="infinity-bus")
async def _infinity_wild():
    from infinity_bus import EventHandler, Regex

    class Idle(EventHandler):
        async def handle(self, payload, bus_proxy, raw_event):
            return None

    events, reviewer = infinity_parts()
    idle = [Idle(subscriptions=[Regex(rf"team{i}\..*")]) for i in range(10_000)]
    async with await infinity_bus(events, [reviewer(), *idle]) as bus:
        yield loop_over(infinity_emit(bus))


def _one_way(bus):
    proxy = bus.proxy("bench")

    async def emit(topic, /, **data):
        asked = {"session_id": "s", "request_id": "r", **data}
        await proxy.publish("review.ask", asked)

    return emit


@TEN.peer("infinity_bus publish (no answer)", env="newer", package="infinity-bus")
async def _infinity_ten():
    """Its publish only queues: wait until the ten have run."""
    import asyncio

    from infinity_bus import EventHandler

    ran = asyncio.Semaphore(0)

    class Counter(EventHandler):
        async def handle(self, payload, bus_proxy, raw_event):
            ran.release()

    events, _ = infinity_parts()
    counters = [Counter(subscriptions=["review.ask"]) for _ in range(10)]
    async with await infinity_bus(events, counters) as bus:
        publish = _one_way(bus)

        async def emit(topic, /, **data):
            await publish(topic, **data)
            for _ in range(10):
                await ran.acquire()

        yield loop_over(emit)
