"""The pool at the top: caps, prices and policies."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

from collections.abc import Mapping
from typing import Literal

from ._account import Account
from ._amounts import Amount, nanos, whole
from ._budget import Giver
from ._errors import BudgetError
from ._ledger import Ledger
from ._prices import Price, PriceBook
from ._purse import HEARD


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
        count = None if tokens is None else whole(tokens, "tokens")
        self._tokens = Account(None, count)
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
            if ledger.open or any(one._used > one._spent for one in accounts):
                raise BudgetError(f"cannot reset with {ledger.open} holds open")
            for account in accounts:
                account._spent = account._used = 0
                if account._watch is not None:
                    account._watch.overdrawn = 0
                    for _, alarm in account._watch.alarms:
                        alarm.rung = False
            ledger.overdrawn = 0
            self._lines = None
