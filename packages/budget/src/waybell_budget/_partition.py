"""Several holds opened together or not at all, at once or after a wait."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

import sys
import threading
from contextlib import ExitStack
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, TypeVar

from ._account import Account, error, room
from ._errors import BudgetClosedError, BudgetTimeoutError
from ._waiting import GRANTED, OPENED, WAITING, Waiter


if TYPE_CHECKING:
    from ._budget import Budget
    from ._purse import Purse

Parts = TypeVar("Parts", bound="list[Budget] | dict[str, Budget]")
# The last hold that this context opened; `Budget._outer` leads to those around it.
_innermost: ContextVar["Budget | None"] = ContextVar("waybell_budget", default=None)
surrounding, enclose = _innermost.get, _innermost.set


class Partition(Generic[Parts]):
    """Several holds of one pool, for `with` and `async with` (see `partition`)."""

    __slots__ = ("_budgets", "_ledger", "_parts", "_pool", "_seconds")

    def __init__(self, pool: "Purse", parts: Parts, seconds: float | None) -> None:
        self._pool, self._parts, self._seconds = pool, parts, seconds
        self._ledger = pool._ledger
        self._budgets = list(parts.values()) if isinstance(parts, dict) else parts

    def __enter__(self) -> Parts:
        waiter = self._request()
        try:
            if self._seconds is not None:
                _refuse_on_loop()
                gate = threading.Lock()
                gate.acquire()
                waiter.wake = gate.release
                if self._join(waiter):
                    gate.acquire(timeout=self._seconds)
            return self._open(waiter)
        except BaseException:
            self._leave(waiter)
            raise

    async def __aenter__(self) -> Parts:
        waiter = self._request()
        try:
            if self._seconds is not None:
                await self._wait(waiter, self._seconds)
            return self._open(waiter)
        except BaseException:
            self._leave(waiter)
            raise

    async def _wait(self, waiter: Waiter, seconds: float) -> None:
        """Come back when the waiter is granted, refused, or out of time."""
        import asyncio  # noqa: PLC0415  # whoever gets here has it, others need not

        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(done.set)
            except RuntimeError:  # the loop is closed: nobody will come for the money
                self._leave(waiter)

        waiter.wake = wake
        if self._join(waiter):
            timer = loop.call_later(seconds, done.set)
            try:
                await done.wait()
            finally:
                timer.cancel()

    def __exit__(self, *_error: object) -> None:
        with ExitStack() as stack:  # all of them, whatever a callback raises
            for budget in reversed(self._budgets):
                stack.callback(budget.settle)

    async def __aexit__(self, *_error: object) -> None:
        self.__exit__()

    def _request(self) -> Waiter:
        """All that the parts want, as one request."""
        draws: dict[Account, int] = {}
        for budget in self._budgets:
            for account in budget._accounts():
                above, amount = account._parent, account._cap
                if above is not None and amount is not None:
                    draws[above] = draws.get(above, 0) + amount
        mine: list[Account] = []
        holder = surrounding()
        while holder is not None:
            if holder._ledger is self._ledger and holder._state > 0:
                mine += holder._accounts()
            holder = holder._outer
        return Waiter(list(draws.items()), mine, lambda: None)

    def _check(self) -> None:
        if not all(budget._state == 0 for budget in self._budgets):
            raise BudgetClosedError("a hold is entered once; acquire another")
        if reason := self._pool._barred():
            raise reason

    def _join(self, waiter: Waiter) -> bool:
        """Whether there is anything to wait for."""
        with self._ledger.lock:
            self._check()
            self._ledger.join(waiter)
        self._ledger.deliver()
        return waiter.state == WAITING

    def _leave(self, waiter: Waiter) -> None:
        """Give up, at whatever point."""
        if waiter.state == OPENED:  # an interrupt: nobody has the holds yet
            for budget in self._budgets:
                budget._abandon()
        with self._ledger.lock:
            self._ledger.leave(waiter)
        self._ledger.deliver()

    def _open(self, waiter: Waiter) -> Parts:
        """Open what was granted, or say why it was not."""
        with self._ledger.lock:
            self._admit(waiter)
        for budget in self._budgets:
            budget._push()
        return self._parts

    def _admit(self, waiter: Waiter) -> None:
        self._check()
        if self._seconds is None:
            waiter.aim()
            if reason := self._ledger.lack(waiter):
                raise reason
            self._ledger.grant(waiter)
        if waiter.refusal is not None:
            raise waiter.refusal
        if waiter.state != GRANTED:
            lines = waiter.lines.items()
            short = [(line, amount) for line, amount in lines if amount > room(line)]
            line, amount = (short or list(lines))[0]
            raise error(BudgetTimeoutError, line, amount, room(line))
        waiter.state = OPENED
        for budget in self._budgets:
            budget._admit()


def _refuse_on_loop() -> None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError("waiting would block the event loop; use `async with`")
