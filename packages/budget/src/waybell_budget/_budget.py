"""A hold, and how pools and holds give others."""
# pyright: reportPrivateUsage=false, reportIncompatibleVariableOverride=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, TypedDict, overload

from ._account import Account, fits, hold, room
from ._amounts import Amount, nanos, patience, whole
from ._partition import Partition, enclose, surrounding
from ._prices import Price, rates_of
from ._purse import CLOSED, HEARD, NEW, OWING, SILENT, Purse


if TYPE_CHECKING:
    from ._kinds import CallBudget


class Limits(TypedDict, total=False):
    """One part of a partition, in the words of `acquire`."""

    max_usd: Amount
    max_tokens: int


Share = Amount | Limits
Shares = list[Share] | tuple[Share, ...]


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
        if (
            type(max_usd) is float
            and 0.0 <= max_usd < 1e6
            and (units := int(max_usd * 1e9 + 0.5)) / 1e9 == max_usd
        ):  # as `nanos` does, without the call
            nano = units
        elif max_usd is not None:
            nano = nanos(max_usd, "max_usd")
        if max_tokens is not None:
            tokens = Account(self._counted(), whole(max_tokens, "max_tokens"))
        label = label or self._label
        if not wait:
            return Budget(self, nano, tokens, label)
        from ._kinds import PatientBudget  # noqa: PLC0415 - made of this module's

        hold = PatientBudget(self, nano, tokens, label)
        hold._seconds = patience(timeout)
        return hold

    def reserve(
        self,
        max_tokens: int,
        *,
        model: str | None = None,
        input_tokens: int = 0,
        price: "Price | Mapping[str, Amount] | None" = None,
        wait: bool = False,
        timeout: float = 60.0,
        label: str | None = None,
    ) -> "CallBudget":
        """Set the worst case of one model call aside, as `acquire` does.

        Held is what is limited, dollars or tokens. Inside the block `max_tokens` of the
        budget is the output the call may have: that wanted, lowered to what can be paid.

        Args:
            max_tokens: The output wanted at most, from 1 up.
            model: The model to be called; needed where dollars are limited.
            input_tokens: What it will be given, which is paid for first.
            price: Instead of what the pool knows of the model.
            wait: Stand in line for what others hold.
            timeout: Seconds to stand there at most.
            label: What charges are booked under that name no label.

        Raises:
            BudgetExceeded: On entering; not one token of output can be paid, or, without
                `wait`, others hold it.
            UnknownPriceError: On entering; dollars are limited, nobody knows the price.
        """
        from ._kinds import Ask, CallBudget  # noqa: PLC0415 - made of this module's

        most = whole(max_tokens, "max_tokens")
        if not most:
            raise ValueError("max_tokens must be at least 1, not 0")
        stated = Price(**price) if isinstance(price, Mapping) else price
        rates = None if stated is None else rates_of(stated)
        ask = Ask(model, whole(input_tokens, "input_tokens"), most, rates)
        return CallBudget(
            self, ask, patience(timeout) if wait else None, label or self._label
        )

    @overload
    def partition(
        self, parts: Mapping[str, Share], /, *, wait: bool = ..., timeout: float = ...
    ) -> "Partition[dict[str, Budget]]": ...
    @overload
    def partition(
        self, parts: Shares, /, *, wait: bool = ..., timeout: float = ...
    ) -> "Partition[list[Budget]]": ...
    def partition(
        self,
        parts: Mapping[str, Share] | Shares,
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
        seconds = patience(timeout) if wait else None
        if isinstance(parts, str):
            raise TypeError(f"parts must be several, not {parts!r}")
        if isinstance(parts, Mapping):
            named = {name: self._part(share, name) for name, share in parts.items()}
            return Partition(self, named, seconds)
        return Partition(self, [self._part(share, None) for share in parts], seconds)

    def _part(self, share: Share, label: str | None) -> "Budget":
        from ._kinds import Part  # noqa: PLC0415 - made of this module's

        limits: Limits = share if isinstance(share, dict) else {"max_usd": share}
        like = self.acquire(**limits)
        return Part(self, like._cap, like._tokens, label or like._label)


class Budget(Giver):
    """A hold, to spend from inside `with` or `async with`; itself a pool."""

    __slots__ = ("_outer",)
    _outer: "Budget | None"  # the hold around it, set when it is opened
    _parent: Purse

    def __init__(
        self, parent: Purse, cap: int | None, tokens: Account | None, label: str | None
    ) -> None:
        # Not through super(): a call less for each hold.
        self._parent = parent
        self._cap = cap
        self._spent = self._used = 0
        self._watch = None
        self._ledger = parent._ledger
        self._tokens = tokens
        self._label = label
        self._state = NEW
        self._lines = self._outer = None

    def __enter__(self) -> Self:  # budget: the hot path, in one piece
        ledger, parent, cap = self._ledger, self._parent, self._cap
        tokens, opened = self._tokens, False
        try:
            with ledger.lock:
                if self._state or ledger.overdrawn or parent._state <= NEW:
                    fit = False
                elif cap is None or parent._cap is None or parent._watch is not None:
                    fit = fits(self)
                else:  # as `fits` does, without the call
                    fit = cap <= parent._cap - parent._used
                if fit and (tokens is None or fits(tokens)):
                    if tokens is not None:
                        hold(tokens._parent, tokens._cap or 0)
                    if cap is not None:
                        if parent._cap is None:
                            hold(parent._parent, cap)
                        parent._used += cap
                    opened = True
                    self._state = SILENT
                    ledger.open += 1
                    if parent._state < HEARD:  # noqa: PLR1730  # max() would be a call more
                        parent._state = HEARD  # whoever has the sub-holds reports
            if opened:  # as `_push` does, without the call
                outer = surrounding()
                while outer is not None and outer._state < NEW:
                    outer = outer._outer
                self._outer = outer
                enclose(self)
                return self
        except BaseException:
            if opened:  # an interrupt: nobody has it yet
                self._abandon()
            raise
        self._together(None).__enter__()
        return self

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def _together(self, seconds: float | None) -> "Partition[list[Budget]]":
        parts: list[Budget] = [self]
        return Partition(self._parent, parts, seconds)

    def __exit__(  # budget: the hot path, in one piece
        self, kind: object = None, error: object = None, trace: object = None
    ) -> None:
        ledger = self._ledger
        with ledger.lock:
            if self._state > 0:
                if self._state != HEARD:
                    self._unheard()
                self._state = CLOSED
                ledger.open -= 1
                cap, parent = self._cap, self._parent
                if (
                    cap is not None
                    and parent._cap is not None
                    and self._watch is parent._watch is None
                ):  # as `shut` does where nobody watches, without the call
                    parent._used -= cap - self._used
                    self._cap = None
                else:
                    ledger.shut(self)
                if self._tokens is not None:
                    ledger.shut(self._tokens)
                if self._outer is not None:
                    self._outer = _still_open(self._outer)
        if ledger.outbox:
            ledger.deliver()

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.__exit__()

    def settle(self) -> None:
        """Resolve the hold now, once; leaving the block then does nothing more."""
        self.__exit__()

    def _admit(self) -> None:
        """Be open, the money being set aside."""
        self._state = SILENT
        self._ledger.open += 1
        if self._parent._state < HEARD:  # noqa: PLR1730  # nothing may come between
            self._parent._state = HEARD

    def _abandon(self) -> None:
        """Give all back; there is nothing to report."""
        if self._state == NEW:
            self._admit()
        self._state = HEARD
        self.__exit__()

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
        """Become this context's innermost hold; the next passes over it once closed."""
        self._outer = _still_open(surrounding())
        enclose(self)


def _still_open(budget: Budget | None) -> Budget | None:
    while budget is not None and budget._state < NEW:
        budget = budget._outer
    return budget
