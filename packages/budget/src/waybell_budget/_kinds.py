"""Holds that wait for their money, that are parts, and that a model call needs."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Self

from ._account import Account, source
from ._budget import Budget
from ._errors import BudgetClosedError, BudgetExceeded
from ._purse import KEPT, NEW, SILENT, Purse


if TYPE_CHECKING:
    from ._prices import Counts


class PatientBudget(Budget):
    """A hold that stands in line for its money."""

    __slots__ = ("_seconds",)
    _seconds: float

    def __enter__(self) -> Self:
        self._together(self._seconds).__enter__()
        return self

    async def __aenter__(self) -> Self:
        with suppress(BudgetExceeded):
            return super().__enter__()
        await self._together(self._seconds).__aenter__()
        return self


class Part(Budget):
    """A part of a partition, which is open before its own block is entered."""

    __slots__ = ("_entered",)
    _entered: bool

    def __enter__(self) -> Self:
        with self._ledger.lock:
            if self._entered or self._state <= NEW:
                raise BudgetClosedError("a part is entered once, inside its partition")
            self._entered = True
            self._state = max(self._state, SILENT)
        return self

    def _admit(self) -> None:
        super()._admit()
        self._state = KEPT
        self._entered = False

    def _unheard(self) -> None:
        if self._state != KEPT:
            super()._unheard()


class Ask(NamedTuple):
    """A call as it is wanted: its model, tokens in and out, and its rates, if stated."""

    model: str | None
    given: int
    most: int
    rates: "Counts | None"


class CallBudget(Budget):
    """A hold of a call's worst case; `max_tokens` is the output it may have.

    What was wanted is lowered to what the pool could pay if nothing more were spent, so
    a call waits for money that is held, and is refused only what is gone.
    """

    __slots__ = ("_ask", "_seconds", "max_tokens")
    _cap: int | None

    def __init__(
        self, parent: Purse, ask: Ask, seconds: float | None, label: str | None
    ) -> None:
        super().__init__(parent, None, None, label)
        self._ask = ask
        self._seconds = seconds
        self.max_tokens = ask.most

    @property
    def limited(self) -> bool:
        """Whether anything is held."""
        return self._cap is not None or self._tokens is not None

    def __enter__(self) -> Self:
        if self._at_once():
            return self
        ends = monotonic() + (self._seconds or 0.0)
        while True:
            size = self._size()
            try:
                self._together(max(0.0, ends - monotonic())).__enter__()
            except BudgetExceeded as error:
                self._resize(size, error)
            else:
                return self

    async def __aenter__(self) -> Self:
        if self._at_once():
            return self
        import asyncio  # noqa: PLC0415  # whoever gets here has it, others need not

        now = asyncio.get_running_loop().time
        ends = now() + (self._seconds or 0.0)
        while True:
            size = self._size()
            try:
                await self._together(max(0.0, ends - now())).__aenter__()
            except BudgetExceeded as error:
                self._resize(size, error)
            else:
                return self

    def _at_once(self) -> bool:
        """Open it if the money is there; False if that is worth waiting for."""
        self._size()
        try:
            super().__enter__()
        except BudgetExceeded:
            if self._seconds is None:
                raise
            return False
        return True

    def _resize(self, size: object, error: BudgetExceeded) -> None:
        """Want less, if something was spent while it waited; else there is no hope."""
        if size == self._size():
            raise error

    def _size(self) -> tuple[int | None, int | None]:
        """Set what to hold: the worst case, as far as what is not spent could pay it.

        Raises:
            BudgetExceeded: Not even one token of output can be paid.
            UnknownPriceError: Dollars are limited and nobody knows the price.
        """
        parent, (model, given, limit, rates) = self._parent, self._ask
        with self._ledger.lock:
            usd, tokens = _unspent(parent), _unspent(parent._counted())
        if tokens is not None:
            if given >= tokens:
                raise BudgetExceeded("tokens", given + 1, tokens)
            limit = min(limit, tokens - given)
        if usd is not None:
            prices = self._ledger.prices
            limit, self._cap = prices.affordable(model, given, limit, usd, rates)
        if tokens is not None:
            self._tokens = Account(parent._counted(), given + limit)
        self.max_tokens = limit
        return self._cap, None if tokens is None else limit


def _unspent(account: Account) -> int | None:
    decides = source(account)
    return None if decides is None else max(0, (decides._cap or 0) - decides._spent)
