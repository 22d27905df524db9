"""Which task may run, asked and told by id: all state, no I/O."""
# pyright: reportPrivateUsage=false

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from waybell_scheduler._errors import QueueError
from waybell_scheduler._graph import (
    RUNNING,
    SKIPPED,
    STATES,
    SUSPENDED,
    WAITING,
    Graph,
    unknown,
)
from waybell_scheduler._picture import mermaid, svg
from waybell_scheduler._task import Task


class TaskQueue(Graph):
    """A graph of tasks and how far each one is: pure state, owned by one thread.

    A task is waiting, ready, running, done, failed, cancelled, suspended or skipped.
    The tasks that need a failed one are skipped, and no others.

    Args:
        tasks: The tasks, in any order; equal priorities run in this order.
        stop_on_failure: The first failure skips all that has not started, except
            tasks with `run_if="always"`.

    Raises:
        QueueError: Not a task, an id twice, or a dependency that no task has.
        CyclicDependencyError: Tasks wait for each other.
    """

    __slots__ = ()

    def __init__(self, tasks: Iterable[Task], stop_on_failure: bool = False) -> None:
        super().__init__(tasks, stop_on_failure)

    @staticmethod
    def current() -> "TaskQueue | None":
        """The queue whose task this runs in, to add to; None outside of a run."""
        return running.get()

    def ready(self) -> list[Task]:
        """The tasks that may start now: by priority, then in the order given.

        It is a new list each time: start all of it before you ask again.
        """
        state = self._state
        now = [i for i in self._frontier if not state[i]]
        if len(now) < len(self._frontier):
            self._refill(now)
        tasks = self.tasks
        return [tasks[i] for i in sorted(now, key=lambda i: (-tasks[i].priority, i))]

    def start(self, task_id: str) -> None:
        """Say that a task is running.

        Raises:
            QueueError: It is unknown, or neither ready nor suspended.
        """
        i = self._number(task_id)
        if self._state[i] != SUSPENDED and (self._state[i] or self._left[i]):
            raise QueueError(f"{task_id!r} cannot start: it {self._why_not(i)}")
        self._state[i] = RUNNING

    def complete(
        self,
        task_id: str,
        success: bool = True,
        result: Any = None,
        error: BaseException | None = None,
    ) -> None:
        """Say how a task ended; one that was never started is taken as started.

        Raises:
            QueueError: It is unknown, has ended, or is not ready.
        """
        i = self._number(task_id)
        if self._state[i] > RUNNING or self._left[i]:
            raise QueueError(f"{task_id!r} cannot complete: it {self._why_not(i)}")
        if success and error is not None:
            raise QueueError(f"{task_id!r} cannot succeed with an error: {error!r}")
        if success:
            self._results[i] = result
            self._done(i)
        else:
            self._fail(i, error)

    def suspend(self, task_id: str) -> None:
        """Say that a ready or running task waits for something outside.

        What needs it stays waiting. `start` takes it up again.

        Raises:
            QueueError: It is unknown, has ended, or is not ready.
        """
        i = self._number(task_id)
        if self._state[i] > RUNNING or self._left[i]:
            raise QueueError(f"{task_id!r} cannot be suspended: it {self._why_not(i)}")
        self._state[i] = SUSPENDED

    def add(self, task: Task) -> None:
        """Add a task, also while others run; it may depend on tasks that have ended.

        Raises:
            QueueError: Not a task, its id is taken, or no task has a dependency's id.
        """
        if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise QueueError(f"not a Task: {task!r}")
        if self._live is not None and not self._live.check(task):
            return
        needed = self._needed(task)
        i = self._index[task.id] = len(self.tasks)
        self.tasks.append(task)
        self._succ.append(None)
        self._state.append(WAITING)
        self._results.append(None)
        self._left.append(0)
        if self._ranks is not None:
            self._ranks.append(task.priority << 40)  # others keep theirs: only an order
        self._note(i, task)
        self._join(i, needed)
        if self._live is not None:
            self._live.added(i)

    def stop(self, error: BaseException | None = None) -> None:
        """Skip all that has not started, except tasks with `run_if="always"`.

        Args:
            error: Why, for the gaps that the others leave.
        """
        self._stop(-1, error)

    def status(self, task_id: str) -> str:
        """The state of a task, as a word.

        Raises:
            QueueError: It is unknown.
        """
        return self.standing(self._number(task_id))

    def stems_from(self, task_id: str) -> str | None:
        """The failed task because of which this one was skipped, if it was.

        Raises:
            QueueError: It is unknown.
        """
        root = self._stems.get(self._number(task_id), -1)
        return None if root < 0 else self.tasks[root].id

    def skipped_tasks(self) -> list[str]:
        """The ids of what was skipped, in the order given."""
        return [
            t.id for t, s in zip(self.tasks, self._state, strict=True) if s == SKIPPED
        ]

    def summary(self) -> dict[str, int]:
        """How many tasks are in each state; states without any are left out."""
        state = self._state
        counts = {name: state.count(k) for k, name in enumerate(STATES)}
        ready = sum(not state[i] for i in self._frontier)
        counts = {"waiting": counts.pop("waiting") - ready, "ready": ready, **counts}
        return {name: count for name, count in counts.items() if count}

    def inputs(self, task_id: str) -> dict[str, Any]:
        """The results of a task's dependencies, by id.

        Where one did not succeed, which only tasks with `run_if="always"` or `partial`
        see, there is a `Gap`; where one has not ended, None.

        Raises:
            QueueError: The task is unknown.
        """
        return self._inputs(self._number(task_id))

    def result(self, task_id: str) -> Any:
        """What a task gave; None if it is not done.

        Raises:
            QueueError: It is unknown.
        """
        return self._results[self._number(task_id)]

    def error(self, task_id: str) -> BaseException | None:
        """What a task that failed or was cancelled raised, if that was told.

        Raises:
            QueueError: It is unknown.
        """
        return self._errors.get(self._number(task_id))

    def mermaid(self) -> str:
        """The graph as a Mermaid flowchart, with each task's state."""
        return mermaid(self)

    def svg(self, most: int = 1000) -> str:
        """The graph as an SVG document that loads nothing, with each task's state.

        Args:
            most: Tasks that still make a picture.

        Raises:
            QueueError: There are more.
        """
        return svg(self, most)

    def __len__(self) -> int:
        return len(self.tasks)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._index

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.summary().items())
        return f"<TaskQueue {counts or 'empty'}>"

    def _needed(self, task: Task) -> list[int]:
        """The numbers of what a new task depends on."""
        if task.id in self._index:
            raise QueueError(f"two tasks are called {task.id!r}")
        try:
            return [self._index[name] for name in dict.fromkeys(task.depends_on)]
        except (KeyError, TypeError):
            raise unknown(task, self._index) from None

    def _number(self, task_id: str) -> int:
        try:
            return self._index[task_id]
        except (KeyError, TypeError):
            raise QueueError(f"no task is called {task_id!r}") from None

    def _why_not(self, i: int) -> str:
        """Why a task may not go on, as the end of a sentence."""
        if self._state[i]:
            return f"is {STATES[self._state[i]]}"
        index, state = self._index, self._state
        waits = [
            name
            for name in self.tasks[i].depends_on
            if state[index[name]] in {0, 1, SUSPENDED}
        ]
        return "waits for " + ", ".join(map(repr, waits))


running: ContextVar[TaskQueue | None] = ContextVar(
    "waybell_scheduler_queue", default=None
)
