"""The OpenAI Agents SDK inside Waybell: their runner, any of our models, our limits.

Needs `pip install openai-agents`; runs without a key. Their own tracing, which would send
every run away, is switched off.

Prints:
    A bell is a struck idiophone.
    charged $0.002
    replayed without a model: A bell is a struck idiophone.
    too dear: $0.003 asked, $0.001 left
    too slow: cut at the deadline, the runner with it
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from waybell import (
    Budget,
    BudgetExceeded,
    BudgetPool,
    Deadline,
    DeadlineExceeded,
    LLMAdapter,
    Reply,
    ScriptedAdapter,
    agenerate,
)
from waybell_snap import Recording, Replay


set_tracing_disabled(True)
budget: ContextVar[Budget] = ContextVar("budget")


class Ours(Model):
    """One of our adapters as a model of theirs: text in, text out."""

    def __init__(self, adapter: LLMAdapter) -> None:
        self._adapter = adapter

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - their name
        *rest: Any,
        **more: Any,
    ) -> ModelResponse:
        prompt = input if isinstance(input, str) else list(input)
        reply = await agenerate(
            self._adapter, prompt, system=system_instructions,
            budget=budget.get(), deadline=Deadline.current(),
        )  # fmt: skip
        text = ResponseOutputText(annotations=[], text=reply.text, type="output_text")
        message = ResponseOutputMessage(
            id="message", content=[text], role="assistant", status="completed",
            type="message",
        )  # fmt: skip
        used = Usage(
            requests=1, input_tokens=reply.usage.input_tokens,
            output_tokens=reply.usage.output_tokens, total_tokens=reply.tokens,
        )  # fmt: skip
        return ModelResponse(output=[message], usage=used, response_id=reply.request_id)

    def stream_response(self, *args: Any, **more: Any) -> AsyncIterator[Any]:
        raise TypeError("this example answers whole: use Runner.run")


async def ask(model: LLMAdapter, pool: BudgetPool, seconds: float = 5) -> str:
    agent = Agent(name="writer", instructions="One sentence.", model=Ours(model))
    async with Deadline(seconds=seconds), pool.acquire(max_usd="0.003") as hold:
        token = budget.set(hold)
        try:
            return (await Runner.run(agent, "What is a bell?")).final_output
        finally:
            budget.reset(token)


class Stuck:
    """A model that never answers."""

    async def agenerate(self, prompt: Any, **options: Any) -> Reply:
        await asyncio.Event().wait()
        return Reply()

    def generate(self, prompt: Any, **options: Any) -> Any:
        return asyncio.run(self.agenerate(prompt))

    stream = generate


async def main(folder: Path) -> None:
    model = ScriptedAdapter([Reply("A bell is a struck idiophone.", cost="0.002")])
    pool = BudgetPool(usd="0.003")
    async with Recording(folder / "run.json") as first:
        print(await ask(first.adapter(model), pool))
    print(f"charged ${pool.snapshot().usd_spent}")
    async with Replay(folder / "run.json") as again:
        none = again.adapter(ScriptedAdapter([]))
        print("replayed without a model:", await ask(none, BudgetPool(usd=1)))
    try:
        await ask(model, pool)
    except BudgetExceeded as error:
        print("too dear:", error)
    try:
        await ask(Stuck(), BudgetPool(usd=1), seconds=0.05)
    except DeadlineExceeded:
        print("too slow: cut at the deadline, the runner with it")


with tempfile.TemporaryDirectory() as home:
    asyncio.run(main(Path(home)))
