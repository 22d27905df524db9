"""What can go wrong: one root, and leaves that are also the nearest builtin."""

from decimal import Decimal
from typing import Any


class BudgetError(Exception):
    """Root of all that this package raises, wrong arguments aside."""


class AskedError(BudgetError):
    """Something was asked for on one axis.

    Args:
        axis: `"usd"` or `"tokens"`.
        asked: Dollars or tokens asked, or already spent.
        left: Dollars or tokens that could have been given.
        hint: What else there is to say.
    """

    _text = "{} asked, {} left"

    def __init__(
        self, axis: str, asked: Decimal | int, left: Decimal | int, hint: str = ""
    ) -> None:
        unit = "${:f}" if axis == "usd" else "{} tokens"
        text = self._text.format(unit.format(asked), unit.format(left))
        super().__init__(f"{text}: {hint}" if hint else text)
        self.axis, self.asked, self.left, self.hint = axis, asked, left, hint

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.axis, self.asked, self.left, self.hint), self.__dict__


class BudgetExceeded(AskedError):
    """More was asked, or has been spent, than was left."""


class BudgetDeadlockError(AskedError, RuntimeError):
    """The wait would never end: only those who wait hold the money."""

    _text = "{} asked, at most {} while those who wait keep what they hold"


class BudgetTimeoutError(AskedError, TimeoutError):
    """The money did not come free in time."""

    _text = "waited too long: {} asked, {} free"


class BudgetClosedError(BudgetError, RuntimeError):
    """A budget was used outside its own block."""


class UnknownPriceError(BudgetError, LookupError):
    """Nobody knows what a model costs, and unknown is not zero.

    Args:
        model: The model, None when none was named.
        hint: What to do about it.
    """

    def __init__(self, model: str | None, hint: str) -> None:
        super().__init__(model, hint)
        self.model, self.hint = model, hint

    def __str__(self) -> str:
        return f"no price for {self.model!r}: {self.hint}"
