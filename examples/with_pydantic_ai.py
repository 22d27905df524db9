"""Pydantic AI inside Waybell: their agent answers a topic, our limits stand around it.

Needs `pip install pydantic-ai-slim`; runs without a key.

Prints:
    london: 21 degrees in London
    charged 150 tokens, $0.0006
    too dear: $0.001 asked, $0.0004 left
    too slow; on the trace it failed: agent:weather
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
    Price,
    Tracer,
    read_traces,
)


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


with tempfile.TemporaryDirectory() as home:
    asyncio.run(main(Path(home)))
