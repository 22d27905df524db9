"""Agents alone: a tool, an answer of a type, money, and what a stream gives.

The model here says what a script tells it to; `adapter="anthropic:..."` or
`adapter="offline"` is another one.

Prints:
    Reply('{"total": 30, "unit": "kg"}', tokens=217, model='scripted')
    Weight(total=30, unit='kg')
    weigh -> 10, weigh -> 20
    refused: weigh: a problem: bell: is required
    spent: $0
    pieces: ['Ding', ' dong', '.']
"""

import asyncio
from dataclasses import dataclass

from waybell_adapters import ScriptedAdapter, ToolCall
from waybell_agents import Agent, AgentConfig
from waybell_budget import BudgetPool
from waybell_deadline import Deadline


@dataclass
class Weight:
    """What all bells weigh together."""

    total: int
    unit: str


def weigh(bell: str) -> int:
    """Weigh a bell.

    Args:
        bell: Its name.
    """
    return {"Anna": 10, "Bert": 20}[bell]


script = ScriptedAdapter([
    [ToolCall("1", "weigh", {"bell": "Anna"}), ToolCall("2", "weigh", {"bell": "Bert"})],
    '{"total": 30, "unit": "kg"}',
    ToolCall("3", "weigh", {}),
    "I cannot.",
    "Ding dong.",
])  # fmt: skip
config = AgentConfig("clerk", "Weigh.", script, [weigh], output_type=Weight)
pool = BudgetPool(usd=1, tokens=1000)
reply = Agent(config).run_sync("All bells?", budget=pool, deadline=Deadline(10))
print(repr(reply))
print(reply.value)
print(", ".join(f"{r['name']} -> {r['text']}" for r in reply.steps[0].results))

ringer = Agent(AgentConfig("ringer", adapter=script, tools=[weigh]))
refusal = ringer.run_sync("Which one?")
print("refused:", refusal.steps[0].results[0]["error"]["message"])
print(f"spent: ${pool.snapshot().usd_spent}")


async def listen() -> None:
    async with ringer.stream("Ring.") as stream:
        print("pieces:", [piece async for piece in stream])


asyncio.run(listen())
