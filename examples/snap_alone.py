"""Snap alone: a live run of agents pinned, replayed without a model, and a drift told.

Prints:
    recorded: Bells are made of bronze. [1]
    replayed: Bells are made of bronze. [1]
    the run: run > agent:writer > offline.generate()
    the run changed: 3 output, 1 tokens
"""

import asyncio
import tempfile
from pathlib import Path

from waybell_adapters import LLMAdapter, OfflineAdapter, ScriptedAdapter, agenerate
from waybell_bus import Event, EventBus
from waybell_snap import Recording, Replay, SnapMismatch, compare


PROMPT = """Answer the question in one sentence.

Question: What are bells made of?

Passages:
[1] bells.txt
    Bells are made of bronze. They hang in towers.
"""


async def answer(run: Recording | Replay, model: LLMAdapter) -> str:
    bus = EventBus()
    run.watch(bus)
    model = run.adapter(model, name="offline")

    async def writer(event: Event) -> str:
        return str(await agenerate(model, event["prompt"]))

    bus.on("agent:writer", writer)
    return str(await bus.request("agent:writer", prompt=PROMPT))


async def main(folder: Path) -> None:
    async with Recording(folder / "run.json") as first:
        print("recorded:", await answer(first, OfflineAdapter()))
    async with Replay(folder / "run.json") as again:
        print("replayed:", await answer(again, ScriptedAdapter([])))
    print(
        "the run:",
        " > ".join(line.strip() for line in str(again.snapshot).splitlines()),
    )

    async with Recording(folder / "other.json") as other:
        await answer(other, ScriptedAdapter(["Of tin."]))
    try:
        compare(first.snapshot, other.snapshot).check()
    except SnapMismatch as changed:
        print(str(changed).splitlines()[0])


with tempfile.TemporaryDirectory() as home:
    asyncio.run(main(Path(home)))
