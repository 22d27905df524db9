"""Deterministic simulation of asyncio code: seeds, a virtual clock, faults.

>>> import asyncio
>>> from waybell_sim import simulate, SimulationFailed
>>> async def main():
...     left = 1
...     async def spend():
...         nonlocal left
...         if left > 0:
...             await asyncio.sleep(0)  # the bug: an await between check and spend
...             left -= 1
...     await asyncio.gather(spend(), spend())
...     assert left >= 0, f"overspent: {left}"
...
>>> try:
...     simulate(main, seeds=1000)
... except SimulationFailed as failed:
...     print(failed.replay)
...
simulate(main, seeds=[...])
"""

from waybell_sim._errors import (
    DeadlockError,
    LivelockError,
    NotSimulated,
    SimulationFailed,
)
from waybell_sim._simulate import SimulationReport, simulate


__all__ = [
    "DeadlockError",
    "LivelockError",
    "NotSimulated",
    "SimulationFailed",
    "SimulationReport",
    "simulate",
]
