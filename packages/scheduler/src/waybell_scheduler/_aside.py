"""A run that plain code waits for, also where an event loop is running."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar


T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, T]]


def finished(main: Main[T]) -> T:
    """What a coroutine returns, run to its end here, or aside if a loop is here."""
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - documented for loops
        return asyncio.run(main())
    result: T = Aside(copy_context().run, main).wait()
    return result


class Aside:
    """A coroutine on a loop of its own in a thread of its own.

    Args:
        enter: Runs a function in the context of whoever waits.
        main: Makes the coroutine.
    """

    __slots__ = ("_cancels", "_main", "_over", "_result", "_stop", "_thread")

    def __init__(
        self, enter: Callable[[Callable[[], None]], None], main: Main[Any]
    ) -> None:
        self._main = main
        self._result: Any = None
        self._cancels: list[Callable[[], object]] = []
        self._over, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=enter, args=(self._work,), name="waybell run"
        )

    def wait(self) -> Any:
        """Its result; interrupted, nothing is left running."""
        thread = self._thread
        try:
            thread.start()
            self._over.wait()  # join() takes a thread for ended if it is interrupted
        except BaseException:  # Ctrl-C in a notebook
            self._stop.set()
            for cancel in self._cancels:
                with suppress(RuntimeError):  # the loop has ended by itself
                    cancel()
            if thread.ident is not None:
                self._over.wait()
                thread.join()
            raise
        thread.join()
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def _work(self) -> None:
        try:
            self._result = asyncio.run(self._supervised())
        except BaseException as error:
            self._result = error
        finally:
            self._over.set()

    async def _supervised(self) -> Any:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        self._cancels.append(lambda: loop.call_soon_threadsafe(task.cancel))
        if self._stop.is_set():
            task.cancel()
        return await self._main()
