"""What a pool and its holds have in common: spending and asking."""
# pyright: reportPrivateUsage=false, reportIncompatibleVariableOverride=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

import logging
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial

from ._account import Account, Alarm, error, free, overdrawn, source, watch
from ._amounts import NANO, Amount, dollars, nanos, whole
from ._errors import BudgetClosedError, BudgetError, BudgetExceeded, UnknownPriceError
from ._ledger import Ledger
from ._prices import counts_of
from ._snapshot import BudgetSnapshot, Key, Line, Lines


# A hold is made, then open in one of four ways, then closed. While open it is kept for
# later, not charged, charged, or charged for a call whose price nobody knows.
CLOSED, NEW, KEPT, SILENT, HEARD, OWING = range(-1, 5)
_log = logging.getLogger("waybell_budget")
_UNREPORTED = "the cost of a call was never reported%s: call budget.charge(...), with usd=0 if it was free"


class Purse(Account):
    """What can be spent from and asked, a pool or a hold; its own dollar account."""

    __slots__ = ("_label", "_ledger", "_lines", "_state", "_tokens")
    _axis = "usd"
    _parent: "Purse | None"
    _tokens: Account | None  # None, for a hold without, until it is needed
    _label: str | None
    _ledger: Ledger
    _lines: Lines | None
    _state: int

    def charge(  # budget: one door for each way of saying what was spent
        self,
        *,
        usd: Amount | None = None,
        tokens: int | None = None,
        model: str | None = None,
        usage: object = None,
        label: str | None = None,
        line: Line = "billed",
    ) -> None:
        """Book what was spent, all of it, and then complain if it was too much.

        Args:
            usd: Dollars; without them, `model` and `usage` are priced.
            tokens: Tokens; without them, those of `usage`.
            model: The model that was called.
            usage: A mapping or object with some of `input_tokens`, `output_tokens`,
                `cache_read_tokens`, `cache_write_tokens`.
            label: What to book it under.
            line: `"billed"`, `"estimated"`, or `"free"` for what costs no dollars.

        Raises:
            BudgetExceeded: It is more than the hold, or, on an axis that is not held,
                than was free. It is booked.
            BudgetClosedError: The hold is not open. It is booked, to the parent.
            UnknownPriceError: The tokens are booked. State the dollars by another
                charge, else the rest of the hold is booked when it ends.
        """
        nano = count = unknown = wrong = key = None
        if (
            type(usd) is float
            and 0.0 <= usd < 1e6
            and (units := int(usd * 1e9 + 0.5)) / 1e9 == usd
        ):  # as `nanos` does, without the call
            nano = units
        elif usd is not None:
            nano = nanos(usd, "usd", True)
        if tokens is not None:
            count = whole(tokens, "tokens")
        if usage or model or label or self._label or line != "billed":
            nano, count, key, unknown = self._ledger.prices.itemise(
                nano, count, (label or self._label, model, line), usage
            )
        elif usd is None and tokens is None:
            raise ValueError("charge needs usd, tokens, or model and usage")
        ledger, purse = self._ledger, self
        with ledger.lock:
            if 0 < self._state < OWING and unknown is None:
                self._state = HEARD
            else:
                purse, wrong = self._hear(unknown, usd is not None)
            if nano is not None:
                cap, above = purse._cap, purse._parent
                if (
                    cap is not None
                    and above is not None
                    and (used := purse._used + nano) <= cap
                    and above._parent is None
                    and purse._watch is above._watch is None
                ):  # as `book` does for a hold of a pool, without the call
                    purse._used = used
                    purse._spent += nano
                    above._spent += nano
                else:
                    beyond = ledger.book(purse, nano)
                    wrong = wrong or beyond
            if count is not None:
                beyond = ledger.book(purse._tokens or purse._counted(), count)
                wrong = wrong or beyond
            if key is not None:
                purse._tally(key, nano or 0, count or 0)
        if ledger.outbox:
            ledger.deliver()
        if wrong is not None:
            raise wrong

    def check(self, *, usd: Amount | None = None, tokens: int | None = None) -> None:
        """Raise `BudgetExceeded` if so much could not be spent now; book nothing."""
        nano = 0 if usd is None else nanos(usd, "usd", True)
        count = 0 if tokens is None else whole(tokens, "tokens")
        usd_left, tokens_left = self._free()
        if usd_left is not None and nano > usd_left:
            raise BudgetExceeded("usd", dollars(nano), dollars(usd_left))
        if tokens_left is not None and count > tokens_left:
            raise BudgetExceeded("tokens", count, tokens_left)

    def quote(self, *, model: str, usage: object) -> Decimal:
        """Dollars that this usage of a model costs; nothing is booked.

        Raises:
            UnknownPriceError: Nobody knows the price; a ceiling is none.
        """
        nano, line = self._ledger.prices.cost(model, counts_of(usage))
        if line != "billed":
            raise UnknownPriceError(model, "give prices={...}; a ceiling is no price")
        return dollars(nano)

    def clamp(
        self, max_tokens: int, *, model: str | None = None, input_tokens: int = 0
    ) -> int:
        """Lower a limit on output tokens to what can be paid.

        Args:
            max_tokens: The limit wanted, from 1 up.
            model: The model to be called; needed where dollars are limited.
            input_tokens: What it will be given, which is paid for first.

        Raises:
            BudgetExceeded: Not even one token can be paid.
            UnknownPriceError: Dollars are limited and nobody knows the price.
        """
        limit = whole(max_tokens, "max_tokens")
        given = whole(input_tokens, "input_tokens")
        if limit == 0:
            raise ValueError("max_tokens must be at least 1, not 0")
        usd_left, tokens_left = self._free()
        if tokens_left is not None:
            if given >= tokens_left:
                raise BudgetExceeded("tokens", given + 1, tokens_left)
            limit = min(limit, tokens_left - given)
        if usd_left is None:
            return limit
        return self._ledger.prices.affordable(model, given, limit, usd_left)[0]

    def snapshot(self) -> BudgetSnapshot:
        """How it stands, all of one moment."""
        with self._ledger.lock:
            tokens, opened = self._counted(), self._state > NEW
            usd_left = free(self) if opened else 0
            lines = self._lines or Lines()
            return BudgetSnapshot(
                usd_cap=None if self._cap is None else dollars(self._cap),
                usd_spent=dollars(self._spent),
                usd_held=dollars(self._used - self._spent),
                usd_remaining=None if usd_left is None else dollars(usd_left),
                usd_overdrawn=dollars(overdrawn(self)),
                tokens_cap=tokens._cap,
                tokens_spent=tokens._spent,
                tokens_held=tokens._used - tokens._spent,
                tokens_remaining=free(tokens) if opened else 0,
                tokens_overdrawn=overdrawn(tokens),
                unreported=lines.unreported,
                by_label=lines.by(0),
                by_model=lines.by(1),
                by_line=lines.by(2, self._spent, tokens._spent),
            )

    def on_threshold(
        self, fraction: Amount, callback: Callable[[BudgetSnapshot], object]
    ) -> None:
        """Call back once, when spending reaches a part of either axis's cap.

        Whoever charges makes the call, outside the lock; what it raises is logged.
        """
        share = nanos(fraction, "fraction")
        if not 0 < share <= NANO:
            raise ValueError(f"fraction must be above 0, up to 1, not {fraction!r}")
        alarm = Alarm(partial(_call_back, callback, self))
        with self._ledger.lock:
            capped = [one for one in (self, self._counted()) if one._cap is not None]
            for account in capped:
                threshold = -(-(account._cap or 0) * share // NANO)
                watch(account).alarms.append((threshold, alarm))
            self._ledger.look(capped)
        self._ledger.deliver()
        if not capped:
            raise BudgetError("there is no cap to reach a part of")

    def __repr__(self) -> str:
        own = self._parent is not None and self._state > NEW  # a hold holds its cap
        (kept, spent), tokens = (
            (max((own and one._cap) or 0, one._used) - one._spent, one._spent)
            for one in (self, self._tokens or Account(None, None))
        )
        text = f"${dollars(kept):f} held, ${dollars(spent):f} spent"
        text += ", {} tokens held, {} spent".format(*tokens) if any(tokens) else ""
        return f"<{'Budget' if self._parent else 'BudgetPool'} {text}>"

    def _accounts(self) -> list[Account]:
        return [self] if self._tokens is None else [self, self._tokens]

    def _counted(self) -> Account:
        """The account of tokens, made when it is first needed."""
        with self._ledger.lock:
            if self._tokens is None:
                above = None if self._parent is None else self._parent._counted()
                self._tokens = Account(above, None)
            return self._tokens

    def _free(self) -> tuple[int | None, int | None]:
        """Nano-dollars and tokens that can be spent, None for no limit."""
        with self._ledger.lock:
            if self._state <= NEW:
                raise BudgetClosedError("the budget is not open")
            self._state = max(self._state, SILENT)
            return free(self), free(self._counted())

    def _barred(self) -> BudgetError | None:
        """Why nothing at all can be held from here now."""
        if self._state <= NEW:
            return BudgetClosedError("a budget gives holds only inside its own block")
        deciding = (source(self), source(self._counted()))
        closed = [one for one in deciding if one is not None and overdrawn(one)]
        if not closed:
            return None
        over = overdrawn(closed[0])
        shown = f"${dollars(over):f}" if closed[0]._axis == "usd" else f"{over} tokens"
        hint = f"the pool was overdrawn by {shown}, and gives nothing more"
        return error(BudgetExceeded, closed[0], 0, 0, hint)

    def _hear(
        self, unknown: UnknownPriceError | None, stated: bool
    ) -> tuple["Purse", BudgetError | None]:
        """Note that a charge came: whose it is, and what is wrong with it."""
        purse: Purse = self
        wrong: BudgetError | None = None
        while purse._state <= NEW and purse._parent is not None:
            purse = purse._parent
            wrong = BudgetClosedError("the budget is not open; booked to its parent")
        if unknown is not None:
            owed = purse._owe(unknown)
            return purse, wrong or owed
        if stated or purse._state != OWING:
            purse._state = HEARD
        return purse, wrong

    def _owe(self, unknown: UnknownPriceError) -> UnknownPriceError | None:
        """Take note of dollars that nobody can tell; None where they are no limit."""
        self._state = HEARD
        holder = source(self)
        if isinstance(holder, Purse) and holder._parent is not None:
            holder._state = OWING
        else:
            self._miss(warn=holder is not None)
        return None if holder is None else unknown

    def _miss(self, *, warn: bool) -> None:
        """Count a cost that is not known, and warn of it."""
        for lines in self._upward():
            lines.unreported += 1
        if warn:
            label = f" (label {self._label!r})" if self._label else ""
            self._ledger.outbox.append(partial(_log.warning, _UNREPORTED, label))

    def _tally(self, key: Key, nano: int, count: int) -> None:
        """Add a charge to its label, model and line."""
        for lines in self._upward():
            lines.add(key, nano, count)

    def _upward(self) -> Iterator[Lines]:
        """The lines here and of all above."""
        purse: Purse | None = self
        while purse is not None:
            purse._lines = purse._lines or Lines()
            yield purse._lines
            purse = purse._parent


def _call_back(callback: Callable[[BudgetSnapshot], object], purse: Purse) -> None:
    try:
        callback(purse.snapshot())
    except Exception:
        _log.exception("a budget's threshold callback failed")
