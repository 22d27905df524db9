"""Pydantic AI inside Waybell: their agent answers a topic, our limits stand around it.

Needs `pip install pydantic-ai-slim`; runs without a key.

Prints:
    london: 21 degrees in London
    charged 150 tokens, $0.0006
    too dear: $0.001 asked, $0.0004 left
    too slow; on the trace it failed: agent:weather
    with a model of ours: 21 degrees in Ghent
    replayed without a model: 21 degrees in Ghent
"""

import asyncio
import tempfile
from pathlib import Path

from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from waybell import (
    BudgetExceeded,
    BudgetPool,
    Deadline,
    DeadlineExceeded,
    Event,
    EventBus,
    LLMAdapter,
    Price,
    ScriptedAdapter,
    ToolCall,
    Tracer,
    agenerate,
    read_traces,
)
from waybell_snap import Recording, Replay


async def script(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """In place of a real model: calls the tool, then says what it returned."""
    last = messages[-1].parts[-1]
    if last.part_kind == "user-prompt" and last.content == "never":
        await asyncio.Event().wait()
    if last.part_kind == "user-prompt":
        parts = [ToolCallPart("thermometer", {"city": str(last.content)})]
    else:
        parts = [TextPart(str(last.content))]
    return ModelResponse(parts, usage=RequestUsage(input_tokens=60, output_tokens=15))


weather = Agent(FunctionModel(script))


@weather.tool_plain
def thermometer(city: str) -> str:
    """How warm it is in a city."""
    return f"21 degrees in {city}"


bus = EventBus()


@bus.on("agent:weather")
async def answer(event: Event) -> str:
    result = await weather.run(event["prompt"])
    used = result.usage
    event["budget"].charge(
        model="script",
        usage={"input_tokens": used.input_tokens, "output_tokens": used.output_tokens},
    )
    return result.output


async def ask(pool: BudgetPool, prompt: str, seconds: float = 5) -> str:
    async with Deadline(seconds=seconds), pool.acquire(max_usd="0.001") as budget:
        return await bus.request("agent:weather", prompt=prompt, budget=budget)


def ours(model: LLMAdapter) -> FunctionModel:
    """One of our adapters as a model of theirs; what it is asked is the last message."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        reply = await agenerate(model, str(messages[-1].parts[-1].content))
        calls = [ToolCallPart(call.name, call.arguments) for call in reply.tool_calls]
        return ModelResponse(calls or [TextPart(reply.text)])

    return FunctionModel(answer)


async def replay(path: Path) -> None:
    call = ToolCall("1", "thermometer", {"city": "Ghent"})
    lines = [call, "21 degrees in Ghent"]
    async with Recording(path) as first:
        model = ours(first.adapter(ScriptedAdapter(lines)))
        print("with a model of ours:", (await weather.run("Ghent", model=model)).output)
    async with Replay(path) as again:
        model = ours(again.adapter(ScriptedAdapter([])))
        result = await weather.run("Ghent", model=model)
        print("replayed without a model:", result.output)


async def main(folder: Path) -> None:
    pool = BudgetPool(usd="0.001", prices={"script": Price(input=3, output=8)})
    with Tracer(folder / "traces.jsonl") as tracer:
        bus.use(tracer.around)
        print("london:", await ask(pool, "London"))
        spent = pool.snapshot()
        print(f"charged {spent.tokens_spent} tokens, ${spent.usd_spent}")
        try:
            await ask(pool, "Paris")
        except BudgetExceeded as error:
            print("too dear:", error)
        try:
            await ask(BudgetPool(usd=1), "never", seconds=0.05)
        except DeadlineExceeded:
            (cut,) = read_traces(folder / "traces.jsonl").failed
            print("too slow; on the trace it failed:", cut.name)
    await replay(folder / "run.json")


with tempfile.TemporaryDirectory() as home:
    asyncio.run(main(Path(home)))
