"""One timer for all the walls of a loop."""

from contextlib import suppress
from contextvars import Context
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from ._clock import TIMER, clock_of


if TYPE_CHECKING:  # asyncio is slow to import, and _wall imports this module
    from asyncio import AbstractEventLoop, TimerHandle

    from ._wall import Wall


class Timer:
    """What wakes a loop when the earliest of its walls is due.

    A wall that is not the earliest costs a push to a heap, and one that is left only a
    count: it is passed over when its time comes. The last to leave stops the timer.
    """

    __slots__ = (
        "_armed", "_context", "_handle", "_heap", "_loop", "_order", "clock", "walls",
    )  # fmt: skip

    def __init__(self, loop: "AbstractEventLoop") -> None:
        self._loop = loop
        self.clock = clock_of(loop)
        self._context = Context()  # or whoever arms it would leave all of theirs here
        self._handle: TimerHandle | None = None
        self._armed = inf
        self._heap: list[tuple[float, int, Wall]] = []
        self._order = 0
        self.walls = 0  # now entered

    def leave(self) -> None:
        """One wall is there no more."""
        self.walls -= 1
        if not self.walls:
            self._heap.clear()
            self._arm(inf)

    def add(self, wall: "Wall") -> None:
        """Ring a wall when it is due, which has changed."""
        heap, when = self._heap, wall.when
        if len(heap) > 2 * self.walls + 16:
            heap[:] = [entry for entry in heap if entry[2].awaits(entry[0])]
            heapify(heap)
        self._order = order = self._order + 1
        heappush(heap, (when, order, wall))
        if when < self._armed:
            self._arm(when)

    def _arm(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = when
        self._handle = None
        if when != inf:
            self._handle = self._loop.call_at(when, self._ring, context=self._context)

    def _ring(self) -> None:
        heap, now = self._heap, max(self._armed, self._loop.time())
        self._armed = inf
        try:
            while heap and heap[0][0] <= now:
                when, _, wall = heappop(heap)
                if wall.awaits(when):
                    wall.ring()
        finally:
            while heap and not heap[0][2].awaits(heap[0][0]):
                heappop(heap)
            self._arm(heap[0][0] if heap else inf)


def timer_of(loop: "AbstractEventLoop") -> Timer:
    """The timer of a loop, which lives and dies with it."""
    timer: Timer | None = getattr(loop, TIMER, None)
    if timer is None:
        timer = Timer(loop)
        with suppress(AttributeError):  # no place for it: each wall has one of its own
            setattr(loop, TIMER, timer)
    return timer
