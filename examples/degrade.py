"""Degrade: the best level that money and time still allow.

Prints:
    with $1.00: a long answer
    with $0.10: a short answer
    with $0.00: a canned answer
"""

import asyncio

from waybell_budget import Budget, BudgetPool
from waybell_patterns import Degrade, Stage


async def large(prompt: str, budget: Budget) -> str:
    budget.charge(usd="0.40")
    return "a long answer"


async def small(prompt: str, budget: Budget) -> str:
    budget.charge(usd="0.04")
    return "a short answer"


degrade = Degrade(
    Stage("large", large, usd="0.50"),
    Stage("small", small, usd="0.05"),
    Stage("canned", lambda prompt: "a canned answer"),
)


async def main() -> None:
    for usd in ("1.00", "0.10", "0.00"):
        answer = await degrade.run("hi", budget=BudgetPool(usd=usd))
        print(f"with ${usd}: {answer}")


asyncio.run(main())
