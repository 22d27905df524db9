"""Who holds and who waits for how much: the state of a pool, and no I/O.

All of it is called with the ledger's lock held and never blocks. What must happen
outside the lock (waking, calling back, warning) goes into the outbox.

Of each account with a cap, `spent + held <= cap + overdrawn`, and `overdrawn` grows only
by money that was spent before anybody asked.
"""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from waybell_budget._account import (
    Account,
    error,
    hold,
    locked,
    overdrawn,
    room,
    source,
    watch,
)
from waybell_budget._errors import (
    BudgetClosedError,
    BudgetDeadlockError,
    BudgetError,
    BudgetExceeded,
)
from waybell_budget._prices import PriceBook


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


class Ledger:
    """The books of one pool and of all holds below it."""

    __slots__ = ("lock", "open", "outbox", "overdrawn", "prices", "strict", "waiting")

    def __init__(self, prices: PriceBook, *, strict: bool) -> None:
        self.prices = prices
        self.strict = strict
        self.lock = threading.RLock()
        self.open = 0  # holds now open, at any depth
        self.overdrawn = 0  # accounts now open that ever were
        self.outbox: list[Callable[[], None]] = []
        self.waiting: dict[Waiter, None] = {}  # in the order they came

    def book(self, account: Account, amount: int) -> BudgetError | None:
        """Write spending down, here and all the way up.

        Returns:
            What to complain of, when not all was covered.
        """
        wrong: BudgetError | None = None
        watched: list[Account] = []
        growth = amount  # by how much an account's spent or held gets larger
        node: Account | None = account
        while node is not None:
            node._spent += amount
            node._used += growth
            if growth and node._cap is not None:
                if node._used <= node._cap:  # no call between the books of one charge
                    growth = 0
                else:
                    growth = self._overdraw(node, growth)
                    left = amount + room(node)
                    wrong = wrong or error(BudgetExceeded, node, amount, left)
            if node._watch is not None:
                watched.append(node)
            node = node._parent
        if watched:
            self.look(watched)
        return wrong

    def _overdraw(self, account: Account, growth: int) -> int:
        """Note that it is beyond its cap; what of the growth that is."""
        over = -room(account)
        self.overdrawn += not overdrawn(account)
        watch(account).overdrawn = max(overdrawn(account), over)
        return min(growth, over)

    def look(self, accounts: list[Account]) -> None:
        """Ring the thresholds reached and refuse whoever has now no hope."""
        for account in accounts:
            watched = watch(account)
            for threshold, alarm in watched.alarms:
                if account._spent >= threshold and not alarm.rung:
                    alarm.rung = True
                    self.outbox.append(alarm.call)
            for waiter in tuple(watched.queue):
                if reason := self._hopeless(waiter):
                    self._refuse(waiter, reason)
        while knot := self._knot(*self.waiting):
            self._refuse(knot[-1], self._deadlock(knot[-1], knot))
        self._serve_all()

    def shut(self, account: Account) -> None:
        """Resolve a hold: what is neither spent nor held below goes back."""
        cap, account._cap = account._cap, None
        if account._watch is not None:
            self.overdrawn -= cap is not None and account._watch.overdrawn > 0
            reason = BudgetClosedError("the budget waited on was left")
            for waiter in tuple(account._watch.queue):
                self._refuse(waiter, reason)
            self._serve_all()
        if cap is not None and cap > account._used:
            self.release(account._parent, cap - account._used)

    def release(self, account: Account | None, amount: int) -> None:
        """Give money that was put aside back to whoever it came from."""
        lines: list[Account] = []
        while account is not None and amount > 0:
            account._used -= amount
            if account._watch is not None:
                lines.append(account)
            if account._cap is not None:
                # Only what had grown beyond the cap was ever taken from above.
                amount = min(amount, amount - room(account))
            account = account._parent
        self._serve(lines)

    def grant(self, waiter: Waiter) -> None:
        """Put aside all that a request wants, up to the caps that cover it."""
        for account, amount in waiter.draws:
            hold(account, amount)
        waiter.state = GRANTED

    def join(self, waiter: Waiter) -> None:
        """Be granted, be refused, or stand in line."""
        waiter.aim()
        if self.lack(waiter) is None:
            self.grant(waiter)
            return
        waiter.refusal = self._hopeless(waiter)
        if waiter.refusal is None and waiter.mine:
            knot = self._knot(*self.waiting, waiter)
            if waiter in knot:
                waiter.refusal = self._deadlock(waiter, knot)
        if waiter.refusal is None:
            waiter.state = WAITING
            self.waiting[waiter] = None
            for line in waiter.lines:
                watch(line).queue.append(waiter)
            if waiter.mine:  # others may go before the first in line from now on
                self._serve_all()

    def lack(self, waiter: Waiter) -> BudgetError | None:
        """Why it cannot be granted now, None when it can."""
        for line, amount in waiter.lines.items():
            if amount > room(line) or overdrawn(line):
                return error(BudgetExceeded, line, amount, room(line))
            if not self._has_turn(waiter, line):
                return error(BudgetExceeded, line, amount, 0)
        return None

    def _has_turn(self, waiter: Waiter, line: Account) -> bool:
        """First in line, or a holder behind nobody who can be served before it.

        Of those that wait for each other, some for holds and some for their turn, only
        the ones who have the holds can end that, so they go first.
        """
        queue = line._watch.queue if line._watch else ()
        if not queue or queue[0] is waiter:
            return True
        if not waiter.mine:
            return False
        blocked = self._blocked(waiter)
        ahead = takewhile(lambda other: other is not waiter, queue)
        return all(other in blocked for other in ahead)

    def _blocked(self, *newcomer: Waiter) -> set[Waiter]:
        """Who gets nothing before some who wait, too, have got what they want."""
        everyone = dict.fromkeys((*self.waiting, *newcomer))
        holders = [waiter for waiter in everyone if waiter.mine]
        blocked: set[Waiter] = set()
        if holders:
            reach = _reach(everyone, holders)
            closed: set[Account] = set()
            for waiter in everyone:
                behind = not waiter.mine and not closed.isdisjoint(waiter.lines)
                if behind or _short(waiter, reach):
                    blocked.add(waiter)
                    closed.update(waiter.lines)
        return blocked

    def _hopeless(self, waiter: Waiter) -> BudgetError | None:
        """Why no release by anybody can satisfy it, None when one can."""
        for line, amount in waiter.lines.items():
            if amount > (line._cap or 0) - line._spent or overdrawn(line):
                return error(BudgetExceeded, line, amount, room(line))
        return None

    def _knot(self, *waiters: Waiter) -> list[Waiter]:
        """Those whom nothing can satisfy but money that they keep themselves."""
        knot: list[Waiter] = []
        rest = [waiter for waiter in waiters if waiter.mine]
        while len(knot) != len(rest):
            knot, reach = rest, _reach(rest, rest)
            rest = [waiter for waiter in knot if _short(waiter, reach)]
        return knot

    def _deadlock(self, waiter: Waiter, knot: list[Waiter]) -> BudgetError:
        reach = _reach([waiter], knot)
        line = _short(waiter, reach)[0]
        return error(BudgetDeadlockError, line, waiter.lines[line], reach[line])

    def leave(self, waiter: Waiter) -> None:
        """Step out of line, or give back what was granted and will not be used."""
        before, waiter.state = waiter.state, OUT
        if before == GRANTED:
            for account, amount in waiter.draws:
                self.release(account, amount)
        elif before == WAITING:
            self._drop(waiter)
            self._serve(list(waiter.lines))

    def _drop(self, waiter: Waiter) -> None:
        for line in waiter.lines:
            watch(line).queue.remove(waiter)
        del self.waiting[waiter]

    def _refuse(self, waiter: Waiter, error: BudgetError) -> None:
        waiter.state, waiter.refusal = OUT, error
        self.outbox.append(waiter.wake)
        self._drop(waiter)

    def _serve_all(self) -> None:
        lines = [line for waiter in self.waiting for line in waiter.lines]
        self._serve(list(dict.fromkeys(lines)))

    def _serve(self, lines: list[Account]) -> None:
        """Grant, in order, what can be granted from these accounts."""
        while lines:
            line = lines.pop()
            queue = watch(line).queue
            blocked = None
            for waiter in tuple(queue):
                if waiter.state == WAITING and self.lack(waiter) is None:
                    self.grant(waiter)
                    self.outbox.append(waiter.wake)
                    self._drop(waiter)
                    lines += [other for other in waiter.lines if other is not line]
                    blocked = None
                    continue
                blocked = self._blocked() if blocked is None else blocked
                if queue and queue[0] not in blocked:
                    break  # nobody goes before it

    def deliver(self) -> None:
        """Empty the outbox. The one method that is called without the lock."""
        while self.outbox:
            with self.lock:
                calls, self.outbox = self.outbox, []
            try:
                while calls:
                    calls.pop(0)()
            finally:
                if calls:  # an interrupt: nobody else's wake-up may be lost
                    with self.lock:
                        self.outbox = calls + self.outbox


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
