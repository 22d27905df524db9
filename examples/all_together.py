"""Bus, budget, deadline, decision log and tracer in one run, and one query after it.

Prints:
    first: no colour in 'bells'
    second: Bells are made of bronze.
    who failed: agent:painter was given 'bells' and said ValueError: no colour in 'bells'
    it is on the trace as well: ['agent:painter']
    spent: $0.02
"""

import asyncio
import tempfile
from pathlib import Path

from waybell import (
    BudgetPool,
    Deadline,
    DecisionLog,
    Event,
    EventBus,
    Tracer,
    read_traces,
)


async def founder(event: Event) -> str:
    event["budget"].charge(usd="0.01")
    return f"{event['prompt'].capitalize()} are made of bronze."


async def painter(event: Event) -> str:
    event["budget"].charge(usd="0.01")
    raise ValueError(f"no colour in {event['prompt']!r}")


async def main(folder: Path) -> None:
    pool = BudgetPool(usd="0.10")
    with (
        Tracer(export_path=folder / "traces.jsonl") as tracer,
        DecisionLog(folder / "decisions.jsonl") as log,
    ):
        bus = EventBus()
        bus.use(tracer.around)
        bus.use(log.around)
        bus.on("agent:painter", painter)
        bus.on("agent:founder", founder)
        async with Deadline(seconds=5):
            for name, topic in (("first", "painter"), ("second", "founder")):
                async with pool.acquire(max_usd="0.02") as budget:
                    try:
                        answer = await bus.request(
                            f"agent:{topic}", prompt="bells", budget=budget
                        )
                    except ValueError as error:
                        answer = str(error)
                    print(f"{name}: {answer}")
        (failed,) = log.query(where={"outcome": "error"})
        print(
            f"who failed: {failed['topic']} was given {failed['given']['prompt']!r} "
            f"and said {failed['error']['type']}: {failed['error']['message']}"
        )
    traces = read_traces(folder / "traces.jsonl")
    print("it is on the trace as well:", [span.name for span in traces.failed])
    print(f"spent: ${pool.snapshot().usd_spent}")


with tempfile.TemporaryDirectory() as home:
    asyncio.run(main(Path(home)))
