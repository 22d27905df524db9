"""US dollars as whole nano-dollars."""

from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from typing import Final


NANO: Final = 1_000_000_000
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_MOST: Final = Decimal(10) ** 15  # a wrong exponent must not fill the memory


def nano_dollars(usd: str | float | Decimal) -> int:
    """Nano-dollars of `usd`, rounded up; a float counts as its `repr`.

    Raises:
        ValueError: It is not a number, not finite, negative or absurdly large.
    """
    try:
        amount = Decimal(repr(usd) if isinstance(usd, bool | float) else usd)
    except (InvalidOperation, TypeError, ValueError):
        amount = Decimal("nan")
    if not amount.is_finite() or not 0 <= amount < _MOST:
        raise ValueError(f"usd must be a finite amount, 0 or more, not {usd!r}")
    return int(_UP.scaleb(amount, 9).to_integral_value(ROUND_CEILING))


def whole(name: str, count: int) -> int:
    """`count` itself, if it is an integer, 0 or more; else ValueError."""
    if type(count) is not int or count < 0:
        raise ValueError(f"{name} must be an integer, 0 or more, not {count!r}")
    return count
