"""Doors for code that cannot await: a loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, Self, TypeVar


T = TypeVar("T")


class LoopThread:
    """An event loop in a thread, as a `with` block; it works inside a running loop too.

    What is called sees the caller's context. An interruption of the caller cancels
    what it waits for, and is raised when that has ended. What asyncio lets end a loop,
    such as a tool's `SystemExit`, ends only what raised it, and is raised by the call.
    """

    __slots__ = ("_loop", "_over", "_thread")

    def __enter__(self) -> Self:
        ready: Future[asyncio.AbstractEventLoop] = Future()
        self._over = False
        self._thread = threading.Thread(
            target=self._serve, args=(ready,), name="waybell-agents", daemon=True
        )
        self._thread.start()
        self._loop = ready.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self, ready: "Future[asyncio.AbstractEventLoop]") -> None:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            ready.set_result(loop)
            while not self._over:
                with suppress(KeyboardInterrupt, SystemExit):  # its task has it, too
                    loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end there, and give back what it returns or raises."""
        done: Future[T] = Future()
        tasks = list[asyncio.Task[None]]()

        async def carried() -> None:
            try:
                done.set_result(await work)
            except BaseException as error:  # also what would stop the loop
                done.set_exception(error)

        def begin() -> None:
            tasks.append(self._loop.create_task(carried()))

        def end() -> None:
            tasks[0].cancel()

        self._loop.call_soon_threadsafe(begin)  # which brings the caller's context
        try:
            while True:  # in turns, so that an interruption is seen on every system
                if wait([done], timeout=1).done:
                    return done.result()
        except BaseException:
            if not done.done():  # we were interrupted, not the work
                # One turn later: a task that has not begun could not tell its end.
                self._loop.call_soon_threadsafe(self._loop.call_soon, end)
                done.exception()
            raise


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from plain code, or inside a running loop."""
    with LoopThread() as loop:
        return loop.call(work)
