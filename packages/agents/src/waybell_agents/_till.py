"""A budget as one model call sees it, so that each reply is charged exactly once."""

from typing import Any

from waybell_adapters import Reply


class Till:
    """A budget that knows whether the call has been charged to it.

    Adapters charge what they are given; one that ignores its `budget` is charged for.

    Args:
        budget: Anything with `check` and `charge`.
        costs: The model is known to cost money, so that some must be left.

    Raises:
        BudgetExceeded: It is overdrawn, or used up.
    """

    __slots__ = ("_budget", "_charged")

    def __init__(self, budget: Any, *, costs: bool) -> None:
        if not hasattr(budget, "charge"):
            raise TypeError(
                f"budget is BudgetPool(usd=...) or a hold of one, not {budget!r}"
            )
        self._budget, self._charged = budget, False
        shown = getattr(budget, "snapshot", None)
        overdrawn = shown is not None and shown().usd_overdrawn
        least = {"usd": "0.000000001"} if costs or overdrawn else {"tokens": 0}
        budget.check(**least)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._budget, name)
        if name == "reserve":
            self._charged = True  # who sets the call's cost aside charges it to that
        return found

    def charge(self, **amounts: Any) -> None:
        """Book what was spent."""
        self._charged = True
        self._budget.charge(**amounts)

    def settle(self, reply: Reply) -> None:
        """Charge a reply that nobody has charged; a complaint carries it as `reply`."""
        if self._charged:
            return
        line = {"line": "free"} if reply.cost == 0 else {}
        try:
            self.charge(usd=reply.cost, model=reply.model, usage=reply.usage, **line)
        except Exception as error:
            error.reply = reply  # type: ignore[attr-defined]
            raise
