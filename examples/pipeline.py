"""Pipeline: each stage is paid for before the first one starts.

Prints:
    draft from 3 facts
    failed: review, because $0.05 asked, $0.02 left
    kept: ['research', 'draft'], never ran: ['publish']
"""

import asyncio

from waybell_budget import Budget, BudgetPool
from waybell_patterns import Pipeline, Stage


async def research(prompt: str, budget: Budget) -> list[str]:
    budget.charge(usd="0.01")
    return ["one", "two", "three"]


async def draft(prompt: str, results: dict[str, list[str]], budget: Budget) -> str:
    budget.charge(usd="0.02")
    return f"draft from {len(results['research'])} facts"


async def review(prompt: str, budget: Budget) -> str:
    budget.charge(usd="0.05")  # costs more than it was given
    return "never returned"


pipeline = Pipeline(
    [
        Stage("research", research, usd="0.02"),
        Stage("draft", draft, usd="0.02"),
        Stage("review", review, usd="0.02"),
        Stage("publish", lambda prompt: "published", usd="0.04"),
    ],
    budget=BudgetPool(usd="0.10"),
)


async def main() -> None:
    result = await pipeline.run("bells")
    print(result)
    print(f"failed: {result.failed}, because {result.error}")
    print(f"kept: {list(result.results)}, never ran: {list(result.missing)}")


asyncio.run(main())
