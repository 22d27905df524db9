"""Several handlers at once, none of which outlives the one who asked."""

# pyright: reportPrivateUsage=false

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Self

from waybell_bus._event import Event, Outcome


Job = asyncio.Task[Outcome]  # It has the name of the handler.
Clock = Callable[[], float]
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def launch(
    bodies: Sequence[Coroutine[Any, Any, Outcome]], names: Sequence[str]
) -> list[Job]:
    """Start each as a task in its own copy of the caller's context."""
    loop = asyncio.get_running_loop()
    task: Any = asyncio.Task
    jobs: list[Job] = []
    pairs = zip(bodies, names, strict=True)
    if loop.get_task_factory() is not None:
        return [loop.create_task(body, name=name) for body, name in pairs]
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
    return jobs


async def reap(jobs: Sequence[Job]) -> None:
    """Cancel what is left and wait for its end, however often we are cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while rest := [job for job in jobs if not job.done()]:
        for job in rest:
            job.cancel()
        try:
            await asyncio.wait(rest)
        except asyncio.CancelledError as error:
            cancelled = error
    for job in jobs:
        if not job.cancelled():
            job.exception()  # Or asyncio would say that nobody asked.
    if cancelled is not None:
        raise cancelled


async def collect(jobs: list[Job], clock: Clock) -> list[Outcome]:
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
                outcomes.append(_cancelled(job, error, clock() - begun))
            if me and me.cancelling() > asked:  # Also where the job made light of it.
                raise asyncio.CancelledError  # noqa: TRY301 - caught to clean up
    except BaseException:
        await reap(jobs)
        raise
    return outcomes


def _cancelled(job: Job, error: asyncio.CancelledError, seconds: float) -> Outcome:
    return Outcome(job.get_name(), None, error, seconds)


class Stream:
    """The outcomes of several handlers, as they finish; made by `EventBus.stream`.

    The event is sent on entering the `async with` block, and leaving it cancels what
    has not finished.
    """

    __slots__ = ("_begin", "_begun", "_event", "_finished", "_jobs")

    def __init__(self, begin: Callable[[], tuple[Event, list[Job]]]) -> None:
        self._begin = begin
        self._begun = 0.0
        self._event: Event | None = None
        self._finished: asyncio.Queue[Job] = asyncio.Queue()
        self._jobs: list[Job] = []  # What has not been told of.

    async def __aenter__(self) -> Self:
        self._begun = asyncio.get_running_loop().time()
        self._event, self._jobs = self._begin()
        for job in self._jobs:
            job.add_done_callback(self._finished.put_nowait)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._event is None:
            raise RuntimeError("a stream is read inside 'async with bus.stream(...)'")
        if not self._jobs:
            raise StopAsyncIteration
        job = await self._finished.get()
        self._jobs.remove(job)
        try:
            return job.result()
        except asyncio.CancelledError as error:
            seconds = asyncio.get_running_loop().time() - self._begun
            return _cancelled(job, error, seconds)

    async def aclose(self) -> None:
        """Cancel what has not finished, and wait for its end."""
        jobs, self._jobs = self._jobs, []
        await reap(jobs)
        if self._event is not None:
            self._event._trail = None  # noqa: SLF001 - nobody waits any more
