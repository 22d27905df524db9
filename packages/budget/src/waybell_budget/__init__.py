"""A pool of money and tokens that concurrent calls cannot overspend.

>>> from waybell_budget import BudgetExceeded, BudgetPool
>>> pool = BudgetPool(usd="0.10")
>>> with pool.acquire(max_usd="0.06") as budget:
...     budget.charge(usd="0.02")
...     try:
...         with pool.acquire(max_usd="0.05"):
...             print("never reached")
...     except BudgetExceeded as error:
...         print(error)
$0.05 asked, $0.04 left
>>> pool.snapshot().usd_remaining
Decimal('0.08')
"""

from waybell_budget._budget import Budget
from waybell_budget._errors import (
    BudgetClosedError,
    BudgetDeadlockError,
    BudgetError,
    BudgetExceeded,
    BudgetTimeoutError,
    UnknownPriceError,
)
from waybell_budget._partition import Partition
from waybell_budget._pool import BudgetPool
from waybell_budget._prices import Price
from waybell_budget._snapshot import BudgetSnapshot, Spent


__all__ = [
    "Budget",
    "BudgetClosedError",
    "BudgetDeadlockError",
    "BudgetError",
    "BudgetExceeded",
    "BudgetPool",
    "BudgetSnapshot",
    "BudgetTimeoutError",
    "Partition",
    "Price",
    "Spent",
    "UnknownPriceError",
]
