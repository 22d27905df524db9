"""Several things at once, of which none is left running."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar


T = TypeVar("T")


async def together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """Run all at once and wait for all; what they return or raise, in their order.

    Cancelled from outside, it cancels them and waits until they have ended.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks)
    finally:
        await stopped(tasks)
    return [_outcome(task) for task in tasks]


async def stopped(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel what still runs and wait for its end, also when cancelled meanwhile."""
    left: set[asyncio.Future[Any]] = {task for task in tasks if task.cancel()}
    again: asyncio.CancelledError | None = None
    while left:
        try:
            _, left = await asyncio.wait(left)
        except asyncio.CancelledError as error:
            again = error
            left = {task for task in left if task.cancel()}
    if again is not None:
        raise again


def _outcome(task: "asyncio.Task[T]") -> T | BaseException:
    if task.cancelled():  # by itself: whoever cancels us does not come here
        return asyncio.CancelledError()
    error = task.exception()
    return task.result() if error is None else error
