"""Never run: mypy and pyright must accept it; `test_agents_typing.py` asks mypy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, assert_type

from waybell_agents import (
    Agent,
    AgentConfig,
    AgentReply,
    AgentStream,
    OpenMultiAgent,
    Team,
)


@dataclass
class Invoice:
    total: int


class Place(TypedDict):
    city: str


PLAIN = AgentConfig("plain")
INVOICES = AgentConfig("clerk", "You read.", "offline", output_type=Invoice, repairs=1)


def the_type_of_the_answer_is_that_of_the_config(
    kind: Any, perhaps: type[Invoice] | None
) -> None:
    assert_type(PLAIN, AgentConfig[None])
    assert_type(AgentConfig("a", output_type=None), AgentConfig[None])
    assert_type(INVOICES, AgentConfig[Invoice])
    assert_type(AgentConfig("a", output_type=Place), AgentConfig[Place])
    assert_type(AgentConfig("a", output_type=list[int]), AgentConfig[list[int]])
    assert_type(AgentConfig("a", output_type={"type": "object"}), AgentConfig[Any])
    assert_type(AgentConfig("a", output_type=kind), AgentConfig[Any])
    assert_type(AgentConfig("a", output_type=perhaps), AgentConfig[Any])
    # That these are types of values, the checkers cannot say yet.
    assert_type(AgentConfig("a", output_type=Literal["x", "y"]), AgentConfig[Any])
    assert_type(AgentConfig("a", output_type=int | None), AgentConfig[Any])
    assert_type(replace(INVOICES, name="b"), AgentConfig[Invoice])
    if INVOICES.output is not None:
        assert_type(INVOICES.output.read("text"), Invoice)


async def an_agent_answers_with_it() -> None:
    agent = Agent(INVOICES)
    assert_type(agent, Agent[Invoice])
    assert_type(await agent.run("x", deadline=5), AgentReply[Invoice])
    assert_type((await agent.run("x")).value.total, int)
    assert_type(agent.run_sync("x", attempts=1).value, Invoice)
    assert_type(await agent.handle({"prompt": "x"}), AgentReply[Invoice])
    async with agent.stream("x") as stream:
        async for piece in stream:
            assert_type(piece, str)
    assert_type(stream, AgentStream[Invoice])
    assert_type(stream.reply.value, Invoice)
    assert_type(await Agent(PLAIN).run("x"), AgentReply)
    assert_type((await Agent(PLAIN).run("x")).value, None)
    assert_type(Agent(AgentConfig("a", output_type={})).run_sync("x").value, Any)


async def a_conversation_goes_on(agent: Agent[Invoice]) -> None:
    reply = await agent.run("x")
    await agent.run([*reply.messages, {"role": "user", "content": "and now?"}])


async def the_facade_answers_with_it() -> None:
    desk = OpenMultiAgent()
    assert_type(await desk.arun_agent(INVOICES, "x", budget=None), AgentReply[Invoice])
    assert_type(desk.run_agent(INVOICES, "x", deadline=5).value, Invoice)
    assert_type(desk.run_agent(PLAIN, "x"), AgentReply)
    desk.run_agent(PLAIN, [{"role": "user", "content": "x"}])
    async with desk.stream_agent(INVOICES, "x") as stream:
        assert_type(stream.reply.value.total, int)
    assert_type(desk.create_team("desk", [PLAIN, INVOICES]), Team)
    desk.run_tasks([], team=INVOICES)
    assert_type(desk.create_team("desk", [PLAIN, INVOICES])["clerk"], AgentConfig[Any])


def answers_of_any_type(replies: Iterable[AgentReply[object]]) -> list[object]:
    return [reply.value for reply in replies]


def others_may_be_handed_on(reply: AgentReply[Invoice], plain: AgentReply) -> None:
    answers_of_any_type([reply, plain])
    assert_type(AgentReply("x", value=3).value, int)


AgentConfig("a", max_step=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
AgentConfig("a", output_type=Invoice, max_steps="3")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
AgentConfig(1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
INVOICES.name = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
