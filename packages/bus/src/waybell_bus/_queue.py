"""Events kept for somebody who takes them one by one."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal, Self, TypeVar, get_args

from waybell_bus._errors import QueueFullError
from waybell_bus._event import Event
from waybell_bus._loops import current_loop


T = TypeVar("T")
Overflow = Literal["block", "drop_oldest", "drop_newest", "error"]


class Subscription:
    """A bounded queue of the events that match a pattern; see `EventBus.subscribe`.

    It fills only inside its `async with` block and is read with `async for`, by one task or
    several; that ends with the block or the bus. `len` is what waits in it, `dropped`
    counts what it had no room for. Senders may be on other threads than readers.
    """

    __slots__ = ("_closed", "_items", "_join", "_leave", "_lock", "_readers", "_writers", "dropped", "maxsize", "overflow", "pattern")  # fmt: skip

    def __init__(
        self,
        pattern: str,
        maxsize: int,
        overflow: Overflow,
        join: "Callable[[Subscription], object]",
        leave: "Callable[[Subscription], object]",
    ) -> None:
        if overflow not in get_args(Overflow) or maxsize < 1:
            raise ValueError(f"no queue of {maxsize} with overflow {overflow!r}")
        self.maxsize, self.dropped = maxsize, 0
        self.overflow: Overflow = overflow
        self.pattern = pattern
        self._closed = False
        self._items: deque[Event] = deque()
        self._join, self._leave = join, leave
        self._lock = threading.RLock()
        self._readers: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._writers: OrderedDict[asyncio.Future[bool], Event] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self)} of {self.maxsize} events"
        return f"<Subscription {self.pattern!r}, {state}>"

    def __bool__(self) -> bool:
        return True

    async def __aenter__(self) -> Self:
        self._join(self)
        self._closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
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
        """Take an event without waiting; where there is no room, as `overflow` says."""
        with self._lock:
            if not self._closed and not self.full():
                self._put(event)
                return
            if self.overflow == "error" and not self._closed:
                raise QueueFullError(self.pattern, self.maxsize)
            self.dropped += 1
            if self.overflow == "drop_oldest" and not self._closed:
                self._items.popleft()
                self._put(event)

    def full(self) -> bool:
        """Whether one more event would overflow it."""
        return len(self._items) >= self.maxsize

    async def put(self, event: Event) -> None:
        """Take an event once there is room."""
        with self._lock:
            if self._closed or not self.full():
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
            self(event)

    def close(self, *, drain: bool) -> None:
        """Take no more; readers end, with `drain` only once it is empty."""
        with self._lock:
            self._closed = True
            if not drain:
                self._items.clear()
            while self._writers:
                _resolve(self._writers.popitem(last=False)[0], False)
            while self._readers:
                self._wake()

    def _put(self, event: Event) -> None:
        self._items.append(event)
        self._wake()

    def _take(self) -> Event:
        event = self._items.popleft()
        # The reader moves the next waiting event in itself: none can come between.
        while self._writers and not self.full():
            turn, waiting = self._writers.popitem(last=False)
            if _resolve(turn, True):
                self._put(waiting)
        return event

    def _wake(self) -> None:
        while self._readers and not _resolve(
            self._readers.popitem(last=False)[0], None
        ):
            pass


def _resolve(turn: "asyncio.Future[T]", value: T) -> bool:
    """Resolve a future from any thread; say whether anybody still waits on it."""

    def resolve() -> None:
        if not turn.done():
            turn.set_result(value)

    loop = turn.get_loop()
    if turn.done() or loop.is_closed():
        return False
    if loop is current_loop():
        resolve()
    else:
        loop.call_soon_threadsafe(resolve)
    return True
