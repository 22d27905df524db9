"""Deterministic simulation of asyncio code: seeds, a virtual clock, faults.

>>> import asyncio
>>> from waybell_sim import simulate
>>> async def main():
...     purse = ["coin"]
...     async def spend():
...         if purse:
...             await asyncio.sleep(0)  # the bug: an await between check and spend
...             purse.pop()
...     await asyncio.gather(spend(), spend())
>>> simulate(main)
Traceback (most recent call last):
    ...
waybell_sim._errors.SimulationFailed: seed ... failed after ... passed: IndexError: pop from empty list
replay: simulate(main, seeds=[...])
"""

from waybell_sim._errors import (
    DeadlockError,
    InjectedCut,
    InjectedRateLimit,
    InjectedTimeout,
    LivelockError,
    NotSimulated,
    SimulationFailed,
)
from waybell_sim._faults import Faults
from waybell_sim._simulate import SimulationReport, simulate


__all__ = [
    "DeadlockError", "Faults", "InjectedCut", "InjectedRateLimit", "InjectedTimeout",
    "LivelockError", "NotSimulated", "SimulationFailed", "SimulationReport", "simulate",
]  # fmt: skip
