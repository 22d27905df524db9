"""Simulation alone: a race that a thousand seeds find, and one seed replays.

Prints:
    found: both took the last seat
    replayed: both took the last seat
"""

import asyncio

from waybell_sim import SimulationFailed, simulate


async def booking() -> None:
    seats = 1
    taken: list[str] = []

    async def book(name: str) -> None:
        nonlocal seats
        if seats:  # checked here ...
            await asyncio.sleep(0)  # ... while somebody else runs ...
            seats -= 1  # ... and taken here
            taken.append(name)

    await asyncio.gather(book("ada"), book("bob"))
    assert len(taken) == 1, "both took the last seat"


try:
    simulate(booking, seeds=1000)
except SimulationFailed as failure:
    print("found:", failure.__cause__)
    try:
        simulate(booking, seeds=[failure.seed])
    except SimulationFailed as again:
        print("replayed:", again.__cause__)
