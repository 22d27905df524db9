"""How a pool stands at one moment, and what it was spent on."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from ._amounts import dollars


Line = Literal["billed", "estimated", "free"]
Key = tuple[str | None, str | None, Line]


class Spent(NamedTuple):
    """Dollars and tokens booked under one label, model or line."""

    usd: Decimal
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSnapshot:
    """How a pool or hold stands: `spent + held + remaining` is its cap.

    `held` is kept for open holds, less what those have spent; `remaining` is None where
    nothing limits it; `overdrawn` is the most that was ever committed beyond the cap;
    `unreported` counts the holds and calls whose cost was never known.
    """

    usd_cap: Decimal | None
    usd_spent: Decimal
    usd_held: Decimal
    usd_remaining: Decimal | None
    usd_overdrawn: Decimal
    tokens_cap: int | None
    tokens_spent: int
    tokens_held: int
    tokens_remaining: int | None
    tokens_overdrawn: int
    unreported: int
    by_label: Mapping[str, Spent]
    by_model: Mapping[str, Spent]
    by_line: Mapping[str, Spent]


class Lines:
    """What was spent on what, and how often nobody said."""

    __slots__ = ("sums", "unreported")

    def __init__(self) -> None:
        self.sums: dict[Key, tuple[int, int]] = {}
        self.unreported = 0

    def add(self, key: Key, nanos: int, tokens: int) -> None:
        """Add one charge."""
        usd, count = self.sums.get(key, (0, 0))
        self.sums[key] = usd + nanos, count + tokens

    def by(self, part: int, nanos: int = 0, tokens: int = 0) -> dict[str, Spent]:
        """Sums by a part of the key; of the totals given, the rest was billed."""
        sums = list(self.sums.items())
        if nanos or tokens:
            nanos -= sum(usd for _, (usd, _) in sums)
            tokens -= sum(count for _, (_, count) in sums)
            sums.append(((None, None, "billed"), (nanos, tokens)))
        found: dict[str, tuple[int, int]] = {}
        for key, (usd, count) in sums:
            if (name := key[part]) is not None:
                old_usd, old_count = found.get(name, (0, 0))
                found[name] = old_usd + usd, old_count + count
        return {name: Spent(dollars(usd), n) for name, (usd, n) in found.items()}
