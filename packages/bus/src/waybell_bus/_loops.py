"""What a bus keeps for each event loop, and its doors for code without one."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Container, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from waybell_bus._event import NOWHERE, Home
from waybell_bus._limit import Hold, Limit


class Work:
    """The running tasks and threads of one bus on one loop.

    Args:
        loop: Where they run.
        background: How many published deliveries may be under way.
        threads: How many handlers may run in threads.
    """

    __slots__ = ("_pool", "loop", "room", "tasks", "threads", "watchers")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, background: int, threads: int
    ) -> None:
        self.loop = loop
        self.room = Limit("publish", background)
        self.threads = Limit("the thread pool", threads)
        self.tasks: dict[asyncio.Task[Any], Hold | None] = {}
        self.watchers: set[asyncio.Task[Any]] = set()
        self._pool: ThreadPoolExecutor | None = None

    def pool(self) -> ThreadPoolExecutor:
        """The threads, started as needed."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads.size, "waybell-bus")
        return self._pool

    def call(self, fn: Callable[..., object], *args: Any) -> None:
        """Run something on the loop from any thread, if the loop is still there."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(fn, *args)

    def spawn(
        self, body: Coroutine[Any, Any, Any], hold: Hold | None = None
    ) -> asyncio.Task[Any]:
        """Run something beside its sender, with a place to give back at the end."""
        task = self.loop.create_task(body)
        self.tasks[task] = hold
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        hold = self.tasks.pop(task, None)
        if hold is not None:
            self.room.give(hold)
        if not task.cancelled():
            # Only what must stop a loop gets here, and it did: it is no news.
            task.exception()

    async def drain(
        self, spared: Container[Hold | None], seconds: float | None
    ) -> None:
        """Wait until nothing runs any more, but for what waits for us; then cancel."""
        ends = None if seconds is None else self.loop.time() + seconds
        while rest := self._rest(spared):
            left = None if ends is None else ends - self.loop.time()
            if left is not None and left <= 0:
                await self.cancel(spared)
                return
            await asyncio.wait(rest, timeout=left)

    async def cancel(self, spared: Container[Hold | None]) -> None:
        """Cancel what runs, and wait for its end."""
        rest = self._rest(spared)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)

    def _rest(self, spared: Container[Hold | None]) -> list[asyncio.Task[Any]]:
        me = asyncio.current_task()
        return [
            t for t, hold in self.tasks.items() if t is not me and hold not in spared
        ]

    def end(self) -> None:
        """Let the threads go; those still busy end by themselves."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


class Loops:
    """The loops a bus has waited on, and a private one where there is none.

    Args:
        background: How many published deliveries may be under way on each.
        threads: How many handlers may run in threads on each.
    """

    __slots__ = (
        "__weakref__",
        "_background",
        "_lock",
        "_private",
        "_stop",
        "_threads",
        "_works",
        "home",
    )

    def __init__(self, background: int, threads: int) -> None:
        self.home: Home = NOWHERE
        self._background = background
        self._threads = threads
        self._lock = threading.Lock()
        self._works: dict[asyncio.AbstractEventLoop, Work] = {}
        self._private: asyncio.AbstractEventLoop | None = None
        self._stop: Callable[[], object] | None = None

    def here(self) -> Work:
        """The running loop's work; that of closed loops is forgotten."""
        loop = asyncio.get_running_loop()
        work = self._works.get(loop)
        if work is None:
            with self._lock:
                for closed in [each for each in self._works if each.is_closed()]:
                    self._works.pop(closed).end()
                work = Work(loop, self._background, self._threads)
                self._works[loop] = work
        return work

    def works(self) -> list[Work]:
        """The work on every loop that runs."""
        with self._lock:
            return [work for work in self._works.values() if work.loop.is_running()]

    def run(self, body: Coroutine[Any, Any, Any], verb: str) -> Any:
        """Run it to its end from code that has no loop, and return its answer.

        Raises:
            RuntimeError: If a loop runs in this thread, or ends before the answer.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            body.close()
            raise RuntimeError(
                f"a loop runs in this thread: use 'await bus.{verb}(...)' "
                f"instead of 'bus.{verb}_sync(...)'"
            )
        loop = self._live()
        future: Future[Any] = asyncio.run_coroutine_threadsafe(body, loop)
        try:
            while not wait([future], timeout=1).done:
                if not loop.is_running():
                    raise RuntimeError("the bus's loop stopped before the answer")
            return future.result()
        finally:
            future.cancel()

    def _live(self) -> asyncio.AbstractEventLoop:
        loop = self.home.loop
        if loop is not None and loop.is_running():
            return loop
        with self._lock:
            for other in reversed(self._works):
                if other.is_running():
                    return other
            if self._private is None:
                ready: Future[asyncio.AbstractEventLoop] = Future()
                thread = threading.Thread(
                    target=_serve, args=(ready,), name="waybell-bus", daemon=True
                )
                thread.start()
                self._private = ready.result()
                self._stop = weakref.finalize(self, _halt, self._private, thread)
            return self._private

    def end(self) -> None:
        """Let go of threads, and of the private loop."""
        with self._lock:
            works, self._works = self._works, {}
            stop, self._stop, self._private = self._stop, None, None
        for work in works.values():
            work.end()
        if stop is not None:
            stop()


def _serve(ready: "Future[asyncio.AbstractEventLoop]") -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        ready.set_result(loop)
        loop.run_forever()


def _halt(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(timeout=5)
