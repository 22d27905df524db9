"""What changed between two runs, and whether it may."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias, get_args

from waybell_snap._diff import ABSENT, Difference
from waybell_snap._errors import SnapMismatch


Kind: TypeAlias = Literal[
    "error", "output", "input", "tool set", "tool order", "calls", "order", "cost",
    "tokens", "latency", "budget",
]  # fmt: skip
TOKENS = "max_tokens is a number of tokens"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was.

    Args:
        kind: "error" (another type, or something newly fails or does not), "output",
            "input", "tool set", "tool order", "calls" and "order" (of agents and
            models), "cost", "tokens", "latency" (its class), "budget".
        path: Where: agents, calls and tools from the outermost inwards, then the field.
        old: What was there, None for nothing.
        new: What is there.
    """

    kind: Kind
    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        pair = [ABSENT if one is None else one for one in (self.old, self.new)]
        lines = Difference(self.path, *pair).lines()
        return "\n    ".join([f"{self.kind}: {lines[0]}", *lines[1:]])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs; its text is for reading.

    Args:
        changes: All differences.
        allow: The kinds that may be.
    """

    changes: tuple[Change, ...]
    allow: frozenset[str] = frozenset()

    @property
    def failures(self) -> tuple[Change, ...]:
        """The changes that are not allowed."""
        return tuple(one for one in self.changes if one.kind not in self.allow)

    @property
    def passed(self) -> bool:
        """Whether nothing changed but what is allowed."""
        return not self.failures

    def check(self) -> None:
        """Raise what changed.

        Raises:
            SnapMismatch: Something did that is not allowed.
        """
        if self.failures:
            raise SnapMismatch(str(self), changes=self.failures)

    def __str__(self) -> str:
        if not self.changes:
            return "the run is the same"
        counts = Counter(one.kind for one in self.changes)
        told = [f"{n} {kind}{' (allowed)' if kind in self.allow else ''}" for kind, n in counts.items()]  # fmt: skip
        lines = [f"the run changed: {', '.join(told)}"]
        return "\n".join(lines + [f"  {one}" for one in self.changes])


def limit_of(given: Any, what: str = "max_usd is an amount of US dollars") -> Any:
    """A limit as a Decimal, None for none; what is no limit is a `ValueError`."""
    try:
        most = None if given is None else Decimal(str(given))
    except InvalidOperation:
        most = Decimal("NaN")
    if most is not None and not (most.is_finite() and most >= 0):
        raise ValueError(f"{what}, not {given!r}")
    return most


def allowed(kinds: Iterable[str]) -> frozenset[str]:
    """The kinds of changes that may be; one that may never be is a `ValueError`."""
    found = frozenset([kinds] if isinstance(kinds, str) else kinds)
    if wrong := sorted(found - (set(get_args(Kind)) - {"error", "budget"})):
        raise ValueError(f"allow has {wrong[0]!r}, which is no change or never allowed")
    return found
