"""What values of a config or a file must be, and a table's check against it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias, TypeGuard, cast

from waybell_budget import BudgetPool


Table: TypeAlias = dict[str, Any]
Kind: TypeAlias = tuple[Callable[[Any], bool], str]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count_from(least: int) -> Kind:
    return (lambda v: _is_whole(v) and v >= least), f"a whole number from {least} up"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(value: Any) -> bool:
    try:
        BudgetPool(usd=value)
    except (TypeError, ValueError):
        return False
    return value is not None


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _texts(value: Any) -> bool:
    return _is_list(value) and all(map(_is_text, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


STR: Kind = (lambda v: isinstance(v, str)), "text"
TEXT: Kind = _is_text, "text"
LINE: Kind = (lambda v: _is_text(v) and v.isprintable()), "text on one line"
TEXTS: Kind = _texts, "a list of texts"
FLAG: Kind = (lambda v: isinstance(v, bool)), "true or false"
TABLE: Kind = (lambda v: isinstance(v, Mapping)), "a table"
LIST: Kind = (lambda v: isinstance(v, list)), "a list of tables"
SECONDS: Kind = (lambda v: _number(v) and 0 < v < math.inf), "seconds above 0"
NUMBER: Kind = _number, "a number"
USD: Kind = _amount, "dollars from 0 up"
COUNT, ONE = _count_from(0), _count_from(1)
WHOLE: Kind = _is_whole, "a whole number"
RUN_IF: Kind = (lambda v: v in ("success", "always")), "'success' or 'always'"
TOOLS: Kind = (lambda v: isinstance(v, list)), "a list of names and tables"


class Checker:
    """Checks tables, and keeps the key path of every problem."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []

    def wrong(self, path: str, what: str) -> None:
        """Keep a problem."""
        self.problems.append((path, what))

    def table(
        self, given: Any, path: str, kinds: Mapping[str, Kind], needed: Iterable[str] = ()
    ) -> Table:  # fmt: skip
        """What of a table is as it must be; the rest is a problem."""
        if not isinstance(given, dict):
            self.wrong(path or "file", f"is a table, not {given!r:.60}")
            return {}
        table, lead = cast("Table", given), f"{path}." if path else ""
        for key in [key for key in needed if key not in table]:
            self.wrong(f"{lead}{key}", "is missing")
        good: Table = {}
        for key, value in table.items():
            if wrong := _misfit(key, value, kinds):
                self.wrong(f"{lead}{key}", wrong)
            else:
                good[key] = value
        return good


def _misfit(key: str, value: Any, kinds: Mapping[str, Kind]) -> str:
    """What is wrong with an entry of a table, empty if nothing is."""
    if key not in kinds:
        return f"is no key here{near(key, kinds)}"
    fits, rule = kinds[key]
    return "" if fits(value) else f"is {rule}, not {value!r:.60}"


def near(name: object, known: Iterable[str]) -> str:
    """A guess at what was meant, to be put behind "no such"."""
    known = list(known)
    found = get_close_matches(str(name), known, 1, 0.5)
    if found:
        return f"; did you mean {found[0]!r}?"
    return f"; there are {', '.join(map(repr, known[:9]))}" if known else ""


def unique(pairs: list[tuple[str, Any]]) -> Table:
    """An object of JSON, each of whose keys is given once: readers differ about others.

    Raises:
        ValueError: One is given twice.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(
            f"the key {twice!r} is given twice in one object: give it once"
        )
    return made


def perhaps(kind: Kind) -> Kind:
    """A kind of value, or None."""
    fits, rule = kind
    return (lambda v: v is None or fits(v)), rule
