"""Who holds and who waits for how much: the state of a pool, and no I/O.

All of it is called with the ledger's lock held and never blocks. What must happen
outside the lock (waking, calling back, warning) goes into the outbox.

Of each account with a cap, `spent + held <= cap + overdrawn`, and `overdrawn` grows only
by money that was spent before anybody asked.
"""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

import threading
from collections.abc import Callable
from itertools import takewhile

from ._account import Account, error, hold, overdrawn, room, watch
from ._errors import BudgetClosedError, BudgetError, BudgetExceeded
from ._prices import PriceBook
from ._waiting import GRANTED, OUT, WAITING, Waiter, blocked, deadlock, knot


class Ledger:
    """The books of one pool and of all holds below it."""

    __slots__ = ("lock", "open", "outbox", "overdrawn", "prices", "strict", "waiting")

    def __init__(self, prices: PriceBook, *, strict: bool) -> None:
        self.prices, self.strict = prices, strict
        self.lock = threading.RLock()
        self.open = 0  # holds now open, at any depth
        self.overdrawn = 0  # accounts now open that ever were
        self.outbox: list[Callable[[], None]] = []
        self.waiting: dict[Waiter, None] = {}  # in the order they came

    def book(self, account: Account, amount: int) -> BudgetError | None:
        """Write spending down all the way up; what to complain of if it is beyond."""
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
        while stuck := knot(self.waiting):
            self._refuse(stuck[-1], deadlock(stuck[-1], stuck))
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
            stuck = knot((*self.waiting, waiter))
            waiter.refusal = deadlock(waiter, stuck) if waiter in stuck else None
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
        behind = blocked((*self.waiting, waiter))
        ahead = takewhile(lambda other: other is not waiter, queue)
        return all(other in behind for other in ahead)

    def _hopeless(self, waiter: Waiter) -> BudgetError | None:
        """Why no release by anybody can satisfy it, None when one can."""
        for line, amount in waiter.lines.items():
            if amount > (line._cap or 0) - line._spent or overdrawn(line):
                return error(BudgetExceeded, line, amount, room(line))
        return None

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
            passed: set[Waiter] | None = None
            for waiter in tuple(queue):
                if waiter.state != WAITING:
                    continue
                if self.lack(waiter) is None:
                    self.grant(waiter)
                    self.outbox.append(waiter.wake)
                    self._drop(waiter)
                    lines += waiter.lines
                    continue
                passed = blocked(self.waiting) if passed is None else passed
                if queue[0] not in passed:
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
