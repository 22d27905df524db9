"""Several handlers at once, none of which outlives the one who asked."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from waybell_bus._event import Outcome


Job = asyncio.Task[Outcome]
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def launch(bodies: Sequence[Coroutine[Any, Any, Outcome]]) -> list[Job]:
    """Start each as a task in its own copy of the caller's context."""
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is not None:
        return [loop.create_task(body) for body in bodies]
    # Without a factory `create_task` does no more than this, at a third of the cost
    # of a task; eager ones (3.12) need no turn of the loop unless they wait.
    return [asyncio.Task(body, loop=loop, **_EAGER) for body in bodies]


async def reap(jobs: Sequence[Job]) -> None:
    """Cancel what is left and wait for its end, however often we are cancelled."""
    for job in jobs:
        job.cancel()
    while rest := [job for job in jobs if not job.done()]:
        try:
            await asyncio.wait(rest)
        except asyncio.CancelledError:
            # Whoever cancels twice means it; the cancellation itself is raised by
            # the caller, who is being cancelled already.
            for job in rest:
                job.cancel()
    for job in jobs:
        if not job.cancelled():
            job.exception()


async def collect(
    jobs: Sequence[Job], names: Sequence[str], clock: Callable[[], float]
) -> list[Outcome]:
    """The outcome of each, in order; cancelling this cancels them.

    One that was cancelled by itself has the cancellation as its error: it is not ours.
    """
    begun = clock()
    me = asyncio.current_task()
    asked = me.cancelling() if me is not None else 0
    outcomes: list[Outcome] = []
    try:
        for job, name in zip(jobs, names, strict=True):
            try:
                outcomes.append(job.result() if job.done() else await job)
            except asyncio.CancelledError as error:
                if me is not None and me.cancelling() > asked:
                    raise
                outcomes.append(Outcome(name, None, error, clock() - begun))
    except BaseException:
        await reap(jobs)
        raise
    return outcomes


class Stream:
    """The outcomes of several handlers, as they finish.

    Made by `EventBus.stream`. The event is sent on entering its `async with` block (or
    by the first `async for` step); leaving the block cancels what has not finished.

    Args:
        begin: Sends the event, and gives the tasks with the names of the handlers.
        end: Called once nothing runs any more.
    """

    __slots__ = ("_begin", "_begun", "_end", "_finished", "_names", "_turn")

    def __init__(
        self,
        begin: Callable[[], tuple[list[Job], list[str]]],
        end: Callable[[], object],
    ) -> None:
        self._begin = begin
        self._end = end
        self._begun = 0.0
        self._names: dict[Job, str] | None = None
        self._finished: deque[Job] = deque()
        self._turn: asyncio.Future[None] | None = None

    def _start(self) -> dict[Job, str]:
        if self._names is None:
            self._begun = asyncio.get_running_loop().time()
            jobs, names = self._begin()
            self._names = dict(zip(jobs, names, strict=True))
            for job in jobs:
                job.add_done_callback(self._note)
        return self._names

    def _note(self, job: Job) -> None:
        self._finished.append(job)
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        names = self._start()
        while not self._finished:
            if not names:
                self._end()
                raise StopAsyncIteration
            loop = asyncio.get_running_loop()
            self._turn = loop.create_future()
            await self._turn
        job = self._finished.popleft()
        name = names.pop(job)
        try:
            return job.result()
        except asyncio.CancelledError as error:
            seconds = asyncio.get_running_loop().time() - self._begun
            return Outcome(name, None, error, seconds)

    async def aclose(self) -> None:
        """Cancel what has not finished, and wait for its end."""
        if self._names is None:
            self._names = {}
        jobs = list(self._names)
        self._names.clear()
        self._finished.clear()
        await reap(jobs)
        self._end()
