"""Broadcast: ask several at once, take what came in time, name the rest.

Prints:
    answers: {'north': 21, 'south': 19}
    failed: {'east': ConnectionError('no route to east')}
    missing: ('west',)
    mean: 20.0
"""

import asyncio
from collections.abc import Mapping

from waybell_deadline import Deadline
from waybell_patterns import Broadcast


async def north(prompt: str) -> int:
    return 21


def south(prompt: str) -> int:
    return 19


async def east(prompt: str) -> int:
    raise ConnectionError("no route to east")


async def west(prompt: str) -> int:
    await asyncio.Event().wait()  # never
    return 0


def mean(answers: Mapping[str, int]) -> float:
    return sum(answers.values()) / len(answers)


broadcast = Broadcast([north, south, east, west], quorum=2, aggregate=mean)


async def main() -> None:
    result = await broadcast.run("how warm is it?", deadline=Deadline(seconds=0.2))
    print("answers:", dict(result.answers))
    print("failed:", dict(result.failures))
    print("missing:", result.missing)
    print("mean:", result.value)


asyncio.run(main())
