"""What may vary between two runs, and one form for all that is equal."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from math import isfinite
from typing import Any, ClassVar

from waybell_snap._values import dumps, within


# The names that vendors give to tool calls, and where such names are the user's own.
_IDS = "id", "tool_call_id", "tool_use_id"
_OWN = "arguments", "input", "tools", "options"
_NUMBER = re.compile(r"#\d+(?=[./]|$)")
_EXACT = 2**53  # up to here a float is one integer


class Matcher:
    """What may vary at a path; by itself, nothing."""

    __slots__ = ()

    def normal(self, value: Any) -> Any:
        """The value without what varies."""
        return value

    def key(self, value: Any) -> Any:
        """What a replay knows the value by."""
        return self.normal(value)

    def same(self, old: Any, new: Any) -> bool:
        """Whether values of different normal forms are as good as equal."""
        del old, new
        return False


@dataclass(frozen=True, slots=True)
class Anything(Matcher):
    """Any value, or none at all, is as good as any other."""

    def normal(self, value: Any) -> Any:
        """One for all."""
        del value
        return "<anything>"

    def same(self, old: Any, new: Any) -> bool:
        """Always."""
        del old, new
        return True


@dataclass(frozen=True, slots=True)
class Regex(Matcher):
    """The parts of texts that match may vary; the rest may not.

    `Regex.UUID` and `Regex.TIMESTAMP` (ISO 8601) are ready-made.

    Args:
        pattern: A regular expression.
    """

    pattern: str
    UUID: ClassVar["Regex"]
    TIMESTAMP: ClassVar["Regex"]

    def __post_init__(self) -> None:
        re.compile(self.pattern)

    def normal(self, value: Any) -> Any:
        """The texts with a mark in place of each match."""
        return _deep(value, lambda text: re.sub(self.pattern, "<match>", text))


Regex.UUID = Regex(r"(?i)\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b")
Regex.TIMESTAMP = Regex(
    r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z\b|UTC\b|[+-]\d\d:?\d\d\b))?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Matcher):
    """Numbers that are near each other are as good as equal.

    Args:
        rel: How near, as a share of the larger one.
        abs: How near, as a difference.
    """

    rel: float = 0.0
    abs: float = 0.0

    def key(self, value: Any) -> Any:
        """A mark for every number."""
        return value if _number(value) is None else "<number>"

    def same(self, old: Any, new: Any) -> bool:
        """Whether both are numbers, and near."""
        one, two = _number(old), _number(new)
        if one is None or two is None:
            return False
        return abs(one - two) <= max(self.abs, self.rel * max(abs(one), abs(two)))


class IgnoreKeys(Matcher):
    """Keys of mappings, at any depth, that say nothing.

    Args:
        *names: The keys.
    """

    __slots__ = ("names",)

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)

    def normal(self, value: Any) -> Any:
        """The value without them."""
        named: Any = value
        if isinstance(value, dict):
            value = {k: item for k, item in named.items() if k not in self.names}
        return within(value, lambda item, _: self.normal(item))


class Matchers:
    """The matchers of a comparison by the paths where they hold.

    Args:
        given: By patterns of paths, as a difference shows them without `#2`; in a pattern
            `*` stands for anything.

    Raises:
        TypeError: A value is no matcher.
    """

    __slots__ = ("_rules",)

    def __init__(self, given: Mapping[str, Matcher] | None = None) -> None:
        self._rules = list[tuple[re.Pattern[str], Matcher]]()
        for path, matcher in (given or {}).items():
            if not isinstance(matcher, Matcher):  # pyright: ignore[reportUnnecessaryIsInstance] - a class, for one
                raise TypeError(
                    f"matchers[{path!r}] is Anything(), Regex(...), Number(...) or "
                    f"IgnoreKeys(...), not {matcher!r}"
                )
            self._rules.append((re.compile(translate(path)), matcher))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def normal(self, path: str, value: Any, *, key: bool = False) -> Any:
        """The value without what varies at this path and below it."""
        for matcher in self._at(path):
            value = matcher.key(value) if key else matcher.normal(value)
        if not self._rules:
            return value
        return within(value, lambda v, name: self.normal(f"{path}.{name}", v, key=key))

    def same(self, path: str, old: Any, new: Any) -> bool:
        """Whether a matcher of this path takes the one for the other."""
        return any(matcher.same(old, new) for matcher in self._at(path))

    def _at(self, path: str) -> list[Matcher]:
        return [matcher for rule, matcher in self._rules if rule.match(path)]


def canonical(value: Any, *, ids: bool) -> Any:
    """The same JSON for equal requests: whole floats are integers.

    With `ids` it is of messages, and ids in them are the vendor's.
    """
    return _canonical(value, {}, own=not ids)


def _canonical(value: Any, ids: dict[str, str], *, own: bool) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    named: Any = value
    if isinstance(value, dict):
        value = named["$tuple"] if "$tuple" in named else dict(sorted(named.items()))

    def item(part: Any, name: Any) -> Any:
        if name in _IDS and isinstance(part, str) and not own:
            return ids.setdefault(part, f"#{len(ids) + 1}")
        return _canonical(part, ids, own=own or name in _OWN)

    made: Any = within(value, item)
    if isinstance(value, dict) and "$map" in made:
        made["$map"].sort(key=dumps)
    return made


def without_numbers(path: str) -> str:
    """A path as matchers know it."""
    return _NUMBER.sub("", path)


def _deep(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    return within(value, lambda item, _: _deep(item, change))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None
