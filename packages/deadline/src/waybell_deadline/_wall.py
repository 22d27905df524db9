"""Scopes, which say what the current deadline is, and the walls among them."""

from collections.abc import Callable
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from ._clock import running_loop, running_task
from ._timer import Timer, timer_of


if TYPE_CHECKING:  # asyncio is slow to import, and _deadline imports this module
    from asyncio import AbstractEventLoop, Task, TimerHandle

    from ._deadline import Deadline

# A scope is a plain tuple, because one is made for every block entered:
# (deadline entered, the same on this loop's clock, tightest here, outer scope, wall)
Scope: TypeAlias = "tuple[Deadline, Deadline, Deadline, Scope | None, Wall | None]"
# State belongs to the scope and never to the deadline, so that one deadline can
# serve many tasks and threads at once.
current_scope: "ContextVar[Scope | None]" = ContextVar("waybell_deadline", default=None)


def enter_scope(entered: "Deadline", here: "Deadline", wall: "Wall | None") -> None:
    """Make `here` the current deadline unless an outer one is tighter."""
    outer = current_scope.get()
    tightest = here if outer is None or here < outer[2] else outer[2]
    current_scope.set((entered, here, tightest, outer, wall))


def leave_scope(entered: "Deadline", *, walled: bool) -> "Wall | None":
    """Take the innermost scope of `entered` out of the chain; return its wall."""
    scope = current_scope.get()
    if scope is not None and scope[0] is entered and (scope[4] is None) is not walled:
        current_scope.set(scope[3])  # as nearly always
        return scope[4]
    above: list[Scope] = []
    while scope is not None:
        if scope[0] is entered and (scope[4] is None) is not walled:
            current_scope.set(scope[3])
            for other in reversed(above):  # generators leave in any order
                enter_scope(other[0], other[1], other[4])
            return scope[4]
        above.append(scope)
        scope = scope[3]
    raise RuntimeError(f"{entered!r} was entered in another context than this one")


class Wall:
    """What cancels one task's block when its deadline passes, once."""

    __slots__ = (
        "ask_again", "base", "cancels", "due", "here", "holds", "loop", "task", "timer",
        "when",
    )  # fmt: skip

    def __init__(
        self, here: "Deadline", due: float, task: "Task[object]", ask_again: bool
    ) -> None:
        self.here = here
        self.due = due  # on the clock of the loop
        self.loop = loop = task.get_loop()
        self.ask_again = ask_again  # its own clock must agree, which is another one
        self.task: Task[object] | None = task
        self.base = task.cancelling()
        self.cancels = 0
        self.holds: tuple[float, ...] = ()
        self.when = due  # as it is postponed
        self.timer: Timer | None = None
        if due != inf:
            self.timer = timer = timer_of(loop)
            timer.walls += 1
            timer.add(self)

    def awaits(self, when: float) -> bool:
        """Whether it is at that time that it is to ring."""
        return self.when == when and self.task is not None and not self.cancels

    def ring(self) -> None:
        """Be due, if the deadline's own clock agrees."""
        left = self.here.remaining() if self.ask_again else 0.0
        if left > 0:
            self.due = self.loop.time() + max(left, 0.001)
            self._arm()
        else:
            self.fire()

    def _arm(self) -> None:
        self.when = max(self.due, *self.holds, 0.0)
        if self.timer is not None and self.awaits(self.when) and self.when != inf:
            self.timer.add(self)

    def hold(self, until: float) -> None:
        """Do not fire before `until`, a time on the loop's clock."""
        self.holds += (until,)
        self._arm()

    def release(self, until: float) -> None:
        """End what `hold` began: what was due meanwhile fires at the next await."""
        index = self.holds.index(until)
        self.holds = self.holds[:index] + self.holds[index + 1 :]
        self._arm()

    def fire(self) -> None:
        """Cancel the task; its next await inside the block raises."""
        if self.task is not None:
            self.cancels += 1
            self.task.cancel(f"{self.here!r} passed")

    def close(self, error: BaseException | None) -> bool:
        """End the block; whether it ends for the deadline, and must raise that."""
        task, self.task = self.task, None
        if self.timer is not None:
            self.timer.leave()
        return task is not None and self.cancels > 0 and self._settle(task, error)

    def _settle(self, task: "Task[object]", error: BaseException | None) -> bool:
        from asyncio import CancelledError  # noqa: PLC0415 - slow to import

        left = self.base
        for _ in range(self.cancels):
            left = task.uncancel()
        if error is not None and not isinstance(error, CancelledError):
            return False  # an error of the body's own
        if left > self.base and error is None:
            raise CancelledError  # swallowed, and others have asked for it, too
        return left <= self.base


class Shield:
    """A block in which one deadline is later; others hold (see `Deadline.shield`)."""

    __slots__ = (
        "_cancelled", "_deadline", "_grace", "_handle", "_postpone", "_task", "_until",
        "_walls",
    )  # fmt: skip

    def __init__(
        self,
        deadline: "Deadline",
        postpone: "Callable[[AbstractEventLoop | None], tuple[Deadline, float]]",
    ) -> None:
        self._deadline = deadline
        self._postpone = postpone
        self._grace: Deadline | None = None

    def __enter__(self) -> "Deadline":
        if self._grace is not None:
            raise RuntimeError("this shield is entered already; make another one")
        loop = running_loop()
        grace, self._until = self._postpone(loop)
        self._grace = grace
        self._handle: TimerHandle | None = None
        self._cancelled = False
        self._task = running_task()
        self._walls: list[Wall] = []
        tightest = self._survey(grace, loop)
        current_scope.set((grace, grace, tightest, current_scope.get(), None))
        if self._walls and loop is not None:
            for wall in self._walls:
                wall.hold(self._until)
            if self._until != inf:
                self._handle = loop.call_at(self._until, self._ring)
        return grace

    def _survey(
        self, grace: "Deadline", loop: "AbstractEventLoop | None"
    ) -> "Deadline":
        """Find the walls to hold, and the tightest of the other deadlines."""
        tightest = grace
        scope = current_scope.get()
        while scope is not None:
            wall = scope[4]
            if self._deadline is not scope[0] and self._deadline is not scope[1]:
                tightest = min(tightest, scope[1])
            elif wall is not None and wall.loop is loop and wall.task is not None:
                # A task that outlives the block must not be cancelled for it, and a
                # thread cannot touch a loop's timers: there it is cooperative.
                self._walls += [wall] if self._task is not None else []
            scope = scope[3]
        return tightest

    def _ring(self) -> None:
        mine = False
        for wall in self._walls:
            if wall.task is self._task or not wall.cancels:
                mine = mine or wall.task is self._task
                wall.fire()
        if not mine and self._task is not None:
            # The wall stands in a parent, which may already be waiting for us.
            self._cancelled = True
            self._task.cancel(f"the shield of {self._deadline!r} ran out")

    def __exit__(self, *error: object) -> None:
        grace, self._grace = self._grace, None
        if grace is None:
            raise RuntimeError("this shield is not entered")
        leave_scope(grace, walled=False)
        if self._handle is not None:
            self._handle.cancel()
        for wall in self._walls:
            wall.release(self._until)
        if self._cancelled and self._task is not None:
            self._task.uncancel()

    async def __aenter__(self) -> "Deadline":
        return self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)
