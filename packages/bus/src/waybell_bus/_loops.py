"""What a bus keeps for each event loop, and its doors for code without one."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Container, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from waybell_bus._event import Home
from waybell_bus._limit import Hold, Limit, holding


def current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Work:
    """The running tasks and threads of one bus on one loop."""

    __slots__ = ("_pool", "loop", "room", "tasks", "threads", "watchers")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, room: int, threads: int
    ) -> None:
        self.loop = loop
        self.room = Limit("publish", room)
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
        self, body: Coroutine[Any, Any, None], hold: Hold | None
    ) -> asyncio.Task[None]:
        """Run something beside its sender, inside nothing but its own hold."""
        token = holding.set(hold)
        try:
            task = self.loop.create_task(body)
        finally:
            holding.reset(token)
        self.tasks[task] = hold
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        hold = self.tasks.pop(task, None)
        self.watchers.discard(task)
        if hold is not None:
            self.room.give(hold)
        if not task.cancelled():
            task.exception()  # Only what stops a loop comes here, and it has.

    async def drain(
        self, spared: Container[Hold | None], seconds: float | None
    ) -> None:
        """Wait for what runs, but for those who wait for us; then cancel the rest."""
        me = asyncio.current_task()
        ends = None if seconds is None else self.loop.time() + seconds
        while rest := [
            task
            for task, hold in self.tasks.items()
            if task is not me and hold not in spared
        ]:
            left = None if ends is None else ends - self.loop.time()
            if left is not None and left <= 0:
                for task in rest:
                    task.cancel()
                await asyncio.wait(rest, timeout=1)
                return
            await asyncio.wait(rest, timeout=left)

    def end(self) -> None:
        """Let the threads go; those still busy end by themselves."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


class Loops:
    """The loops a bus has waited on, and a private one for where there is none."""

    __slots__ = ("__weakref__", "_lock", "_private", "_room", "_stop", "_threads", "_works", "home")  # fmt: skip

    def __init__(self, room: int, threads: int) -> None:
        self.home: Home | None = None  # Where the last event was sent.
        self._lock = threading.Lock()
        self._private: asyncio.AbstractEventLoop | None = None
        self._room = room
        self._stop: Callable[[], object] | None = None
        self._threads = threads
        self._works: dict[asyncio.AbstractEventLoop, Work] = {}

    def here(self) -> Work:
        """The running loop's work; that of closed loops is forgotten."""
        loop = asyncio.get_running_loop()
        work = self._works.get(loop)
        if work is None:
            with self._lock:
                for closed in [each for each in self._works if each.is_closed()]:
                    self._works.pop(closed).end()
                work = self._works[loop] = Work(loop, self._room, self._threads)
        return work

    def works(self) -> list[Work]:
        """The work on every loop that runs."""
        with self._lock:
            return [work for work in self._works.values() if work.loop.is_running()]

    def run(self, body: Coroutine[Any, Any, Any], verb: str) -> Any:
        """Run it to its end from code that has no loop, and return its answer."""
        if current_loop() is not None:
            body.close()
            raise RuntimeError(f"a loop runs in this thread: 'await bus.{verb}(...)'")
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
        with self._lock:
            home = None if self.home is None else self.home.loop()
            for loop in (home, *reversed(self._works)):
                if loop is not None and loop.is_running():
                    return loop
            if self._private is None:
                ready: Future[asyncio.AbstractEventLoop] = Future()
                thread = threading.Thread(target=_serve, args=(ready,), daemon=True)
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
