"""The run loop: what a worker does with a task."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the loop works on the queue's own lists

import asyncio
import time
from array import array
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import Context, copy_context
from types import coroutine
from typing import Any, NamedTuple, Protocol

from waybell_scheduler._call import BARE, FED, OWN, shape, takes
from waybell_scheduler._errors import CircuitOpenError
from waybell_scheduler._graph import CANCELLED, FAILED, RUNNING, SUSPENDED, WAITING
from waybell_scheduler._limits import Limits
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._results import Facts
from waybell_scheduler._staff import Staff
from waybell_scheduler._steps import Pending


_FEW = 512  # tasks whose order costs nothing to speak of
_SLOW = 0.005  # seconds
_TURN = 0.005  # seconds that tasks which never wait may keep the loop for themselves


@coroutine
def rest(
    coro: Coroutine[Any, Any, Any], context: Context, yielded: Any
) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that has begun in a context of its own.

    An `asyncio.Task` for each would cost more than all the rest of the loop.
    """
    run, send = context.run, coro.send
    try:
        while True:
            try:
                value = yield yielded
            except GeneratorExit:
                run(coro.close)
                raise
            except BaseException as error:
                yielded = run(coro.throw, error)
            else:
                yielded = run(send, value)
    except StopIteration as end:
        return end.value


class Ended(NamedTuple):
    """How one task ended."""

    state: int
    value: Any
    facts: Facts
    seconds: float


class Attends(Protocol):
    """Does tasks that have policies."""

    async def __call__(self, i: int, closing: Callable[[], bool]) -> Ended:
        """Do one in an `asyncio.Task` of its own."""
        ...

    def ended(self, i: int, ended: Ended) -> None:
        """Hear how it ended, once the queue knows."""
        ...


class Crew(Staff):
    """The workers of a run.

    A plain task is driven in a context of its own on the worker's `asyncio.Task`;
    where it has a policy, or the run has, it gets an `asyncio.Task` too.

    Args:
        queue: The tasks.
        bound: Workers at the most.
        attend: Does the tasks that are not plain.
        plain: Tasks without a policy are.
        call: An async function for plain tasks that have no `run`.
        limits: How many tasks each agent may have at a time.
    """

    __slots__ = (
        "_attend", "_call", "_clock", "_lag", "_limits", "_plain",
        "_shapes", "facts", "pending", "seconds",
    )  # fmt: skip

    def __init__(
        self,
        queue: TaskQueue,
        bound: int,
        attend: Attends,
        *,
        plain: bool,
        call: Any = None,
        limits: Callable[[str | None], int | None] | None = None,
    ) -> None:
        # In many plain tasks, order is worth its price once one has proved slow.
        super().__init__(queue, bound, not plain or len(queue.tasks) <= _FEW)
        self._attend, self._plain, self._call = attend, plain, call
        self._limits = None if limits is None else Limits(queue, limits)
        alone = shape(call) == FED and not takes(call, 2)
        self._shapes: dict[Any, int] = {None: BARE if alone else OWN}
        # What loop.time calls, where it does no more than that.
        usual = type(self._loop).time is asyncio.BaseEventLoop.time
        self._clock = time.monotonic if usual else self._loop.time
        self._lag = 0.0  # seconds beyond what a quick task may wait, all in all
        self.facts: dict[int, Facts] = {}
        self.seconds = array("d", bytes(8 * len(queue.tasks)))
        self.pending: dict[int, Mapping[str, Pending]] = {}

    def added(self) -> None:
        """Take up a task that was added to the queue."""
        self.seconds.append(0.0)
        if not self._closing and self._queue._frontier:
            self.grow()

    def _working(self) -> Coroutine[Any, Any, None]:
        return self._work() if self._plain else self._work_slowly()

    async def _work(self) -> None:  # noqa: PLR0915  # budget: the hot path, in one piece
        queue, shapes, clock = self._queue, self._shapes, self._clock
        tasks, state, results = queue.tasks, queue._state, queue._results
        done, inputs, call, bound = queue._done, queue._inputs, self._call, self._bound
        me: Any = asyncio.current_task()
        seconds = self.seconds
        cancelling, until, turns = me.cancelling, clock() + _TURN, 0
        while not self._closing:
            try:
                i = queue._frontier.popleft()
            except IndexError:
                if (work := self._pause()) is not None:
                    await work
                continue
            if state[i]:
                continue
            task = tasks[i]
            fn = task.run
            form = shapes.get(fn) if task.plain else OWN
            if form is None:
                form = shapes[fn] = shape(fn)
            if form == OWN:
                await self._one(i)
                continue
            state[i] = RUNNING
            try:
                if form == FED:
                    coro = fn(inputs(i))  # type: ignore[misc]
                else:
                    coro = call(task) if fn is None else fn()
                context = copy_context()
                try:
                    yielded = context.run(coro.send, None)
                except StopIteration as end:
                    value = end.value
                else:
                    if (self._active < bound or self._orders) and queue._frontier:
                        self.grow()
                    began = clock()
                    value = await rest(coro, context, yielded)
                    seconds[i] = took = clock() - began
                    until = began + took + _TURN  # the loop has just had its turn
                    if took > _SLOW or self._lag > 0.0:
                        self._wait_told(took)
            except CircuitOpenError:
                await self._one(i)  # which is held there, if it may be
            except BaseException as error:
                self._failed(i, error)
            else:
                if isinstance(value, Pending):
                    self._failed(i, value)
                else:
                    results[i] = value
                    done(i)
            if cancelling():
                # It has cancelled itself, or left a request behind: the next task
                # must not find that, so another worker takes over.
                if not self._closing:
                    self._retire()
                return
            turns += 1
            if not turns & 15 and clock() > until:
                await asyncio.sleep(0)
                until = clock() + _TURN

    def _wait_told(self, took: float) -> None:
        """Work out the order once tasks have proved slow, and not only the machine.

        One hiccup makes all tasks under way late at once; quick ones make up for it.
        """
        self._lag += took - _SLOW
        if self._lag > 4 * _SLOW * self._bound and self._queue._ranks is None:
            self._queue._rank()

    def _failed(self, i: int, error: BaseException) -> None:
        """Take a task as failed, or end the run."""
        if isinstance(error, Pending):
            self._queue._state[i] = SUSPENDED
            self.pending[i] = {error.key: error}
        elif isinstance(error, Exception):
            self._queue._fail(i, error)
        elif isinstance(error, asyncio.CancelledError) and not self._closing:
            self._queue._fail(i, error, CANCELLED)
        else:
            self._put_back(i)
            if not self._closing:
                self._abort(error)

    def _put_back(self, i: int) -> None:
        """Have a task as it was before it started."""
        self._queue._state[i] = WAITING
        self._queue._frontier.append(i)

    async def _work_slowly(self) -> None:
        queue, state, limits = self._queue, self._queue._state, self._limits
        while not self._closing:
            try:
                i = queue._frontier.popleft()
            except IndexError:
                if limits is None or not limits.forward():
                    await self._pause_or_end()
                continue
            if not (state[i] or (limits is not None and limits.park(i))):
                await self._one(i)

    async def _pause_or_end(self) -> None:
        if (work := self._pause()) is not None:
            await work

    async def _one(self, i: int) -> None:
        """Do a task in an `asyncio.Task` of its own."""
        queue = self._queue
        queue._state[i] = RUNNING
        self.grow()
        task: asyncio.Task[Ended] = self._loop.create_task(
            self._attend(i, self.closing),
            name=f"waybell task {queue.tasks[i].id}",
            context=self._context.copy(),
        )
        try:
            ended = await task
        except BaseException as error:
            self._put_back(i)
            if not self._closing:
                self._abort(error)
        else:
            self._settle(i, ended)
        finally:
            if self._limits is not None:
                self._limits.leave(i)

    def _settle(self, i: int, ended: Ended) -> None:
        """Tell the queue how a task ended."""
        queue = self._queue
        self.facts[i], self.seconds[i] = ended.facts, ended.seconds
        if ended.state in (FAILED, CANCELLED):
            queue._fail(i, ended.value, ended.state)
        elif ended.state == SUSPENDED:
            queue._state[i] = SUSPENDED
            self.pending[i] = ended.value
        else:
            queue._results[i] = ended.value
            queue._done(i)
        self._attend.ended(i, ended)
