"""How many schedules a second: eight agents on one pool, on one core.

`python -m benchmarks.schedules` prints the figure; 3,000 are asked for.
"""

import asyncio
import logging
import random
import time

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_sim import simulate


SEEDS = 5_000


async def eight_agents(rng: random.Random) -> None:
    """Hold, wait, charge and sometimes fail or be cancelled; the cap holds."""
    pool = BudgetPool(usd=1)

    async def agent() -> None:
        try:
            async with pool.acquire(max_usd="0.20") as budget:
                await asyncio.sleep(rng.choice((0, 0, 1, 2)))
                budget.charge(usd=rng.choice(("0", "0.10", "0.20")))
        except BudgetExceeded:
            return  # the pool was spent: that is an answer

    tasks = [asyncio.create_task(agent()) for _ in range(8)]
    await asyncio.sleep(rng.choice((0, 1)))
    rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    figures = pool.snapshot()
    assert figures.usd_held == 0
    assert figures.usd_spent <= 1


if __name__ == "__main__":
    logging.disable()  # cancelled holds report no cost, which the pool warns of
    began = time.process_time()
    simulate(eight_agents, seeds=SEEDS)
    rate = SEEDS / (time.process_time() - began)
    print(f"{rate:,.0f} schedules a second of CPU, {SEEDS:,} run")
