"""What one task takes: its attempts, and its money."""

from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

from waybell_deadline import Deadline
from waybell_scheduler._results import Facts
from waybell_scheduler._retry import Patience
from waybell_scheduler._task import Task


_FOREVER = 1e9  # seconds to stand in line for money that running tasks still hold


class Effort:
    """The attempts of a task, and the hold it spends from."""

    __slots__ = ("_hold", "_task", "budget", "patience")

    def __init__(self, task: Task) -> None:
        self._task = task
        self._hold: Any = None
        self.budget: Any = None
        self.patience = Patience(task.retries)

    async def hold(self, pool: Any, stack: AsyncExitStack) -> None:
        """Set aside what the task may spend; wait for what others hold but may leave.

        Raises:
            BudgetExceeded: There never will be as much.
        """
        if pool is None:
            return
        task, deadline = self._task, Deadline.current()
        limited = (task.usd, task.tokens) != (None, None)
        seconds = deadline.timeout() if deadline is not None else None
        line: dict[str, Any] = (
            {"wait": True, "timeout": seconds or _FOREVER} if limited else {}
        )
        hold = pool.acquire(task.usd, task.tokens, label=task.id, **line)
        self._hold = self.budget = await stack.enter_async_context(hold)
        if not limited:
            stack.callback(self._excuse)

    def _excuse(self) -> None:
        """Say of a task that named no limit and spent nothing that it was free."""
        if not self._hold.snapshot().by_line:
            self._hold.charge(usd=0, line="free")

    def charge(self, reply: Any) -> None:
        """Charge what a reply says it cost, unless whoever made it has."""
        usage, cost = getattr(reply, "usage", None), getattr(reply, "cost", None)
        if self._hold is None or (usage, cost) == (None, None):
            return
        if not isinstance(reply, str) or self._hold.snapshot().by_line:
            return
        line = "free" if cost == 0 else "billed"
        model = getattr(reply, "model", None)
        try:
            self._hold.charge(usd=cost, usage=usage, model=model, line=line)
        except Exception as error:
            error.__dict__.setdefault("reply", reply)  # which has been paid for
            raise

    def facts(self) -> Facts:
        """What became of it."""
        if self._hold is None:
            return Facts(self.patience.number)
        spent = self._hold.snapshot()
        return Facts(self.patience.number, Decimal(spent.usd_spent), spent.tokens_spent)
