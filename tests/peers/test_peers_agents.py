"""Agents against real model servers: tools go round, types hold, a cancel ends the work."""

import asyncio
from dataclasses import dataclass
from typing import Literal

import pytest

from waybell_agents import Agent, AgentConfig, OpenMultiAgent
from waybell_budget import BudgetPool
from waybell_scheduler import Task


@dataclass
class Sky:
    """What it looks like."""

    colour: Literal["blue", "grey"]
    dry: bool


async def test_an_agent_calls_a_tool_and_answers_within_its_budget(peer, model):
    asked = []

    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "It is sunny."

    pool = BudgetPool(usd=1)
    config = AgentConfig(
        "a", adapter=model, tools=[get_weather], max_tokens=400, max_steps=4
    )
    reply = await Agent(config).run("weather", budget=pool)
    assert asked
    assert all(isinstance(city, str) for city in asked)
    assert reply.strip()
    assert len(reply.steps) >= 2
    assert {result["text"] for result in reply.steps[0].results} == {"It is sunny."}
    assert reply.tokens == sum(step.reply.tokens for step in reply.steps)
    assert (
        pool.snapshot().usd_spent
        == reply.cost
        == sum(s.reply.cost for s in reply.steps)
    )


async def test_a_streamed_run_gives_the_same_pieces_as_its_reply(peer, model):
    config = AgentConfig("a", adapter=model, max_tokens=12, temperature=0)
    async with Agent(config).stream("hello") as stream:
        pieces = [piece async for piece in stream]
    assert len(pieces) > 1
    assert "".join(pieces) == stream.reply


@pytest.mark.parametrize("peer", ["llamacpp-openai"], indirect=True)
async def test_a_schema_makes_even_a_tiny_model_give_the_type(peer, model):
    config = AgentConfig("a", adapter=model, output_type=Sky, max_tokens=100, repairs=0)
    reply = await Agent(config).run("What does the sky look like?")
    assert isinstance(reply.value, Sky)
    assert reply.value.colour in ("blue", "grey")


@pytest.mark.parametrize(
    "peer", ["llamacpp-openai", "llamacpp-anthropic"], indirect=True
)
async def test_a_cancelled_agent_ends_the_servers_work(peer, model):
    agent = Agent(AgentConfig("a", adapter=model, max_tokens=8000))
    async with agent.stream("hello") as stream:
        await anext(stream)
    assert await asyncio.to_thread(peer.wait_for, "requests_processing", 0)


async def test_a_journaled_team_asks_the_server_once_for_each_reply(
    peer, model, tmp_path
):
    many = OpenMultiAgent(adapter=model)
    team = many.create_team(
        "t", [AgentConfig("a", max_tokens=8), AgentConfig("b", max_tokens=8)]
    )
    tasks = [Task("x", "hello", "a"), Task("y", "hello", "b", depends_on=["x"])]
    first = await many.arun_tasks(tasks, team=team, journal=tmp_path / "j")
    calls = many.get_status()["agents"]
    again = await many.arun_tasks(tasks, team=team, journal=tmp_path / "j")
    assert first.ok
    assert again.ok
    assert [one.value for one in again.values()] == [
        one.value for one in first.values()
    ]
    assert many.get_status()["agents"] == calls
    assert {name: one["calls"] for name, one in calls.items()} == {"a": 1, "b": 1}
