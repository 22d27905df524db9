"""A pool, and the holds it gives, which are pools themselves."""
# pyright: reportPrivateUsage=false, reportIncompatibleVariableOverride=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self, TypedDict, overload

from waybell_budget._account import Account, room, take, watch
from waybell_budget._amounts import Amount, nanos, whole
from waybell_budget._errors import BudgetClosedError, BudgetError, BudgetExceeded
from waybell_budget._ledger import Ledger
from waybell_budget._partition import Partition, innermost
from waybell_budget._prices import Price, PriceBook
from waybell_budget._purse import CLOSED, HEARD, KEPT, NEW, OWING, SILENT, Purse


class Limits(TypedDict, total=False):
    """One part of a partition, in the words of `acquire`."""

    max_usd: Amount
    max_tokens: int


Share = Amount | Limits


class Giver(Purse):
    """A purse that gives parts of what it has to others."""

    __slots__ = ()

    def acquire(
        self,
        max_usd: Amount | None = None,
        max_tokens: int | None = None,
        *,
        wait: bool = False,
        timeout: float = 60.0,
        label: str | None = None,
    ) -> "Budget":
        """Set the worst case of some work aside, for the length of a block.

        The hold is taken when the `with` or `async with` block is entered and resolved
        when it is left. An axis not named is not held: its charges come from free money.

        Args:
            max_usd: Dollars to hold, rounded down to the nano-dollar.
            max_tokens: Tokens to hold.
            wait: Stand in line, first come first served, until the money is there.
            timeout: Seconds to stand there at most.
            label: What charges are booked under that name no label.
        """
        nano = tokens = None
        if max_usd is not None:
            nano = nanos(max_usd, "max_usd")
        if max_tokens is not None:
            above = self._tokens or self._counted()
            tokens = Account(above, whole(max_tokens, "max_tokens"))
        seconds = _patience(timeout) if wait else None
        return Budget(self, nano, tokens, label or self._label, seconds)

    @overload
    def partition(
        self, parts: Mapping[str, Share], /, *, wait: bool = ..., timeout: float = ...
    ) -> "Partition[dict[str, Budget]]": ...
    @overload
    def partition(
        self,
        parts: "list[Share] | tuple[Share, ...]",
        /,
        *,
        wait: bool = ...,
        timeout: float = ...,
    ) -> "Partition[list[Budget]]": ...
    def partition(
        self,
        parts: "Mapping[str, Share] | list[Share] | tuple[Share, ...]",
        /,
        *,
        wait: bool = False,
        timeout: float = 60.0,
    ) -> "Partition[dict[str, Budget]] | Partition[list[Budget]]":
        """Take several holds at once, all or none.

        A part is used as it is, or entered as a block of its own, which resolves it
        early. One that was never used is given back without a word.

        Args:
            parts: Dollars or `{"max_usd": ..., "max_tokens": ...}` each; names label it.
            wait: Stand in line until all the money is there.
            timeout: Seconds to stand there at most.
        """
        seconds = _patience(timeout) if wait else None
        if isinstance(parts, str):
            raise TypeError(f"parts must be several, not {parts!r}")
        if isinstance(parts, Mapping):
            named = {name: self._part(share, name) for name, share in parts.items()}
            return Partition(self, named, seconds)
        return Partition(self, [self._part(share, None) for share in parts], seconds)

    def _part(self, share: Share, label: str | None) -> "Budget":
        limits: Limits = share if isinstance(share, dict) else {"max_usd": share}
        like = self.acquire(**limits)
        return Part(self, like._cap, like._tokens, label or self._label, None)


def _patience(timeout: float) -> float:
    if isinstance(timeout, bool) or not 0 <= timeout < math.inf:
        raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
    return min(float(timeout), threading.TIMEOUT_MAX)


class BudgetPool(Giver):
    """Money and tokens that concurrent work cannot overspend.

    Args:
        usd: Dollars, rounded down to the nano-dollar; None for no limit.
        tokens: Tokens; None for no limit.
        prices: Price of each model, asked before the `prices` extra.
        unknown: `"refuse"` a model without a price, or book it at the `"ceiling"`.
        ceiling: The price that no model exceeds, for `unknown="ceiling"`.
        strict: Book a hold whole when it is left without any charge.
    """

    __slots__ = ()

    def __init__(
        self,
        usd: Amount | None = None,
        tokens: int | None = None,
        *,
        prices: Mapping[str, Price] | None = None,
        unknown: Literal["refuse", "ceiling"] = "refuse",
        ceiling: Price | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(None, None if usd is None else nanos(usd, "usd"))
        self._tokens = Account(
            None, None if tokens is None else whole(tokens, "tokens")
        )
        self._ledger = Ledger(PriceBook(prices, unknown, ceiling), strict=strict)
        self._label = self._lines = None
        self._state = HEARD

    def reset(self) -> None:
        """Forget what was spent and set the thresholds again.

        Raises:
            BudgetError: Holds are open.
        """
        ledger, accounts = self._ledger, (self, self._counted())
        with ledger.lock:
            if ledger.open or any(account._held for account in accounts):
                raise BudgetError(f"cannot reset with {ledger.open} holds open")
            for account in accounts:
                account._spent = 0
                watch(account).overdrawn = 0
                for _, alarm in watch(account).alarms:
                    alarm.rung = False
            ledger.overdrawn = 0
            self._lines = None


class Budget(Giver):
    """A hold, to spend from inside `with` or `async with`; itself a pool."""

    __slots__ = ("_outer", "_seconds")
    _outer: "Budget | None"  # the hold around it, set when it is opened
    _parent: Purse

    def __init__(
        self,
        parent: Purse,
        cap: int | None,
        tokens: Account | None,
        label: str | None,
        seconds: float | None,
    ) -> None:
        # Not through super(): a call less for each hold.
        self._parent = parent
        self._cap = cap
        self._spent = self._held = 0
        self._watch = None
        self._ledger = parent._ledger
        self._tokens = tokens
        self._label = label
        self._state = NEW
        self._lines = None
        self._seconds = seconds  # how long to wait for it, None for not at all

    def __enter__(self) -> Self:  # budget: the hot path, in one piece
        ledger, parent, tokens = self._ledger, self._parent, self._tokens
        if self._seconds is not None or ledger.overdrawn:
            return self._enter()
        with ledger.lock:
            opened = not self._state and parent._state > 0 and take(self)
            if opened and tokens is not None and not take(tokens):
                opened = False
                ledger.release(parent, self._cap or 0)
            if opened:
                self._state = SILENT
                ledger.open += 1
                if parent._state < HEARD:  # noqa: PLR1730  # max() would be a call more
                    parent._state = HEARD  # whoever has the sub-holds reports
        if not opened:
            return self._enter()
        outer = innermost.get()
        while outer is not None and outer._state < 0:
            outer = outer._outer
        self._outer = outer
        if outer is not None and outer._outer is not None:
            outer._outer = _still_open(outer._outer)
        innermost.set(self)
        return self

    async def __aenter__(self) -> Self:
        if self._seconds is None:
            return self.__enter__()
        seconds, self._seconds = self._seconds, None
        with suppress(BudgetExceeded):
            return self.__enter__()
        await self._alone(seconds).__aenter__()
        return self

    def _enter(self) -> Self:
        """Open by the door that knows all cases."""
        self._alone(self._seconds).__enter__()
        return self

    def _alone(self, seconds: float | None) -> "Partition[list[Budget]]":
        parts: list[Budget] = [self]
        return Partition(self._parent, parts, seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        ledger = self._ledger
        with ledger.lock:
            if self._state > 0:
                if self._state != HEARD:
                    self._unheard()
                self._state = CLOSED
                ledger.open -= 1
                ledger.shut(self)
                if self._tokens is not None:
                    ledger.shut(self._tokens)
        if ledger.outbox:
            ledger.deliver()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__()

    def settle(self) -> None:
        """Resolve the hold now, once; leaving the block then does nothing more."""
        self.__exit__()

    def _admit(self) -> None:
        """Be open, the money being set aside."""
        self._state = SILENT
        self._ledger.open += 1
        self._parent._state = max(self._parent._state, HEARD)

    def _unheard(self) -> None:
        """The hold ends, and what it cost is not known."""
        self._miss(warn=True)
        # What a call of unknown price was to be paid from is booked, never zero.
        owing, strict = self._state == OWING, self._ledger.strict
        nano = max(0, room(self)) if owing or strict else 0
        self._ledger.book(self, nano)
        count = 0
        if strict and not owing and self._tokens is not None:
            count = max(0, room(self._tokens))
            self._ledger.book(self._tokens, count)
        if nano or count:
            self._tally((self._label, None, "estimated"), nano, count)

    def _push(self) -> None:
        """Become the innermost of this context's holds, before what is still open.

        Nothing is taken off when a hold closes: the next one that opens passes over it.
        """
        self._outer = outer = _still_open(innermost.get())
        if outer is not None:
            outer._outer = _still_open(outer._outer)
        innermost.set(self)


def _still_open(budget: Budget | None) -> Budget | None:
    while budget is not None and budget._state < 0:
        budget = budget._outer
    return budget


class Part(Budget):
    """A part of a partition, which is open before its own block is entered."""

    __slots__ = ("_entered",)
    _entered: bool

    def __enter__(self) -> Self:
        with self._ledger.lock:
            if self._entered or not self._is_open:
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
