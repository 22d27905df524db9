"""What streams: one object for `async for` and `for`, ended by leaving its block."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Self, TypeVar

from waybell_agents._sync import LoopThread
from waybell_agents._together import stopped


T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
Work = Callable[[asyncio.Queue[T]], Awaitable[R_co]]


class Feed(Generic[T, R_co]):
    """The items of some work as they come, then its result.

    Use it as a block, `async with` or `with` (then its work runs on a loop in a thread
    of its own, also inside a running loop); leaving the block ends the work at once.

    Args:
        work: Runs and returns the result; it is given the queue that takes the items.
        ahead: Items that may be unread.
    """

    __slots__ = ("_items", "_task", "_thread", "_work")

    def __init__(self, work: Work[T, R_co], *, ahead: int = 64) -> None:
        self._work = work
        self._items: asyncio.Queue[T] = asyncio.Queue(ahead)
        self._task: asyncio.Future[R_co] | None = None
        self._thread: LoopThread | None = None

    def _result(self) -> R_co:
        if self._task is None or not self._task.done():
            raise RuntimeError("not ended yet: read it to its end or leave its block")
        return self._task.result()

    async def _start(self) -> "asyncio.Future[R_co]":
        if self._task is None:
            self._task = asyncio.ensure_future(self._work(self._items))
        return self._task

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the work, and wait until it has ended."""
        await stopped([await self._start()])  # its result is asked for elsewhere

    async def __anext__(self) -> T:
        task = await self._start()
        if self._items.empty() and not task.done():
            item = asyncio.ensure_future(self._items.get())
            try:
                both: list[asyncio.Future[Any]] = [item, task]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if item.done():
                    return item.result()
            finally:
                item.cancel()
        if self._items.empty():
            task.result()  # which raises what ended it
            raise StopAsyncIteration
        return self._items.get_nowait()

    def __enter__(self) -> Self:
        self._thread = LoopThread()
        self._thread.__enter__()
        self._thread.call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the work, and wait until it has ended."""
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                thread.call(self.aclose())
            finally:
                thread.__exit__()

    def __iter__(self) -> Self:
        return self

    __aiter__ = __iter__

    def __next__(self) -> T:
        if self._thread is None:
            raise RuntimeError("read it inside its block: `with ... as stream:`")
        try:
            return self._thread.call(self.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
