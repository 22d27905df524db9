"""Places that are waited for in turn, unless the wait could never end."""

import asyncio
from collections import OrderedDict
from contextvars import ContextVar

from waybell_bus._errors import ReentrancyError


class Hold:
    """One place taken, as whatever runs inside it remembers it."""

    __slots__ = ("limit", "outer", "waits")

    def __init__(self, limit: "Limit") -> None:
        self.limit = limit
        self.outer = holding.get()
        self.waits: list[Limit] = []  # Where something inside this hold is waiting.


holding: ContextVar[Hold | None] = ContextVar("waybell_bus_hold", default=None)


def holds_around(hold: Hold | None) -> list[Hold]:
    """A hold and all those around it that have not been given back."""
    found: list[Hold] = []
    while hold is not None:
        if hold in hold.limit.holds:
            found.append(hold)
        hold = hold.outer
    return found


class Limit:
    """`size` places on one event loop, first come first served."""

    __slots__ = ("_queue", "holds", "name", "size")

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.holds: set[Hold] = set()
        self._queue: OrderedDict[Hold, asyncio.Future[None]] = OrderedDict()

    def takes(self, hold: Hold) -> bool:
        """Take a place if there is one; say whether there was."""
        if len(self.holds) < self.size:
            self.holds.add(hold)
        return hold in self.holds

    async def take(self) -> Hold:
        """Wait for a place.

        Raises:
            ReentrancyError: If every place is held by those who wait for this one.
        """
        hold = Hold(self)
        if self.takes(hold):
            return hold
        around = holds_around(hold.outer)
        if around and not _moves(self, around):
            raise ReentrancyError(self.name, self.size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue[hold] = turn
        for outer in around:
            outer.waits.append(self)
        try:
            await turn
        except BaseException:
            self._queue.pop(hold, None)
            self.give(hold)  # Our turn may have come as we were cancelled: pass it on.
            raise
        finally:
            for outer in around:
                outer.waits.remove(self)
        return hold

    def give(self, hold: Hold) -> None:
        """Give a place back, to the one who has waited longest."""
        self.holds.discard(hold)
        while self._queue and len(self.holds) < self.size:
            waiting, turn = self._queue.popitem(last=False)
            if not turn.done():
                self.holds.add(waiting)
                turn.set_result(None)


def _moves(target: Limit, waiting: list[Hold]) -> bool:
    """Whether a place of `target` will ever come free, were `waiting` to wait for it.

    A hold is stuck while something inside it waits at a stuck limit, and a limit while
    all its holds are: of all limits in reach, strike those that move until none does.
    """
    stuck, ahead = {target}, [target]
    while ahead:
        new = {limit for hold in ahead.pop().holds for limit in hold.waits} - stuck
        stuck |= new
        ahead += new

    def moving(limit: Limit) -> bool:
        free = limit.holds.difference(waiting)
        return any(stuck.isdisjoint(hold.waits) for hold in free)

    while moved := set(filter(moving, stuck)):
        stuck -= moved
    return target not in stuck
