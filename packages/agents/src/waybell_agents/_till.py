"""A budget as one model call sees it, so that each reply is charged exactly once."""

from collections.abc import Callable
from functools import partial
from typing import Any

from waybell_adapters import Reply


class Till:
    """A budget that knows whether the call has been charged to it.

    Adapters charge what they are given; one that ignores its `budget` is charged for.
    Where the model `costs` money some must be left, unless it `holds`: then it may set
    aside what the call costs, and wait for that; `held` tells whether it did.
    """

    __slots__ = ("_budget", "_charged", "held")

    def __init__(self, budget: Any, *, costs: bool, holds: bool) -> None:
        if not hasattr(budget, "charge"):
            raise TypeError(
                f"budget is BudgetPool(...) or a hold of one, not {budget!r}"
            )
        self._budget, self._charged, self.held = budget, False, False
        shot = getattr(budget, "snapshot", lambda: None)()
        closed = shot is not None and shot.usd_overdrawn and not shot.usd_held
        waits = holds and hasattr(budget, "reserve")  # for what others only hold
        some = closed or (costs and not waits)
        budget.check(**{"usd": "0.000000001"} if some else {"tokens": 0})

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._budget, name)
        return partial(self._set_aside, found) if name == "reserve" else found

    def _set_aside(self, reserve: Callable[..., Any], *most: Any, **wanted: Any) -> Any:
        hold = reserve(*most, **wanted)
        self._charged = self.held = True  # for the call is charged to that
        return hold

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
