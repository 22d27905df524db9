"""Who holds and who waits for how much: the state of a pool, and no I/O.

All of it is called with the ledger's lock held and never blocks. What must happen
outside the lock (waking, calling back, warning) goes into the outbox.

Of each account with a cap, `spent + held <= cap + overdrawn`, and `overdrawn` grows only
by money that was spent before anybody asked.
"""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

import threading
from collections.abc import Callable, Sequence
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
OUT, WAITING, GRANTED = range(3)


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

    def own(self, line: Account) -> int:
        """What of this account it keeps from itself by waiting."""
        return sum(locked(account, line) for account in self.mine)

    def lack(self) -> BudgetError | None:
        """Why it cannot be granted now, None when it can."""
        for line, amount in self.lines.items():
            if amount > room(line) or overdrawn(line):
                return error(BudgetExceeded, line, amount, room(line))
            if not self._has_turn(line):
                return error(BudgetExceeded, line, amount, 0)
        return None

    def hopeless(self) -> BudgetError | None:
        """Why no release by others can ever satisfy it, None when one can."""
        for line, amount in self.lines.items():
            most = room(line) + line._held
            if amount > most or overdrawn(line):
                return error(BudgetExceeded, line, amount, room(line))
            if amount > most - (own := self.own(line)):
                return error(BudgetDeadlockError, line, amount, most - own)
        return None

    def _has_turn(self, line: Account) -> bool:
        """First in line, or standing only behind somebody who waits for it.

        Of two that wait for each other, one for a hold and one for its turn, only the
        one who has the hold can end that, so it goes first.
        """
        queue = line._watch.queue if line._watch else ()
        if not queue or queue[0] is self:
            return True
        reach = room(line) + line._held - self.own(line)
        ahead = takewhile(lambda other: other is not self, queue)
        return any(other.lines[line] > reach for other in ahead)


class Ledger:
    """The books of one pool and of all holds below it."""

    __slots__ = ("lock", "open", "outbox", "overdrawn", "prices", "strict")

    def __init__(self, prices: PriceBook, *, strict: bool) -> None:
        self.prices = prices
        self.strict = strict
        self.lock = threading.RLock()
        self.open = 0  # holds now open, at any depth
        self.overdrawn = 0  # accounts now open that ever were
        self.outbox: list[Callable[[], None]] = []

    def book(self, account: Account, amount: int) -> Account | None:  # budget: hot
        """Write spending down, here and all the way up.

        Returns:
            The first account that this went beyond, None when all was covered.
        """
        beyond: Account | None = None
        watched: list[Account] | None = None
        growth = amount  # by how much an account's spent plus held gets larger
        account._spent += amount
        # The first one apart: mostly it is a hold and the next its pool, and the
        # interpreter is fast where it always meets the same class.
        if account._cap is not None:
            growth = 0
            if account._spent + account._held > account._cap:
                growth = self._overdraw(account, amount)
                beyond = account if growth else None
        if account._watch is not None:
            watched = [account]
        node = account._parent
        while node is not None:
            node._spent += amount
            node._held += growth - amount
            if growth and node._cap is not None:
                growth = self._overdraw(node, growth)
                if growth and beyond is None:
                    beyond = node
            if node._watch is not None:
                watched = [*(watched or ()), node]
            node = node._parent
        if watched is not None:
            self.look(watched)
        return beyond

    def _overdraw(self, account: Account, growth: int) -> int:
        """What of a growth went beyond the cap."""
        over = -room(account)
        if over <= 0:
            return 0
        self.overdrawn += not overdrawn(account)
        watch(account).overdrawn = max(overdrawn(account), over)
        return min(growth, over)

    def look(self, accounts: list[Account]) -> None:
        """Ring the thresholds reached and refuse whoever has now no hope."""
        lines: list[Account] = []
        for account in accounts:
            watched = watch(account)
            for threshold, alarm in watched.alarms:
                if account._spent >= threshold and not alarm.rung:
                    alarm.rung = True
                    self.outbox.append(alarm.call)
            for waiter in tuple(watched.queue):
                if reason := waiter.hopeless():
                    lines += self._refuse(waiter, reason)
        self._serve(lines)

    def shut(self, account: Account) -> None:
        """Resolve a hold: what is neither spent nor held below goes back."""
        cap, account._cap = account._cap, None
        if account._watch is not None:
            self.overdrawn -= cap is not None and account._watch.overdrawn > 0
            reason = BudgetClosedError("the budget waited on was left")
            for waiter in tuple(account._watch.queue):
                self._serve(self._refuse(waiter, reason))
        if cap is not None and cap > account._spent + account._held:
            self.release(account._parent, cap - account._spent - account._held)

    def release(self, account: Account | None, amount: int) -> None:
        """Give money that was put aside back to whoever it came from."""
        lines: list[Account] | None = None
        while account is not None and amount > 0:
            account._held -= amount
            if account._watch is not None:
                lines = [*(lines or ()), account]
            cap = account._cap
            if cap is not None:
                # Only what had grown beyond the cap was ever taken from above.
                beyond = account._spent + account._held + amount - cap
                amount = min(amount, beyond)
            account = account._parent
        if lines is not None:
            self._serve(lines)

    def grant(self, waiter: Waiter) -> None:
        """Put aside all that a request wants, up to the caps that cover it."""
        waiter.state = GRANTED
        for account, amount in waiter.draws:
            hold(account, amount)

    def join(self, waiter: Waiter) -> None:
        """Be granted, be refused, or stand in line."""
        if waiter.lack() is None:
            self.grant(waiter)
        elif reason := waiter.hopeless():
            waiter.refusal = reason
        else:
            waiter.state = WAITING
            for line in waiter.lines:
                watch(line).queue.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Step out of line, or give back what was granted and will not be used."""
        before, waiter.state = waiter.state, OUT
        if before == GRANTED:
            for account, amount in waiter.draws:
                self.release(account, amount)
        elif before == WAITING:
            self._serve(self._drop(waiter))

    def _drop(self, waiter: Waiter) -> list[Account]:
        for line in waiter.lines:
            watch(line).queue.remove(waiter)
        return list(waiter.lines)

    def _refuse(self, waiter: Waiter, error: BudgetError) -> list[Account]:
        waiter.state, waiter.refusal = OUT, error
        self.outbox.append(waiter.wake)
        return self._drop(waiter)

    def _serve(self, lines: list[Account]) -> None:
        """Grant, in order, what can be granted from these accounts."""
        while lines:
            line = lines.pop()
            queue = watch(line).queue
            for waiter in tuple(queue):
                # Behind a first one that must wait, only who has holds can have a turn.
                if (waiter is queue[0] or waiter.mine) and waiter.lack() is None:
                    self.grant(waiter)
                    self.outbox.append(waiter.wake)
                    lines += [
                        other for other in self._drop(waiter) if other is not line
                    ]

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
                    self.outbox = calls + self.outbox
