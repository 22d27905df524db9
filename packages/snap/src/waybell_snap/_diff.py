"""What differs between two values, as text that reads well."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from waybell_snap._values import dumps


class _Absent:
    """Stands where there is nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = _Absent()
_LONG, _MOST = 300, 60  # characters of a value, lines of a difference


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two values differ; `ABSENT` where only one has it."""

    path: str
    old: Any
    new: Any

    def lines(self) -> list[str]:
        """The path, and what is there: a unified difference of texts of several lines."""
        if isinstance(self.old, str) and isinstance(self.new, str):
            pair = self.old.split("\n"), self.new.split("\n")
            if max(map(len, pair)) > 1:
                return [self.path, *_unified(*pair)]
        return [self.path, f"- {_value(self.old)}", f"+ {_value(self.new)}"]


def _unified(old: list[str], new: list[str]) -> list[str]:
    told = [shown(line) for line in unified_diff(old, new, n=2, lineterm="")][2:]
    rest = len(told) - _MOST
    return told[:_MOST] + ([f"... {rest} lines more"] if rest > 0 else [])


def differences(old: Any, new: Any, path: str = "") -> Iterator[Difference]:
    """The innermost places where two values of JSON differ."""
    if old == new and type(old) is type(new):
        return
    one: Any = old
    two: Any = new
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(k, one.get(k, ABSENT), two.get(k, ABSENT)) for k in {**one, **two}]
    elif isinstance(old, list) and isinstance(new, list):
        pairs = [(str(n), *pair) for n, pair in enumerate(_zipped(one, two))]
    else:
        if old != new or isinstance(old, bool) != isinstance(new, bool):
            yield Difference(path, old, new)
        return
    for name, left, right in pairs:
        yield from differences(left, right, f"{path}.{name}" if path else name)


def _zipped(old: list[Any], new: list[Any]) -> list[tuple[Any, Any]]:
    size = max(len(old), len(new))
    one, two = (side + [ABSENT] * (size - len(side)) for side in (old, new))
    return list(zip(one, two, strict=True))


def _value(value: Any) -> str:
    return repr(value) if value is ABSENT else shown(dumps(value))


def shown(text: str) -> str:
    """A text, cut if it is long."""
    return text if len(text) <= _LONG else f"{text[:_LONG]}... ({len(text)} characters)"
