"""Several things at once, of which none is left running."""

import asyncio
from asyncio import FIRST_EXCEPTION
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar


T = TypeVar("T")
_USUAL = Exception, asyncio.CancelledError


async def together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """Run all at once and wait for all; what they return or raise, in their order.

    Cancelled from outside, it cancels them and waits until they have ended; and so when
    one of them raises what is no `Exception`, such as `SystemExit`, which it raises.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    left = set(tasks)
    try:
        while left:
            ended, left = await asyncio.wait(left, return_when=FIRST_EXCEPTION)
            for error in map(_error, ended):
                if error is not None and not isinstance(error, _USUAL):
                    raise error
    finally:
        await stopped(tasks)
    errors = map(_error, tasks)
    return [t.result() if e is None else e for t, e in zip(tasks, errors, strict=True)]


async def stopped(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel what still runs and wait for its end, also when cancelled meanwhile."""
    tasks = list(tasks)
    left: set[asyncio.Future[Any]] = {task for task in tasks if task.cancel()}
    again: asyncio.CancelledError | None = None
    while left:
        try:
            _, left = await asyncio.wait(left)
        except asyncio.CancelledError as error:
            again = error
            left = {task for task in left if task.cancel()}
    for task in tasks:
        _error(task)  # so that nobody complains that nobody has asked for it
    if again is not None:
        raise again


def _error(task: "asyncio.Future[Any]") -> BaseException | None:
    if task.cancelled():  # by itself: whoever cancels us does not come here
        return asyncio.CancelledError()
    return task.exception()
