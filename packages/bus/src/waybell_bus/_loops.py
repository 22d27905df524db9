"""What a bus keeps for each event loop, and its doors for code without one."""

import asyncio
import os
import threading
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from time import monotonic
from typing import Any

from waybell_bus._limit import Hold, Limit, holding


def current_loop() -> AbstractEventLoop | None:
    """The loop that runs in this thread, if any."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


class Work:
    """The running tasks and threads of one bus on one loop."""

    __slots__ = ("_pool", "clock", "loop", "room", "tasks", "threads", "watching")

    def __init__(
        self, loop: AbstractEventLoop, room: int, threads: int, watching: int
    ) -> None:
        self.loop = loop
        # The usual loop's `time` is a slow way to say this; other loops are asked.
        usual = type(loop).time is asyncio.BaseEventLoop.time
        self.clock = monotonic if usual else loop.time
        self.room = Limit("publish", room)
        self.threads = Limit("the thread pool", threads)
        self.watching = Limit("the watchers", watching)
        self.tasks: dict[asyncio.Task[None], Hold] = {}
        self._pool: ThreadPoolExecutor | None = None

    def pool(self) -> ThreadPoolExecutor:
        """The threads, started as needed."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads.size, "waybell-bus")
        return self._pool

    def spawn(self, body: Coroutine[Any, Any, None], hold: Hold) -> asyncio.Task[None]:
        """Run something beside its sender, inside nothing but its own hold."""
        hold.outer = None
        token = holding.set(hold)
        task = self.loop.create_task(body)
        holding.reset(token)
        self.tasks[task] = hold
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        hold = self.tasks.pop(task)
        hold.limit.give(hold)
        if not task.cancelled():
            task.exception()  # Only what stops a loop comes here, and it has.

    async def drain(self, spared: list[Hold], seconds: float | None) -> None:
        """Wait for what runs, but for those who wait for us; then cancel the rest."""
        ends = float("inf") if seconds is None else self.loop.time() + seconds
        while rest := [task for task, hold in self.tasks.items() if hold not in spared]:
            left = ends - self.loop.time()
            if left <= 0:
                for task in rest:
                    task.cancel()
                await asyncio.wait(rest, timeout=1)
                return
            await asyncio.wait(rest, timeout=None if seconds is None else left)

    def end(self) -> None:
        """Let the threads go; those still busy end by themselves."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


class Loops:
    """The loops a bus has waited on, and a private one for where there is none."""

    __slots__ = ("__weakref__", "_bounds", "_lock", "_private", "_works")
    _private: tuple[AbstractEventLoop, Callable[[], object]] | None

    def __init__(self, room: int, threads: int, watching: int) -> None:
        self._bounds = (room, threads, watching)
        self.renew()
        _everywhere.add(self)

    def renew(self) -> None:
        """Know of no loop: in the child of a fork those of its parent run no more."""
        self._lock = threading.Lock()
        self._private = None
        self._works: dict[AbstractEventLoop, Work] = {}

    def here(self) -> Work:
        """The running loop's work; that of closed loops is forgotten."""
        loop = asyncio.get_running_loop()
        work = self._works.get(loop)
        if work is None:
            with self._lock:
                for closed in [each for each in self._works if each.is_closed()]:
                    self._works.pop(closed).end()
                work = self._works[loop] = Work(loop, *self._bounds)
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

    def _live(self) -> AbstractEventLoop:
        with self._lock:
            for loop in reversed(self._works):
                if loop.is_running():
                    return loop
            if self._private is None:
                ready: Future[AbstractEventLoop] = Future()
                thread = threading.Thread(target=_serve, args=(ready,), daemon=True)
                thread.start()
                loop = ready.result()
                self._private = loop, weakref.finalize(self, _halt, loop, thread)
            return self._private[0]

    def end(self) -> None:
        """Let go of threads, and of the private loop."""
        with self._lock:
            works, self._works = self._works, {}
            private, self._private = self._private, None
        for work in works.values():
            work.end()
        if private is not None:
            private[1]()


_everywhere: "weakref.WeakSet[Loops]" = weakref.WeakSet()
os.register_at_fork(after_in_child=lambda: [*map(Loops.renew, [*_everywhere])])


def _serve(ready: "Future[AbstractEventLoop]") -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        ready.set_result(loop)
        loop.run_forever()


def _halt(loop: AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(timeout=5)
