"""Fallback: the next agent when one fails, and a precise error when all do.

Prints:
    the local model answers
    all 2 failed: primary: ConnectionError('down'); spare: TimeoutError('slow')
"""

import asyncio

from waybell_patterns import Fallback, IncompleteError


async def primary(prompt: str) -> str:
    raise ConnectionError("down")


async def spare(prompt: str) -> str:
    raise TimeoutError("slow")


async def main() -> None:
    print(await Fallback(primary, lambda prompt: "the local model answers").run("hi"))
    try:
        await Fallback(primary, spare).run("hi")
    except IncompleteError as error:
        print(error)


asyncio.run(main())
