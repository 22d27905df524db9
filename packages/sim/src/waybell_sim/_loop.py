"""An event loop whose schedule is drawn from a seed and whose clock is virtual."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
import random
import weakref
from asyncio import events
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from waybell_sim._errors import DeadlockError, LivelockError, NotSimulated
from waybell_sim._pending import describe


# Keeps the schedule's stream apart from the one the program draws from, so that one
# more draw in the program does not reshuffle its steps.
_SCHEDULE = 0x5EED
# Timers nearer to each other than this fire together: 0.1 + 0.2 collides with 0.3.
_RESOLUTION = 1e-9
# The run's Random, for whatever wants to be as reproducible as the schedule.
run_rng: contextvars.ContextVar[random.Random] = contextvars.ContextVar("run_rng")


class SimTask(asyncio.Task[Any]):
    """A task that hashes by its number of birth, not by its address.

    asyncio keeps tasks in sets (`TaskGroup`, `wait`) and cancels in their order; with
    addresses for hashes the schedule would differ from one process to the next.
    """

    __slots__ = ("_number",)

    def __init__(self, coro: Any, number: int, **settings: Any) -> None:
        self._number = number  # before Task.__init__, which puts the task in a set
        super().__init__(coro, **settings)

    def __hash__(self) -> int:
        """Return the number of birth."""
        return self._number


class SimLoop(asyncio.BaseEventLoop):
    """Runs one ready callback at a time, each drawn at random from all that are ready.

    It inherits `BaseEventLoop` rather than the abstract loop for its bookkeeping
    (running loop, asynchronous generators, debug mode), and replaces how callbacks
    wait: `_ready`, `_run_once` and `_timer_handle_cancelled` are the private names it
    relies on, unchanged from Python 3.11 to 3.13. No selector, no socket pair.

    Args:
        seed: Decides every choice.
        max_steps: Callbacks run before the run counts as a livelock.
        max_time: Virtual seconds before it does.
    """

    def __init__(self, seed: int, max_steps: int, max_time: float) -> None:
        super().__init__()
        self._draw = random.Random((seed << 64) | _SCHEDULE).random
        self.rng = random.Random(seed)
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._cancelled_timers = 0
        self._now = 0.0
        self._clock_resolution = _RESOLUTION
        self._born = 0
        self._timed = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = 256
        self._agens: weakref.WeakKeyDictionary[AsyncGenerator[Any, Any], int] | None
        self._agens = None
        self.steps = 0
        self._allowance = (max_steps, max_time)
        self._max_steps = max_steps
        self._max_time = max_time
        self._goal: Callable[[], bool] = bool
        self.lost: list[BaseException] = []

    # The clock and the queue.

    def time(self) -> float:
        """Return the virtual seconds since the run began."""
        return self._now

    def call_soon(self, callback, *args, context=None):
        """Make the callback one of those that may run next."""
        if self._closed:
            self._check_closed()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    # list.append is atomic and `_run_once` tolerates it at any point.
    call_soon_threadsafe = call_soon

    def call_later(self, delay, callback, *args, context=None):
        """Run the callback when the virtual clock has moved on by `delay` seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        """Run the callback when the virtual clock shows `when`."""
        self._check_closed()
        if math.isnan(when):
            raise ValueError(f"cannot wait until {when}")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timed += 1
        # The number decides between equal times: comparing handles is slow, and
        # they all fire together anyway.
        heapq.heappush(self._timers, (when, self._timed, timer))
        timer._scheduled = True
        return timer

    def _timer_handle_cancelled(self, handle):
        """Forget cancelled timers once they are most of the heap."""
        if not handle._scheduled:
            return
        self._cancelled_timers += 1
        if self._cancelled_timers > 100 and self._cancelled_timers * 2 > len(
            self._timers
        ):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def _run_once(self) -> None:
        """Run callbacks until the goal is met; `run_forever` then returns."""
        __tracebackhide__ = True
        ready, draw, goal = self._ready, self._draw, self._goal
        steps, bound = self.steps, self._max_steps
        try:
            while not (goal() or self._stopping):
                if not ready:
                    self._advance()
                    continue
                if steps >= bound:
                    raise LivelockError(self._describe(f"no end after {steps} steps"))
                steps += 1
                waiting = len(ready)
                handle = ready.pop()
                if waiting > 1:
                    chosen = int(draw() * waiting)
                    if chosen < waiting - 1:
                        handle, ready[chosen] = ready[chosen], handle
                if not handle._cancelled:
                    handle._run()
        finally:
            self.steps = steps
        self._stopping = True

    def _advance(self) -> None:
        """Move the clock to the next timer and make all that are due ready."""
        __tracebackhide__ = True
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
            self._cancelled_timers -= 1
        if not timers or timers[0][0] == math.inf:
            raise DeadlockError(self._describe("nothing is ready and no timer is set"))
        if timers[0][0] > self._max_time:
            raise LivelockError(
                self._describe(f"no end after {self._max_time:g} virtual seconds")
            )
        due = timers[0][0] + _RESOLUTION
        while timers and timers[0][0] <= due:
            when, _, timer = heapq.heappop(timers)
            timer._scheduled = False
            self._now = max(self._now, when)
            if timer._cancelled:
                self._cancelled_timers -= 1
            else:
                self._ready.append(timer)

    # Tasks and generators.

    def create_task(self, coro, *, name=None, context=None, **settings):
        """Start a task; it is numbered, and kept until it is done.

        Keeping it makes the run independent of when the garbage collector would have
        found a task that nobody holds.
        """
        self._check_closed()
        self._born += 1
        name = f"Task-{self._born}" if name is None else name
        if self._task_factory is None:
            task = SimTask(
                coro, self._born, loop=self, name=name, context=context, **settings
            )
        else:
            task = super().create_task(coro, name=name, context=context, **settings)
        self._tasks.append(task)
        if len(self._tasks) >= self._prune_at:
            self._tasks = [t for t in self._tasks if not t.done() or _unseen(t)]
            self._prune_at = 2 * len(self._tasks) + 256
        return task

    def _asyncgen_firstiter_hook(self, agen) -> None:
        super()._asyncgen_firstiter_hook(agen)
        if self._agens is None:
            self._agens = weakref.WeakKeyDictionary()
        self._timed += 1
        self._agens[agen] = self._timed

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators still open, in the order of their start."""
        self._asyncgens_shutdown_called = True
        born = self._agens or {}
        agens = sorted(self._asyncgens, key=lambda agen: born[agen])
        self._asyncgens.clear()
        closing = (agen.aclose() for agen in agens)
        for error in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(error, Exception):
                self.lost.append(error)

    def run_in_executor(self, executor, func, *args):
        """Run the function inline, as one step among the others.

        As in a thread it finds no running loop and none of the caller's context
        (`asyncio.to_thread` brings it along itself).
        """
        self._check_closed()
        future = self.create_future()
        context = contextvars.Context()
        context.run(run_rng.set, self.rng)
        self.call_soon(self._run_inline, future, func, args, context=context)
        return future

    def _run_inline(self, future, func, args) -> None:
        if future.cancelled():
            return
        events._set_running_loop(None)
        try:
            result = func(*args)
        except KeyboardInterrupt:
            raise
        except StopIteration as exc:  # a future cannot carry it
            error = RuntimeError(f"{func!r} raised StopIteration")
            error.__cause__ = exc
            future.set_exception(error)
        except BaseException as exc:
            future.set_exception(exc)
        else:
            future.set_result(result)
        finally:
            events._set_running_loop(self)

    def set_default_executor(self, executor) -> None:
        """Ignore the executor: nothing here runs in a thread."""

    async def shutdown_default_executor(self, timeout=None) -> None:
        """Do nothing: there is no executor."""

    def default_exception_handler(self, context) -> None:
        """Keep what asyncio would only log, so that it fails the run."""
        if self._closed:
            super().default_exception_handler(context)
            return
        error = context.get("exception") or RuntimeError(context["message"])
        error.add_note(f"asyncio: {context['message']}")
        self.lost.append(error)

    # One run.

    def close(self) -> None:
        """Close the loop and let go of its tasks, which would keep it alive."""
        super().close()
        self._tasks.clear()
        self._timers.clear()

    def run(self, coro: Coroutine[Any, Any, Any], context: contextvars.Context) -> None:
        """Run the program, then end what it left behind.

        Raises:
            BaseException: What the program raised, else the first error that nobody
                retrieved.
        """
        __tracebackhide__ = True
        main = self.create_task(coro, name="main", context=context)
        failure = self._drive(main.done) or _error_of(main)
        self._max_steps = self.steps + self._allowance[0]
        self._max_time = self._now + self._allowance[1]
        ending = self._end_tasks() or self._end_generators()
        errors = [failure, ending, *self.lost, *_unretrieved(self._tasks)]
        errors = [error for error in errors if error is not None]
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"also: {type(other).__name__}: {other}")
            raise errors[0]

    def _drive(self, goal: Callable[[], bool]) -> BaseException | None:
        """Run until the goal is met; return what prevented it."""
        __tracebackhide__ = True
        self._goal = goal
        try:
            self.run_forever()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            return exc
        return None if goal() else RuntimeError("loop.stop() came before the end")

    def _end_tasks(self) -> BaseException | None:
        """Cancel the tasks still pending and let them finish."""
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()

            def finished(pending: list[asyncio.Task[Any]] = pending) -> bool:
                while pending and pending[-1].done():
                    pending.pop()
                return not pending

            if failure := self._drive(finished):
                failure.add_note("it was already over: its tasks had been cancelled")
                return failure
        return None

    def _end_generators(self) -> BaseException | None:
        if not self._asyncgens:
            return None
        return self._drive(self.create_task(self.shutdown_asyncgens()).done)

    def _describe(self, what: str) -> str:
        """Say what each pending task awaits, and which have failed unnoticed."""
        lines = [f"  {describe(task)}" for task in self._tasks if not task.done()]
        lines += [f"  lost: {error!r}" for error in _unretrieved(self._tasks)]
        return "\n".join([f"{what}; at {self._now:g} s pending are", *lines])


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    __tracebackhide__ = True
    try:
        task.result()
    except BaseException as exc:
        return exc
    return None


def _unseen(task: asyncio.Task[Any]) -> bool:
    # What asyncio itself asks before it logs "exception was never retrieved".
    return task.done() and task._log_traceback


def _unretrieved(tasks: list[asyncio.Task[Any]]) -> list[BaseException]:
    errors = (task.exception() for task in tasks if _unseen(task))
    return [error for error in errors if error is not None]


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(self, *args, **kwargs):
        raise NotSimulated(
            f"loop.{name} is not simulated: put a fake behind the interface under test"
        )

    return refuse


_OUTSIDE = """
    add_reader add_writer remove_reader remove_writer
    add_signal_handler remove_signal_handler
    connect_accepted_socket connect_read_pipe connect_write_pipe
    create_connection create_datagram_endpoint create_server
    create_unix_connection create_unix_server getaddrinfo getnameinfo
    sendfile sock_accept sock_connect sock_recv sock_recv_into sock_recvfrom
    sock_recvfrom_into sock_sendall sock_sendfile sock_sendto start_tls
    subprocess_exec subprocess_shell
"""
for _name in _OUTSIDE.split():
    setattr(SimLoop, _name, _refusal(_name))
