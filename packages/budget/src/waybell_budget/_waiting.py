"""Who waits, and of those, who waits for what only others who wait can give."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

from collections.abc import Callable, Iterable, Sequence

from ._account import Account, error, locked, source
from ._errors import BudgetDeadlockError, BudgetError


Draw = tuple[Account, int]
OUT, WAITING, GRANTED, OPENED = range(4)


class Waiter:
    """A request for money, which may have to stand in line."""

    __slots__ = ("draws", "lines", "mine", "refusal", "state", "wake")

    def __init__(
        self, draws: Sequence[Draw], mine: Sequence[Account], wake: Callable[[], None]
    ) -> None:
        self.draws = draws
        self.mine = mine  # of all holds that its caller and their callers have open
        self.wake = wake  # called once, outside the lock, when granted or refused
        self.state = OUT
        self.refusal: BudgetError | None = None
        self.lines: dict[Account, int] = {}

    def aim(self) -> None:
        """Find the accounts whose caps decide; that is where it stands in line."""
        found = [(source(account), amount) for account, amount in self.draws]
        self.lines = {line: amount for line, amount in found if line is not None}


def blocked(waiters: Iterable[Waiter]) -> set[Waiter]:
    """Who, of all in line, gets nothing before some others there have got something."""
    everyone = dict.fromkeys(waiters)
    holders = [waiter for waiter in everyone if waiter.mine]
    found: set[Waiter] = set()
    if holders:
        reach = _reach(everyone, holders)
        closed: set[Account] = set()
        for waiter in everyone:
            behind = not waiter.mine and not closed.isdisjoint(waiter.lines)
            if behind or _short(waiter, reach):
                found.add(waiter)
                closed.update(waiter.lines)
    return found


def knot(waiters: Iterable[Waiter]) -> list[Waiter]:
    """Those whom nothing can satisfy but money that they keep themselves."""
    found: list[Waiter] = []
    rest = [waiter for waiter in waiters if waiter.mine]
    while len(found) != len(rest):
        found, reach = rest, _reach(rest, rest)
        rest = [waiter for waiter in found if _short(waiter, reach)]
    return found


def deadlock(waiter: Waiter, stuck: list[Waiter]) -> BudgetError:
    """What to tell one of a knot."""
    reach = _reach([waiter], stuck)
    line = _short(waiter, reach)[0]
    return error(BudgetDeadlockError, line, waiter.lines[line], reach[line])


def _reach(wanting: Iterable[Waiter], keeping: Iterable[Waiter]) -> dict[Account, int]:
    """What can ever come free for some while others keep all that is theirs."""
    kept = {account for waiter in keeping for account in waiter.mine}
    return {
        line: (line._cap or 0)
        - line._spent
        - sum(locked(other, line) for other in kept)
        for line in {line for waiter in wanting for line in waiter.lines}
    }


def _short(waiter: Waiter, reach: dict[Account, int]) -> list[Account]:
    """Where it wants more than that."""
    return [line for line, amount in waiter.lines.items() if amount > reach[line]]
