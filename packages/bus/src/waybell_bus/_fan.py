"""Several handlers at once, none of which outlives the one who asked."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Self

from waybell_bus._event import Outcome


Job = asyncio.Task[Outcome]
Begun = tuple[list[Job], list[str]]  # What runs, and the names of the handlers.
Clock = Callable[[], float]
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def launch(bodies: Sequence[Coroutine[Any, Any, Outcome]], names: list[str]) -> Begun:
    """Start each as a task in its own copy of the caller's context."""
    loop = asyncio.get_running_loop()
    task: Any = asyncio.Task
    jobs: list[Job] = []
    pairs = zip(bodies, names, strict=True)
    if loop.get_task_factory() is not None:
        return [loop.create_task(body, name=name) for body, name in pairs], names
    try:
        for body, name in pairs:
            # What `create_task` does, without its overhead; an eager task (3.12) takes
            # no turn of the loop unless it waits.
            jobs.append(task(body, loop=loop, name=name, **_EAGER))
    except BaseException:  # An eager one was interrupted, and so are we.
        for job in jobs:
            job.cancel()
        for body in bodies[len(jobs) + 1 :]:
            body.close()
        raise
    return jobs, names


async def reap(jobs: Sequence[Job]) -> None:
    """Cancel what is left and wait for its end, however often we are cancelled."""
    while rest := [job for job in jobs if not job.done()]:
        for job in rest:
            job.cancel()
        # Our caller is being cancelled already, and says so.
        with suppress(asyncio.CancelledError):
            await asyncio.wait(rest)
    for job in jobs:
        if not job.cancelled():
            job.exception()  # Or asyncio would say that nobody asked.


async def collect(jobs: list[Job], names: list[str], clock: Clock) -> list[Outcome]:
    """The outcome of each, in order; cancelling this cancels them.

    One that was cancelled by itself has the cancellation as its error: it is not ours.
    """
    begun = clock()
    me = asyncio.current_task()
    asked = me.cancelling() if me else 0
    outcomes: list[Outcome] = []
    try:
        for job in jobs:
            try:
                outcomes.append(await job)
            except asyncio.CancelledError as error:
                if me and me.cancelling() > asked:
                    raise
                name = names[len(outcomes)]
                outcomes.append(Outcome(name, None, error, clock() - begun))
    except BaseException:
        await reap(jobs)
        raise
    return outcomes


class Stream:
    """The outcomes of several handlers, as they finish; made by `EventBus.stream`.

    The event is sent on entering the `async with` block, and leaving it cancels what
    has not finished.
    """

    __slots__ = ("_begin", "_begun", "_end", "_finished", "_names")

    def __init__(self, begin: Callable[[], Begun], end: Callable[[], object]) -> None:
        self._begin = begin
        self._begun = 0.0
        self._end = end
        self._finished: asyncio.Queue[Job] = asyncio.Queue()
        self._names: dict[Job, str] | None = None  # Of what has not been told of.

    async def __aenter__(self) -> Self:
        self._begun = asyncio.get_running_loop().time()
        self._names = dict(zip(*self._begin(), strict=True))
        for job in self._names:
            job.add_done_callback(self._finished.put_nowait)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._names is None:
            raise RuntimeError("a stream is read inside 'async with bus.stream(...)'")
        if not self._names:
            raise StopAsyncIteration
        job = await self._finished.get()
        name = self._names.pop(job)
        try:
            return job.result()
        except asyncio.CancelledError as error:
            seconds = asyncio.get_running_loop().time() - self._begun
            return Outcome(name, None, error, seconds)

    async def aclose(self) -> None:
        """Cancel what has not finished, and wait for its end."""
        await reap(list(self._names or ()))
        self._names = {}
        self._end()
