"""The worst case of one call, set aside in its budget while it runs."""

import threading
from contextlib import AbstractContextManager
from typing import Any, cast

from waybell_adapters._limits import BudgetLike


class Held:
    """A budget of which a call holds what it may cost at most.

    Args:
        budget: Has `reserve`, as a `waybell_budget.BudgetPool` or a hold of one.
        wanted: What its `reserve` is told of the call.
    """

    __slots__ = ("_budget", "_charged", "_hold", "_lock", "_over", "_wanted")

    def __init__(self, budget: Any, **wanted: Any) -> None:
        self._budget = budget
        self._wanted = wanted
        self._lock = threading.Lock()
        self._charged = False
        self._over = False
        self._hold: Any = None

    def take(self, seconds: float | None = None) -> None:
        """Set it aside, after a wait of so long at most."""
        self._took(self._reserve(seconds).__enter__())

    async def atake(self, seconds: float) -> None:
        """The same, in a loop."""
        self._took(await self._reserve(seconds).__aenter__())

    def allows(self, most: int | None) -> int | None:
        """The output that is paid for, where that is limited."""
        hold = self._hold
        return hold.max_tokens if hold is not None and hold.limited else most

    def renew(self) -> None:
        """Set it aside once more, after a failed attempt that was paid from it."""
        if self._charged:
            self.release(over=False)
            self.take()

    def check(self, *args: Any, **amounts: Any) -> Any:
        """Raise when an amount does not fit."""
        return (self._hold or self._budget).check(*args, **amounts)

    def charge(self, *args: Any, **amounts: Any) -> Any:
        """Book what was spent."""
        self._charged = True
        return (self._hold or self._budget).charge(*args, **amounts)

    def quote(self, **told: Any) -> Any:
        """What a usage costs."""
        quote = getattr(self._budget, "quote", None)
        return None if quote is None else quote(**told)

    def release(self, *, over: bool = True) -> None:
        """Give back what was not spent."""
        with self._lock:
            hold, self._hold = self._hold, None
            self._over = self._over or over
        if hold is not None:
            self._leave(hold)

    def _reserve(self, seconds: float | None) -> Any:
        waiting = {} if seconds is None else {"wait": True, "timeout": seconds}
        return self._budget.reserve(**self._wanted, **waiting)

    def _took(self, hold: Any) -> None:
        with self._lock:
            over, self._charged = self._over, False
            if not over:
                self._hold = hold
        if over:  # it was given up meanwhile
            self._leave(hold)

    def _leave(self, hold: AbstractContextManager[Any]) -> None:
        if not self._charged:
            cast(BudgetLike, hold).charge(
                usd=0, line="free"
            )  # there was nothing to pay
        hold.__exit__(None, None, None)
