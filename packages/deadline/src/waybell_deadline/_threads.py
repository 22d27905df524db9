"""Deadlines where nothing can be cancelled: in threads."""

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial, wraps
from time import monotonic
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ._clock import clock_of


if TYPE_CHECKING:  # asyncio is slow to import
    from asyncio import AbstractEventLoop, Future

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("waybell_deadline")
_left_behind: set[threading.Thread] = set()


def carry(fn: Callable[P, T]) -> Callable[P, T]:
    """Wrap `fn` so that it runs in today's context, for executors, which have none.

    The whole context goes along: the current deadline, and any other context
    variable such as the current span.

    Args:
        fn: What to run; the wrapper may run many times, also at once.
    """
    context = copy_context()

    @wraps(fn)
    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context runs in one thread at a time, so each call gets its own copy.
        return context.copy().run(fn, *args, **kwargs)

    return carried


def abandoned() -> tuple[threading.Thread, ...]:
    """The threads that `run_in_thread` gave up waiting for and that still run."""
    ended = {thread for thread in tuple(_left_behind) if not thread.is_alive()}
    _left_behind.difference_update(ended)
    return tuple(_left_behind)


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Run `work` in a thread of its own, in a copy of the context; see `Deadline`."""
    from asyncio import get_running_loop  # noqa: PLC0415 - slow to import

    loop = get_running_loop()
    if clock_of(loop) is not monotonic:
        # A loop with a time of its own, as in a simulation, must run threads itself.
        return await loop.run_in_executor(None, copy_context().run, work)
    future: Future[T] = loop.create_future()
    # Not the loop's executor: its few threads would be used up by abandoned calls,
    # and asyncio.run would wait for them at the end.
    run = partial(_work, loop, future, partial(copy_context().run, work))
    thread = threading.Thread(target=run, name=f"waybell-deadline {name}", daemon=True)
    thread.start()
    try:
        return await future
    finally:
        if future.cancelled() and thread.is_alive():
            _left_behind.add(thread)
            many = len(abandoned())
            log.warning("abandoned a running thread: %s (of %d)", thread.name, many)


def _work(
    loop: "AbstractEventLoop", future: "Future[T]", work: Callable[[], T]
) -> None:
    try:
        settle = partial(future.set_result, work())
    except StopIteration as error:  # which a future would refuse to carry
        failure = RuntimeError("the function raised StopIteration")
        failure.__cause__ = error
        settle = partial(future.set_exception, failure)
    except BaseException as error:
        settle = partial(future.set_exception, error)
    try:
        loop.call_soon_threadsafe(lambda: future.done() or settle())
    except RuntimeError:  # the loop has closed: nobody waits any more
        log.info("%s ended after its loop", threading.current_thread().name)
