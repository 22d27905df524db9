"""What came of a run and of each of its tasks."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the queue's lists are private to the package

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from waybell_scheduler._errors import SchedulerError
from waybell_scheduler._graph import FAILED
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._steps import Pending


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How one task ended.

    Args:
        status: `"done"`, `"failed"`, `"cancelled"` (by itself), `"skipped"`, or
            `"suspended"`; `"waiting"` if it needs a suspended one.
        value: What it returned.
        error: What it raised, the very object.
        stems_from: The failed task because of which it was skipped.
        seconds: How long it took, its retries and holds included.
        attempts: How often it was tried.
        usd: Dollars charged to its hold, None without a budget.
        tokens: Tokens charged to it.
        recorded: It comes from the journal of an earlier run.
    """

    status: str
    value: Any = None
    error: BaseException | None = None
    stems_from: str | None = None
    seconds: float = 0.0
    attempts: int = 0
    usd: Decimal | None = None
    tokens: int | None = None
    recorded: bool = False


class Facts(NamedTuple):
    """What is known of a task beyond its state."""

    attempts: int = 1
    usd: Decimal | None = None
    tokens: int | None = None
    recorded: bool = False


class RunResult(Mapping[str, TaskResult]):
    """What came of a run: a mapping from each task's id to its `TaskResult`.

    Attributes:
        status: `"done"`; `"failed"` if any task is not done; `"stopped"` if the
            first failure stopped the rest; `"suspended"` if somebody has to decide.
        pending: What is waited for: by task, or task and step (`"task/step"`).
    """

    __slots__ = ("_facts", "_queue", "_seconds", "pending", "status")

    def __init__(
        self,
        queue: TaskQueue,
        seconds: "array[float]",
        facts: Mapping[int, Facts],
        pending: Mapping[str, Pending],
    ) -> None:
        self._queue, self._seconds, self._facts = queue, seconds, facts
        self.pending = dict(pending)
        counts = queue.summary()
        if "suspended" in counts:
            self.status = "suspended"
        elif queue.stopped:
            self.status = "stopped"
        else:
            self.status = "done" if set(counts) <= {"done"} else "failed"

    @property
    def ok(self) -> bool:
        """Whether every task is done."""
        return self.status == "done"

    def __getitem__(self, task_id: str) -> TaskResult:
        queue = self._queue
        i = queue._index[task_id]
        status = queue.status(task_id)
        ran = status in {"done", "failed", "cancelled", "suspended"}
        facts = self._facts.get(i) or Facts(int(ran))
        return TaskResult(
            status,
            queue._results[i],
            queue._errors.get(i),
            queue.stems_from(task_id) if status == "skipped" else None,
            self._seconds[i],
            *facts,
        )

    def __iter__(self) -> Iterator[str]:
        return (task.id for task in self._queue.tasks)

    def __len__(self) -> int:
        return len(self._queue.tasks)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._queue

    def summary(self) -> dict[str, int]:
        """How many tasks ended in each way."""
        return self._queue.summary()

    def unwrap(self) -> dict[str, Any]:
        """The value of every task, by id.

        Raises:
            Exception: What the first failed task raised, if one failed.
            SchedulerError: Something else kept a task from being done.
        """
        queue = self._queue
        if self.ok:
            return dict(zip(self, queue._results, strict=True))
        for i, error in queue._errors.items():
            if queue._state[i] == FAILED and isinstance(error, Exception):
                raise error
        counts = ", ".join(
            f"{many} {status}" for status, many in self.summary().items()
        )
        waits = "; ".join(
            f"{name}: {pending}" for name, pending in self.pending.items()
        )
        raise SchedulerError(
            f"the run is {self.status} ({counts})" + (waits and f": {waits}")
        )

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{many} {status}" for status, many in self.summary().items()
        )
        return f"<RunResult {self.status}: {counts or 'no tasks'}>"
