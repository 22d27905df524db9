"""LangGraph inside Waybell: their graph, our budget, deadline, trace and replay around it.

Needs `pip install langgraph`; runs without a key.

Prints:
    A bell is a struck idiophone. (approved)
    spent $0.004 by 2 agents of the graph
    replayed without a model: A bell is a struck idiophone. (approved)
    too dear: $0.004 asked, $0.002 left
    too slow: cut at the deadline, the graph with it
"""

import asyncio
import tempfile
from pathlib import Path
from typing import TypedDict

from langgraph.graph import END, START, StateGraph

from waybell import (
    Budget,
    BudgetExceeded,
    BudgetPool,
    Deadline,
    DeadlineExceeded,
    LLMAdapter,
    Reply,
    ScriptedAdapter,
    Tracer,
    agenerate,
    read_traces,
)
from waybell_snap import Recording, Replay


class State(TypedDict, total=False):
    question: str
    draft: str
    verdict: str


def graph(model: LLMAdapter, budget: Budget, tracer: Tracer):
    """Two nodes, as anybody would write them; the limits come from outside."""

    async def ask(agent: str, prompt: str) -> Reply:
        with tracer.agent(agent), tracer.llm("scripted", provider="local") as span:
            reply = await agenerate(
                model, prompt, budget=budget, deadline=Deadline.current()
            )
            span.record_usage(
                input_tokens=reply.usage.input_tokens,
                output_tokens=reply.usage.output_tokens,
                usd=reply.cost,
            )
        return reply

    async def write(state: State) -> State:
        return {"draft": await ask("writer", state["question"])}

    async def review(state: State) -> State:
        return {"verdict": await ask("critic", f"Review: {state['draft']}")}

    built = StateGraph(State)
    built.add_node("write", write)
    built.add_node("review", review)
    built.add_edge(START, "write")
    built.add_edge("write", "review")
    built.add_edge("review", END)
    return built.compile()


async def run(model: LLMAdapter, pool: BudgetPool, tracer: Tracer) -> State:
    async with Deadline(seconds=2), pool.acquire(max_usd="0.004") as budget:
        return await graph(model, budget, tracer).ainvoke({"question": "Bells?"})


async def hang() -> Reply:
    await asyncio.Event().wait()
    return Reply()


class Stuck:
    """A model that never answers."""

    async def agenerate(self, prompt: str, **options: object) -> Reply:
        return await hang()

    def generate(self, prompt: str, **options: object) -> Reply:
        return asyncio.run(hang())

    stream = generate


async def main(folder: Path) -> None:
    lines = ("A bell is a struck idiophone.", "approved")
    model = ScriptedAdapter([Reply(line, cost="0.002") for line in lines])
    pool = BudgetPool(usd="0.006")
    with Tracer(folder / "traces.jsonl") as tracer:
        async with Recording(folder / "run.json") as first:
            state = await run(first.adapter(model), pool, tracer)
        print(f"{state['draft']} ({state['verdict']})")
        agents = read_traces(folder / "traces.jsonl").agents()
        calls = sum(agent.calls for agent in agents.values())
        print(f"spent ${pool.snapshot().usd_spent} by {calls} agents of the graph")
        async with Replay(folder / "run.json") as again:
            none = again.adapter(ScriptedAdapter([]))
            state = await run(none, BudgetPool(usd=1), tracer)
        told = f"{state['draft']} ({state['verdict']})"
        print("replayed without a model:", told)
        try:
            await run(model, pool, tracer)
        except BudgetExceeded as error:
            print("too dear:", error)
        try:
            async with Deadline(seconds=0.05), BudgetPool(usd=1).acquire() as budget:
                await graph(Stuck(), budget, tracer).ainvoke({"question": "Bells?"})
        except DeadlineExceeded:
            print("too slow: cut at the deadline, the graph with it")


with tempfile.TemporaryDirectory() as home:
    asyncio.run(main(Path(home)))
