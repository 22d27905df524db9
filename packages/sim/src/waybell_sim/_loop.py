"""An event loop whose schedule is drawn from a seed and whose clock is virtual."""
# ruff: noqa: SLF001 - a loop is made of the internals of asyncio, listed below

import asyncio
import contextvars
import heapq
import math
import random
import weakref
from asyncio import events
from collections.abc import AsyncGenerator, Callable
from typing import Any, NoReturn

from waybell_sim._errors import DeadlockError, LivelockError, NotSimulated
from waybell_sim._tasks import SimFuture, SimTask, describe, retrieve, unseen


# Keeps the schedule's stream apart from the one the program draws from, so that one
# more draw in the program does not reshuffle its steps.
_SCHEDULE = 0x5EED
# Timers nearer to each other than this fire together: 0.1 + 0.2 collides with 0.3.
_RESOLUTION = 1e-9
run_rng: contextvars.ContextVar[random.Random] = contextvars.ContextVar("run_rng")

_OUTSIDE = """
    add_reader add_signal_handler add_writer connect_accepted_socket connect_read_pipe
    connect_write_pipe create_connection create_datagram_endpoint create_server
    create_unix_connection create_unix_server getaddrinfo getnameinfo remove_reader
    remove_signal_handler remove_writer sendfile sock_accept sock_connect sock_recv
    sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendfile
    sock_sendto start_tls subprocess_exec subprocess_shell
"""


class SimLoop(asyncio.BaseEventLoop):
    """Runs one ready callback at a time, each drawn at random from all that are ready.

    It relies on these private names of `BaseEventLoop`, unchanged from Python 3.11 to
    3.13: `_ready`, `_scheduled`, `_run_once`, `_stopping`, `_write_to_self` and
    `_asyncgen_firstiter_hook`, and of handles `_run`, `_cancelled`, `_scheduled` and
    `_when`. There is no selector, and no socket pair to wake one.
    """

    _scheduled: list[Any]
    _stopping: bool

    def __init__(self, seed: int, max_steps: int, max_time: float) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self._draw = random.Random((seed << 64) | _SCHEDULE).random
        self._ready: list[asyncio.Handle] = []  # a deque would pick slowly
        self._now, self._born, self.steps = 0.0, 0, 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.agens: weakref.WeakKeyDictionary[Any, None] = weakref.WeakKeyDictionary()
        self.lost: list[BaseException] = []
        self.max_steps, self.max_time = max_steps, max_time
        self._goal: Callable[[], bool] = bool

    def time(self) -> float:
        """Return the virtual seconds since the run began."""
        return self._now

    def pending(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, in the order they were started."""
        return [task for task in self.tasks if not task.done()]

    def idle_or_at(self, steps: int) -> bool:
        """Whether no callback could run now, or so many have."""
        return not self._ready or self.steps >= steps

    def drive(self, goal: Callable[[], bool]) -> BaseException | None:
        """Run callbacks until the goal is met; return what prevented it."""
        self._goal = goal
        try:
            self.run_forever()
        except (DeadlockError, LivelockError) as exc:
            return exc.with_traceback(None)  # our own lines tell nobody anything
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            return exc
        return None if goal() else RuntimeError("loop.stop() came before the end")

    def _run_once(self) -> None:
        """Do the whole work of `run_forever`, which returns afterwards."""
        ready, draw, goal = self._ready, self._draw, self._goal
        while not (goal() or self._stopping):
            waiting = len(ready)
            if not waiting:
                self._advance()
                continue
            if self.steps >= self.max_steps:
                raise LivelockError(self._describe(f"no end after {self.steps} steps"))
            self.steps += 1
            # The chosen one changes places with the last: a cost that does not grow
            # with the queue, and safe when another thread appends meanwhile.
            handle = ready.pop()
            if waiting > 1 and (chosen := int(draw() * waiting)) < waiting - 1:
                handle, ready[chosen] = ready[chosen], handle
            if not handle._cancelled:
                handle._run()
        self._stopping = True

    def _advance(self) -> None:
        """Move the clock to the next timer and make all that are due ready."""
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        first = timers[0]._when if timers else math.inf
        if first == math.inf:
            raise DeadlockError(self._describe("nothing is ready and no timer is set"))
        if not first <= self.max_time:  # nan never is
            raise LivelockError(self._describe(f"the next timer is only at {first} s"))
        while timers and timers[0]._when <= first + _RESOLUTION:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._now = max(self._now, timer._when)
            self._ready.append(timer)

    def _describe(self, what: str) -> str:
        lines = [describe(task) for task in self.pending()]
        lines += [f"failed, unseen: {error!r}" for error in retrieve(self.tasks)]
        return "\n  ".join([f"{what}; pending at {self._now:g} s:", *lines])

    def _write_to_self(self) -> None:
        """Wake nobody: the loop never sleeps."""

    def create_future(self) -> SimFuture:
        """Return a future that keeps its place in a set."""
        future = SimFuture(loop=self)
        self._born += 1
        future.number = self._born
        return future

    def create_task(self, coro: Any, **settings: Any) -> asyncio.Task[Any]:
        """Start a task, numbered and kept until it is done.

        Keeping it makes the run independent of when the garbage collector would have
        found a task that nobody holds.
        """
        self._born += 1
        settings["name"] = settings.get("name") or f"Task-{self._born}"
        if self.get_task_factory() is None:
            task: asyncio.Task[Any] = SimTask(self._born, coro, loop=self, **settings)
        else:
            task = super().create_task(coro, **settings)
        self.tasks.append(task)
        if len(self.tasks) % 1024 == 0:
            self.tasks = [t for t in self.tasks if not t.done() or unseen(t)]
        return task

    def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        self.agens[agen] = None

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators still open, in the order they began."""
        closing = [agen.aclose() for agen in self.agens]
        ends = await asyncio.gather(*closing, return_exceptions=True)
        self.lost += [end for end in ends if isinstance(end, BaseException)]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> SimFuture:  # type: ignore[override]
        """Run the function inline, as one step among the others.

        As in a thread it finds no running loop and none of the caller's context
        (`asyncio.to_thread` brings that along itself).
        """
        del executor
        future, context = self.create_future(), contextvars.Context()
        context.run(run_rng.set, self.rng)
        self.call_soon(self._run_inline, future, func, args, context=context)
        return future

    def _run_inline(self, future: SimFuture, func: Any, args: Any) -> None:
        if future.cancelled():
            return
        events._set_running_loop(None)
        try:
            future.set_result(func(*args))
        except KeyboardInterrupt:
            raise
        except StopIteration as exc:
            stop = RuntimeError(f"{func!r} raised StopIteration, which no future takes")
            stop.__cause__ = exc
            future.set_exception(stop)
        except BaseException as exc:
            future.set_exception(exc)
        finally:
            events._set_running_loop(self)

    def set_default_executor(self, executor: Any) -> None:
        """Ignore the executor: nothing here runs in a thread."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what asyncio would only log, so that it fails the run."""
        if self.is_closed():
            super().default_exception_handler(context)
            return
        error = context.get("exception") or RuntimeError(context["message"])
        error.add_note(f"asyncio: {context['message']}")
        # A gather whose tasks were cancelled at the end has not failed.
        self.lost += [] if isinstance(error, asyncio.CancelledError) else [error]

    def close(self) -> None:
        """Close the loop and let go of its tasks, which would keep it alive."""
        super().close()
        for task in self.tasks:
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 - said already
        self.tasks.clear()


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise NotSimulated(
            f"loop.{name} reaches outside the simulation: put a fake in its place"
        )

    return refuse


for _name in _OUTSIDE.split():
    setattr(SimLoop, _name, _refusal(_name))
