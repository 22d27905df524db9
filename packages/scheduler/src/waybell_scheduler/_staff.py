"""Workers: hired as work comes in, at most so many, and all gone at the end."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the loop works on the queue's own lists

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from waybell_scheduler._queue import TaskQueue


class Staff(ABC):
    """At most so many `asyncio.Task`s that take what is ready, each again and again.

    Workers without work wait for it instead of ending: one made anew costs far more.

    Args:
        queue: The tasks.
        bound: Workers at the most.
        orders: As soon as more is ready than may run, put the most urgent first.
    """

    __slots__ = (
        "_active", "_bound", "_closing", "_context", "_done", "_fatal", "_idle", "_loop",
        "_orders", "_queue", "_workers",
    )  # fmt: skip

    def __init__(self, queue: TaskQueue, bound: int, orders: bool) -> None:
        self._queue, self._bound, self._orders = queue, bound, orders
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # which all tasks start from
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._active, self._closing = 0, False
        self._fatal: BaseException | None = None
        self._done: asyncio.Future[None] = self._loop.create_future()

    @abstractmethod
    def _working(self) -> Coroutine[Any, Any, None]:
        """One worker: does tasks until the end, and waits in `_pause` where none is."""

    def closing(self) -> bool:
        """Whether the run is being ended."""
        return self._closing

    async def run(self) -> None:
        """Do all that can be done, and leave nothing running.

        Raises:
            BaseException: What is no task's own failure: an interrupt, a journal that
                cannot be written, a cancellation of the run.
        """
        if not self._queue._frontier:
            return
        self._hire(1)  # others as soon as it waits
        try:
            await self._done
        finally:
            await self._close()
        if self._fatal is not None:
            raise self._fatal

    async def _close(self) -> None:
        """Cancel what is in flight and wait for its end, however often cancelled."""
        self._closing = True
        again: asyncio.CancelledError | None = None
        while busy := [worker for worker in self._workers if not worker.done()]:
            for worker in busy:
                worker.cancel()
            try:
                await asyncio.wait(busy)
            except asyncio.CancelledError as error:
                again = error
        if again is not None:
            raise again

    def grow(self) -> None:
        """Have workers for what is ready, as far as the bound allows."""
        ready = len(self._queue._frontier)
        free = self._bound - self._active
        if ready > free and self._orders:
            self._queue._rank()  # which to take first begins to matter
            self._orders = False
        self._hire(min(ready, free))

    def _hire(self, many: int) -> None:
        for _ in range(many):
            self._active += 1
            if self._wake():
                continue
            usual = self._loop.get_task_factory() is None
            work = self._working() if usual else self._later()
            worker = self._loop.create_task(work, context=self._context.copy())
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    async def _later(self) -> None:
        """Work, but not inside of whoever hires, as eager task factories would."""
        await asyncio.sleep(0)
        await self._working()

    def _pause(self) -> "asyncio.Future[None] | None":
        """What a worker without work waits for; None if nobody has any."""
        self._active -= 1
        if not self._active or self._closing:
            self._end()
            return None
        idle: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(idle)
        return idle

    def _retire(self) -> None:
        """Give one's place to another worker."""
        self._active -= 1
        if self._queue._frontier:
            self.grow()
        elif not self._active:
            self._end()

    def _left(self, worker: "asyncio.Task[None]") -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._abort(error)

    def _abort(self, error: BaseException) -> None:
        """End the run for what is no task's own failure."""
        self._fatal = self._fatal or error
        self._end()

    def _end(self) -> None:
        self._closing = True
        while self._wake():
            pass
        if not self._done.done():
            self._done.set_result(None)

    def _wake(self) -> bool:
        """Have a worker go on that waits for work; False if there is none."""
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():  # by a cancellation from outside
                waiting.set_result(None)
                return True
        return False
