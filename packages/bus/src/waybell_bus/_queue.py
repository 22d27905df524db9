"""Events kept for somebody who takes them one by one."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self, TypeVar

from waybell_bus._errors import BusClosedError, QueueFullError
from waybell_bus._event import Event


T = TypeVar("T")
Overflow = Literal["block", "drop_oldest", "drop_newest", "error"]
OVERFLOWS = ("block", "drop_oldest", "drop_newest", "error")


class Subscription:
    """A bounded queue of the events that match a pattern.

    Made by `EventBus.subscribe`. It fills inside its `async with` block and is read
    with `async for`, by one task or several, which ends once the bus or the block does.
    Senders may be on other threads and loops than the reader.

    Args:
        pattern: What it takes.
        maxsize: How many events it holds.
        overflow: What happens to one more.
        join: Registers it.
        leave: Unregisters it.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_items",
        "_join",
        "_leave",
        "_lock",
        "_readers",
        "_writers",
        "dropped",
        "maxsize",
        "overflow",
        "pattern",
    )

    def __init__(
        self,
        pattern: str,
        maxsize: int,
        overflow: Overflow,
        join: "Callable[[Subscription], object]",
        leave: "Callable[[Subscription], object]",
    ) -> None:
        self.pattern = pattern
        self.maxsize = maxsize
        self.overflow: Overflow = overflow
        self.dropped = 0
        self._items: deque[Event] = deque()
        self._readers: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._writers: OrderedDict[asyncio.Future[bool], Event] = OrderedDict()
        self._closed = False
        self._join = join
        self._leave = leave
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    async def __aenter__(self) -> Self:
        if self._closed:
            raise BusClosedError(self.pattern)
        self._join(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(self)
        self.close(drain=False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            with self._lock:
                if self._items:
                    return self._take()
                if self._closed:
                    raise StopAsyncIteration
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._readers[turn] = None
            try:
                await turn
            except BaseException:
                with self._lock:
                    self._readers.pop(turn, None)
                    if self._items:  # We may have been woken for it: wake another.
                        self._wake()
                raise

    def __call__(self, event: Event) -> None:
        """Take an event without waiting, or drop and count what has no room.

        Raises:
            QueueFullError: If that is what `overflow` asks for.
        """
        with self._lock:
            if self._closed:
                self.dropped += 1
            elif not self.full():
                self._put(event)
            elif self.overflow == "error":
                raise QueueFullError(self.pattern, self.maxsize)
            else:
                self.dropped += 1
                if self.overflow == "drop_oldest":
                    self._items.popleft()
                    self._put(event)

    def full(self) -> bool:
        """Whether one more event would overflow it."""
        return len(self._items) >= self.maxsize

    async def put(self, event: Event) -> None:
        """Take an event; where it is to block, once there is room.

        Raises:
            QueueFullError: As a call does.
        """
        with self._lock:
            if self._closed or self.overflow != "block" or not self.full():
                self(event)
                return
            turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._writers[turn] = event
        try:
            taken = await turn
        except BaseException:
            with self._lock:
                self._writers.pop(turn, None)
            raise
        if not taken:
            with self._lock:
                self.dropped += 1

    def close(self, *, drain: bool) -> None:
        """Take no more; readers end, with `drain` only once it is empty."""
        with self._lock:
            self._closed = True
            if not drain:
                self.dropped += len(self._items)
                self._items.clear()
            while self._writers:
                _settle(self._writers.popitem(last=False)[0], False)
            while self._readers:
                self._wake()

    def _put(self, event: Event) -> None:
        self._items.append(event)
        self._wake()

    def _take(self) -> Event:
        event = self._items.popleft()
        # The reader moves the next waiting event in itself: no one can come between.
        while self._writers and not self.full():
            turn, waiting = self._writers.popitem(last=False)
            if _settle(turn, True):
                self._put(waiting)
        return event

    def _wake(self) -> None:
        while self._readers:
            turn, _ = self._readers.popitem(last=False)
            if _settle(turn, None):
                return


def _settle(turn: "asyncio.Future[T]", value: T) -> bool:
    """Resolve a future from any thread; say whether anybody still waits on it."""
    loop = turn.get_loop()
    if turn.done() or loop.is_closed():
        return False
    try:
        here = loop is asyncio.get_running_loop()
    except RuntimeError:
        here = False
    if here:
        turn.set_result(value)
    else:
        loop.call_soon_threadsafe(_set, turn, value)
    return True


def _set(turn: "asyncio.Future[T]", value: T) -> None:
    if not turn.done():
        turn.set_result(value)
