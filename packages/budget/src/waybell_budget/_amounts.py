"""Money as integer nano-dollars and tokens as integers, exactly or not at all."""

import math
import threading
from decimal import Decimal, InvalidOperation


Amount = int | str | Decimal | float
NANO = 10**9


def nanos(amount: Amount, name: str, up: bool = False) -> int:
    """Dollars as nano-dollars: what caps allow rounds down, what was charged up."""
    if type(amount) is float and 0.0 <= amount < 1e6:
        # Below 15 digits, a decimal that gives this float is its shortest repr.
        count = int(amount * 1e9 + 0.5)
        if count / 1e9 == amount:
            return count
    value = _decimal(amount, name)
    if value.adjusted() < -30:  # its ratio could be integers of megabytes
        return int(up and value > 0)
    top, bottom = value.as_integer_ratio()  # exact, whatever the decimal context
    return -(-top * NANO // bottom) if up else top * NANO // bottom


def _decimal(amount: object, name: str) -> Decimal:
    shown = amount
    if isinstance(amount, bool):
        raise ValueError(f"{name} must be an amount, not {amount!r}")  # noqa: TRY004  # as any refused value
    if isinstance(amount, float):
        amount = float.__repr__(amount)  # a subclass may print itself otherwise
    if not isinstance(amount, int | str | Decimal):
        raise TypeError(f"{name} must be int, str, Decimal or float, not {amount!r}")
    try:
        value = Decimal(amount)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value < 10**15:
        raise ValueError(f"{name} must be an amount from 0 to 1e15, not {shown!r}")
    return value


def whole(count: object, name: str) -> int:
    """A number of tokens: an integer from zero up."""
    if not isinstance(count, int):
        raise TypeError(f"{name} must be an int, not {count!r}")
    if isinstance(count, bool) or not 0 <= count < 10**15:
        raise ValueError(f"{name} must be a count from 0 to 1e15, not {count!r}")
    return count


def dollars(count: int) -> Decimal:
    """Nano-dollars as an exact decimal without trailing zeros."""
    units, part = divmod(count, NANO)
    return Decimal(f"{units}.{part:09d}".rstrip("0").rstrip("."))


def patience(timeout: float) -> float:
    """Seconds that somebody may stand in line."""
    if isinstance(timeout, bool) or not 0 <= timeout < math.inf:
        raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
    return min(float(timeout), threading.TIMEOUT_MAX)
