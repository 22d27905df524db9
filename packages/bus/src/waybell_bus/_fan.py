"""Several handlers at once, none of which outlives the one who asked."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from waybell_bus._event import Outcome


Job = asyncio.Task[Outcome]
Body = Coroutine[Any, Any, Outcome]
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def launch(bodies: Sequence[Body]) -> list[Job]:
    """Start each as a task in its own copy of the caller's context."""
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is not None:
        return [loop.create_task(body) for body in bodies]
    # What `create_task` does, without its overhead; an eager task (3.12) takes no
    # turn of the loop unless it waits.
    return [asyncio.Task(body, loop=loop, **_EAGER) for body in bodies]


async def reap(jobs: Sequence[Job]) -> None:
    """Cancel what is left and wait for its end, however often we are cancelled."""
    rest: Sequence[Job] = [job for job in jobs if not job.done()]
    while rest:
        for job in rest:
            job.cancel()
        # Our caller is being cancelled already, and says so.
        with suppress(asyncio.CancelledError):
            await asyncio.wait(rest)
        rest = [job for job in rest if not job.done()]
    for job in jobs:
        if not job.cancelled():
            job.exception()  # Or asyncio would say that nobody asked.


async def collect(
    jobs: Sequence[Job], names: Sequence[str], clock: Callable[[], float]
) -> list[Outcome]:
    """The outcome of each, in order; cancelling this cancels them.

    One that was cancelled by itself has the cancellation as its error: it is not ours.
    """
    begun = clock()
    me = asyncio.current_task()
    asked = me.cancelling() if me else 0
    outcomes: list[Outcome] = []
    try:
        for job, name in zip(jobs, names, strict=True):
            try:
                outcomes.append(job.result() if job.done() else await job)
            except asyncio.CancelledError as error:
                if me and me.cancelling() > asked:
                    raise
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

    async def __aenter__(self) -> Self:
        self._begun = asyncio.get_running_loop().time()
        self._names = dict(zip(*self._begin(), strict=True))
        for job in self._names:
            job.add_done_callback(self._note)
        return self

    def _note(self, job: Job) -> None:
        if self._names:  # Or the stream was closed meanwhile.
            self._finished.append(job)
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

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
        if self._names is None:
            raise RuntimeError("a stream is read inside 'async with bus.stream(...)'")
        loop = asyncio.get_running_loop()
        while not self._finished:
            if not self._names:
                raise StopAsyncIteration
            self._turn = loop.create_future()
            await self._turn
        job = self._finished.popleft()
        name = self._names.pop(job)
        try:
            return job.result()
        except asyncio.CancelledError as error:
            return Outcome(name, None, error, loop.time() - self._begun)

    async def aclose(self) -> None:
        """Cancel what has not finished, and wait for its end."""
        jobs = list(self._names or ())
        await reap(jobs)
        self._names = {}
        self._finished.clear()
        self._end()
