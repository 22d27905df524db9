"""Small packages that connect LLM agents through topics, within budget and deadline.

Every public name of every package, loaded when it is first used:

>>> from waybell import BudgetPool
>>> pool = BudgetPool(usd=1)
>>> with pool.acquire(max_usd="0.25") as budget:
...     budget.charge(usd="0.10")
>>> pool.snapshot().usd_remaining
Decimal('0.9')
"""

from importlib import import_module

from waybell._names import HOMES


__version__ = "0.1.0"
__all__ = sorted(HOMES)  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]  # see the stub


def __getattr__(name: str) -> object:
    try:
        home = HOMES[name]
    except KeyError:
        from difflib import get_close_matches  # noqa: PLC0415 - only on this path

        hint = [f"; did you mean {near}?" for near in get_close_matches(name, HOMES, 1)]
        why = f"module 'waybell' has no attribute {name!r}{''.join(hint)}"
        raise AttributeError(why, name=name, obj=None) from None  # Python adds no hint
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
