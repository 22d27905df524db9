"""The budget alone: ten cents, a hundred callers, and nobody overspends.

Prints:
    10 calls ran, 90 were refused
    spent $0.1 of $0.1
"""

import asyncio

from waybell_budget import BudgetExceeded, BudgetPool


pool = BudgetPool(usd="0.10")


async def call() -> bool:
    try:
        async with pool.acquire(max_usd="0.01") as budget:
            await asyncio.sleep(0)  # the model works
            budget.charge(usd="0.01")
    except BudgetExceeded:
        return False
    return True


async def main() -> None:
    ran = await asyncio.gather(*(call() for _ in range(100)))
    print(f"{sum(ran)} calls ran, {ran.count(False)} were refused")
    print(f"spent ${pool.snapshot().usd_spent} of $0.1")


asyncio.run(main())
