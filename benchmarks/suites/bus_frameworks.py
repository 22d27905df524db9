"""Actor and messaging runtimes beside the bus."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import asyncio
from dataclasses import dataclass

from benchmarks.suites._bus_cases import ONE, TEN, TOPICS, WILD
from benchmarks.suites.bus import loop_over, warmed


TOPIC = "review.done"
MANY = 1000


@dataclass
class Note:
    path: str
    line: int


def autogen_agent():
    from autogen_core import MessageContext, RoutedAgent, message_handler

    class Reviewer(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("reviewer")

        @message_handler
        async def review(self, message: Note, ctx: MessageContext) -> int:
            return message.line

    return Reviewer


async def autogen_runtime(names):
    from autogen_core import SingleThreadedAgentRuntime

    runtime, kind = SingleThreadedAgentRuntime(), autogen_agent()
    for name in names:
        await kind.register(runtime, name, kind)
    runtime.start()
    return runtime


@ONE.peer("autogen-core `send_message`", env="agents", package="autogen-core")
async def _autogen():
    from autogen_core import AgentId

    runtime = await autogen_runtime(["reviewer"])
    address = AgentId("reviewer", "default")

    async def emit(topic, /, path, line):
        return await runtime.send_message(Note(path, line), address)

    yield loop_over(emit)
    await runtime.stop()


@TEN.peer("autogen-core `send_message` ten times", env="agents", package="autogen-core")
async def _autogen_ten():
    from autogen_core import AgentId

    names = [f"reviewer_{i}" for i in range(10)]
    runtime = await autogen_runtime(names)
    addresses = [AgentId(name, "default") for name in names]

    async def emit(topic, /, path, line):
        note = Note(path, line)
        sent = [runtime.send_message(note, address) for address in addresses]
        return await asyncio.gather(*sent)

    yield loop_over(emit)
    await runtime.stop()


@TOPICS.peer("autogen-core `send_message`", env="agents", package="autogen-core")
async def _autogen_topics():
    from autogen_core import AgentId

    names = [f"reviewer_{i}" for i in range(MANY)]
    runtime = await autogen_runtime(names)

    async def emit(topic, /, path, line):
        return await runtime.send_message(Note(path, line), AgentId(topic, "default"))

    yield await warmed(emit, names)
    await runtime.stop()


def faststream_broker(subjects):
    from faststream.nats import NatsBroker

    broker = NatsBroker()
    for subject in subjects:

        @broker.subscriber(subject)
        async def review(message: dict) -> int:
            return message["line"]

    return broker


def faststream_emit(broker):
    async def emit(topic, /, **data):
        reply = await broker.request(data, topic)
        return await reply.decode()

    return emit


@ONE.peer("FastStream test broker, request", env="agents", package="faststream")
async def _faststream():
    from faststream.nats import TestNatsBroker

    async with TestNatsBroker(faststream_broker([TOPIC])) as broker:
        yield loop_over(faststream_emit(broker))


@TOPICS.peer("FastStream test broker, request", env="agents", package="faststream")
async def _faststream_topics():
    from faststream.nats import TestNatsBroker

    subjects = [f"review.{i}" for i in range(MANY)]
    async with TestNatsBroker(faststream_broker(subjects)) as broker:
        yield await warmed(faststream_emit(broker), subjects)


@TEN.peer(
    "FastStream test broker, publish (no answer)", env="agents", package="faststream"
)
async def _faststream_ten():
    from faststream.nats import TestNatsBroker

    async with TestNatsBroker(faststream_broker([TOPIC] * 10)) as broker:

        async def emit(topic, /, **data):
            await broker.publish(data, topic)

        yield loop_over(emit)


@WILD.peer("FastStream test broker, request", env="agents", package="faststream")
async def _faststream_wild():
    from faststream.nats import TestNatsBroker

    subjects = [f"team{i}.*" for i in range(10_000)]
    async with TestNatsBroker(faststream_broker(subjects)) as broker:
        yield loop_over(faststream_emit(broker), "team5000.done")
