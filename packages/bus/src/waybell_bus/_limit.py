"""Places that are waited for in turn, unless the wait could never end."""

import asyncio
from collections import OrderedDict
from contextvars import ContextVar, Token
from types import TracebackType

from waybell_bus._errors import ReentrancyError


class Hold:
    """One place taken, as those who run inside it remember it.

    Args:
        limit: Whose place.
        outer: The hold around it, or None.
    """

    __slots__ = ("_token", "limit", "outer", "waits")

    def __init__(self, limit: "Limit", outer: "Hold | None") -> None:
        self.limit = limit
        self.outer = outer
        # The limits at which something started inside this hold is waiting.
        self.waits: list[Limit] = []
        self._token: Token[Hold | None] | None = None

    async def __aenter__(self) -> "Hold":
        await self.limit.take(self)
        self._token = holding.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            holding.reset(self._token)
        self.limit.give(self)


holding: ContextVar[Hold | None] = ContextVar("waybell_bus_hold", default=None)


class Limit:
    """A number of places, first come first served, on one event loop.

    Args:
        name: Whose places, for the error.
        size: How many.
    """

    __slots__ = ("_queue", "holds", "name", "size")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.holds: set[Hold] = set()
        self._queue: OrderedDict[Hold, asyncio.Future[None]] = OrderedDict()

    def place(self) -> Hold:
        """A place to take, inside what the caller holds already."""
        return Hold(self, holding.get())

    async def take(self, hold: Hold) -> None:
        """Wait for a place.

        Raises:
            ReentrancyError: If every place is held by those who wait for this one.
        """
        if len(self.holds) < self.size and not self._queue:
            self.holds.add(hold)
            return
        around = _around(hold)
        if around and _hopeless(self, around):
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

    def give(self, hold: Hold) -> None:
        """Give a place back, to the one who has waited longest."""
        self.holds.discard(hold)
        while self._queue and len(self.holds) < self.size:
            waiting, turn = self._queue.popitem(last=False)
            if not turn.done():
                self.holds.add(waiting)
                turn.set_result(None)


def _around(hold: Hold) -> set[Hold]:
    found: set[Hold] = set()
    outer = hold.outer
    while outer is not None:
        if outer in outer.limit.holds:
            found.add(outer)
        outer = outer.outer
    return found


def _hopeless(target: Limit, waiting: set[Hold]) -> bool:
    """Whether no place would ever come free, were the owner of `waiting` to wait.

    A limit moves if one of its holds is neither waiting nor has anything inside it
    that waits at a limit which does not move: the greatest set that does not move.
    """
    stuck = {target}
    frontier = [target]
    while frontier:
        for hold in frontier.pop().holds:
            for limit in hold.waits:
                if limit not in stuck:
                    stuck.add(limit)
                    frontier.append(limit)
    while target in stuck:
        free = {
            limit
            for limit in stuck
            if any(
                hold not in waiting and stuck.isdisjoint(hold.waits)
                for hold in limit.holds
            )
        }
        if not free:
            return True
        stuck -= free
    return False
