"""The deadline alone: a wall around a call tree, the tightest one wins.

Prints:
    the inner one has time left: True
    the outer wall fired: True
    the answer came in time: 42
"""

import asyncio

from waybell_deadline import Deadline, DeadlineExceeded


async def slow() -> None:
    async with Deadline(seconds=60) as own:
        print("the inner one has time left:", own.remaining() > 1)
        await asyncio.Event().wait()  # never


async def main() -> None:
    outer = Deadline(seconds=0.05)
    try:
        async with outer:
            await slow()
    except DeadlineExceeded as error:
        print("the outer wall fired:", error.deadline is outer)
    async with Deadline(seconds=5):
        print("the answer came in time:", await asyncio.sleep(0, result=42))


asyncio.run(main())
