"""What differs between two values, as text that reads well."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from itertools import zip_longest
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
    parts = _parts(old, new)
    if parts is None:
        if old != new or isinstance(old, bool) != isinstance(new, bool):
            yield Difference(path, old, new)
        return
    for name, one, two in parts:
        yield from differences(one, two, f"{path}.{name}" if path else str(name))


def _parts(old: Any, new: Any) -> Iterable[tuple[Any, Any, Any]] | None:
    """The items of two mappings or two lists by their places, None for other pairs."""
    one: Any = old
    two: Any = new
    if isinstance(old, dict) and isinstance(new, dict):
        return [(k, one.get(k, ABSENT), two.get(k, ABSENT)) for k in {**one, **two}]
    if isinstance(old, list) and isinstance(new, list):
        pairs = zip_longest(one, two, fillvalue=ABSENT)
        return [(number, *pair) for number, pair in enumerate(pairs)]
    return None


def _value(value: Any) -> str:
    return repr(value) if value is ABSENT else shown(dumps(value))


def shown(text: str) -> str:
    """A text, cut if it is long."""
    return text if len(text) <= _LONG else f"{text[:_LONG]}... ({len(text)} characters)"


def types_of(error: Mapping[str, Any] | None) -> list[Any]:
    """The type of an error and of those it groups; nothing for none."""
    if not error:
        return []
    return [error["type"], *sorted(map(types_of, error.get("inner", ())), key=dumps)]


def said_by(error: Mapping[str, Any] | None) -> Any:
    """The message of an error, with those of what it groups."""
    inner = [said_by(one) for one in error.get("inner", ())] if error else []
    return error and ([error["message"], *inner] if inner else error["message"])


def told_of(error: Mapping[str, Any] | None) -> Any:
    """The type and the message of an error on one line, None for none."""
    inner = [told_of(one) for one in error.get("inner", ())] if error else []
    return error and f"{error['type']}: {error['message']}" + f" {inner}" * bool(inner)
