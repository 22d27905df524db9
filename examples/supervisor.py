"""Supervisor: draft, review, revise, until a structured verdict says approved.

Prints:
    round 1: ['too long']
    round 2: []
    approved: A bell rings.
"""

import asyncio

from waybell_patterns import Supervisor, Verdict


async def write(prompt: str, problems: list[str]) -> str:
    return "A bell rings." if problems else "A bell rings, and rings, and rings."


async def review(prompt: str, draft: str) -> Verdict:
    long = len(draft) > 20
    return Verdict(not long, ("too long",) if long else ())


supervisor = Supervisor(write, review, max_rounds=3)


async def main() -> None:
    result = await supervisor.run("Write about bells, in at most 20 letters.")
    for number, verdict in enumerate(result.reviews, start=1):
        print(f"round {number}: {list(verdict.problems)}")
    print(f"{result.verdict}: {result.draft}")


asyncio.run(main())
