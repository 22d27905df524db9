"""The run loop: workers that take ready tasks, each doing one after another."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the loop works on the queue's own lists

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextvars import Context, copy_context
from types import coroutine
from typing import Any, NamedTuple

from waybell_scheduler._call import BARE, FED, OWN, shape, takes
from waybell_scheduler._graph import CANCELLED, FAILED, RUNNING, SUSPENDED, WAITING
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._results import Facts
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


Attend = Callable[[int], Awaitable[Ended]]


class Crew:
    """At most so many workers, made as tasks become ready.

    A worker is an `asyncio.Task` that does many tasks, each in a context of its own.
    Where a task has a policy, or the run has, it gets an `asyncio.Task` too.

    Args:
        queue: The tasks.
        bound: Workers at the most.
        attend: Does a task with all its policies, in an `asyncio.Task` of its own.
        ended: Told of each task that `attend` has done, once the queue knows.
        plain: Tasks without a policy need no `attend`.
        call: An async function for plain tasks that have no `run`.
        limits: How many tasks each agent may have at a time.
    """

    __slots__ = (
        "_active",
        "_attend",
        "_bound",
        "_busy",
        "_call",
        "_clock",
        "_closing",
        "_context",
        "_done",
        "_ended",
        "_idle",
        "_limits",
        "_live",
        "_loop",
        "_parked",
        "_plain",
        "_queue",
        "_ranks",
        "_shapes",
        "_workers",
        "facts",
        "fatal",
        "pending",
        "seconds",
    )  # fmt: skip

    def __init__(
        self,
        queue: TaskQueue,
        bound: int,
        attend: Attend,
        ended: Callable[[int, Ended], None] | None,
        *,
        plain: bool,
        call: Any = None,
        limits: Callable[[str | None], int | None] | None = None,
    ) -> None:
        self._queue, self._bound, self._attend, self._ended = (
            queue,
            bound,
            attend,
            ended,
        )
        self._plain, self._call, self._limits = plain, call, limits
        self._shapes: dict[Any, int] = {
            None: BARE if shape(call) == FED and not takes(call, 2) else OWN
        }
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._active, self._closing = 0, False
        # In many plain tasks, order is worth its price once one has proved slow.
        self._ranks = not plain or len(queue.tasks) <= _FEW
        # What loop.time calls, where it does no more than that.
        plain_time = type(self._loop).time is asyncio.BaseEventLoop.time
        self._clock = time.monotonic if plain_time else self._loop.time
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._busy: dict[str, int] = {}
        self._parked: dict[str, deque[int]] = {}
        self.facts: dict[int, Facts] = {}
        self.seconds = array("d", bytes(8 * len(queue.tasks)))
        self.pending: dict[int, Mapping[str, Pending]] = {}
        self.fatal: BaseException | None = None

    async def run(self) -> None:
        """Do all that can be done, and leave nothing running.

        Raises:
            BaseException: What is no task's own failure: an interrupt, a journal that
                cannot be written, a cancellation of the run.
        """
        if not self._queue._frontier:
            return
        self._hire(1)  # others as soon as it waits
        try:
            await self._done
        finally:
            await self._close()
        if self.fatal is not None:
            raise self.fatal

    async def _close(self) -> None:
        """Cancel what is in flight and wait for its end, however often cancelled."""
        self._closing = True
        again: asyncio.CancelledError | None = None
        while busy := [worker for worker in self._workers if not worker.done()]:
            for worker in busy:
                worker.cancel()
            try:
                await asyncio.wait(busy)
            except asyncio.CancelledError as error:
                again = error
        if again is not None:
            raise again

    def grow(self) -> None:
        """Have workers for what is ready, as far as the bound allows."""
        ready = len(self._queue._frontier)
        free = self._bound - self._active
        if ready > free and self._ranks:
            self._queue._rank()  # which to take first begins to matter
            self._ranks = False
        self._hire(min(ready, free))

    def _hire(self, many: int) -> None:
        for _ in range(many):
            self._active += 1
            if self._wake():
                continue
            work = self._work() if self._plain else self._work_slowly()
            worker = self._loop.create_task(work, context=self._context)
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    def _pause(self) -> "asyncio.Future[None] | None":
        """What a worker without work waits for; None if nobody has any."""
        self._active -= 1
        if not self._active or self._closing:
            self._end()
            return None
        idle: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(idle)
        return idle

    def _retire(self) -> None:
        """Give one's place to another worker."""
        self._active -= 1
        if self._queue._frontier:
            self.grow()
        elif not self._active:
            self._end()

    def _left(self, worker: "asyncio.Task[None]") -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._abort(error)

    def _abort(self, error: BaseException) -> None:
        """End the run for what is no task's own failure."""
        self.fatal = self.fatal or error
        self._end()

    def _end(self) -> None:
        self._closing = True
        while self._wake():
            pass
        if not self._done.done():
            self._done.set_result(None)

    def _wake(self) -> bool:
        """Have a worker go on that waits for work; False if there is none."""
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():  # by a cancellation from outside
                waiting.set_result(None)
                return True
        return False

    @property
    def queue(self) -> TaskQueue:
        """The tasks."""
        return self._queue

    @property
    def closing(self) -> bool:
        """Whether the run is being ended."""
        return self._closing

    def added(self) -> None:
        """Take up a task that was added to the queue."""
        self.seconds.append(0.0)
        if not self._closing and self._queue._frontier:
            self.grow()

    async def _work(self) -> None:  # budget: the hot path, in one piece
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
                    if (self._active < bound or self._ranks) and queue._frontier:
                        self.grow()
                    began = clock()
                    value = await rest(coro, context, yielded)
                    seconds[i] = took = clock() - began
                    if took > _SLOW and queue._ranks is None:
                        queue._rank()
            except BaseException as error:
                self._failed(i, error)
            else:
                if value.__class__ is Pending:
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
        queue, state = self._queue, self._queue._state
        while not self._closing:
            try:
                i = queue._frontier.popleft()
            except IndexError:
                if (work := self._pause()) is not None:
                    await work
                continue
            if not state[i] and not self._park(i):
                await self._one(i)

    def _park(self, i: int) -> bool:
        """Lay a task aside if its agent has enough to do; else count it."""
        agent = self._queue.tasks[i].agent
        limit = None if self._limits is None else self._limits(agent)
        if limit is None or agent is None:
            return False
        busy = self._busy.get(agent, 0)
        if busy >= limit:
            self._parked.setdefault(agent, deque()).append(i)
            return True
        self._busy[agent] = busy + 1
        return False

    def _unpark(self, i: int) -> None:
        """Let the next task of an agent come forward."""
        agent = self._queue.tasks[i].agent
        if agent in self._busy:
            self._busy[agent] -= 1
            waiting = self._parked.get(agent)
            if waiting:
                self._queue._frontier.append(waiting.popleft())

    async def _one(self, i: int) -> None:
        """Do a task in an `asyncio.Task` of its own."""
        queue = self._queue
        queue._state[i] = RUNNING
        self.grow()
        task: asyncio.Task[Ended] = self._loop.create_task(
            self._attend(i),  # type: ignore[arg-type]
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
            self._unpark(i)

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
        if self._ended is not None:
            self._ended(i, ended)
