"""Tasks over a dependency graph, a breaker and a journal.

>>> result = run([
...     Task("ask", run=lambda: 6),
...     Task("check", run=lambda results: results["ask"] * 7, depends_on=["ask"]),
... ])
>>> result.status, result["check"].value
('done', 42)
"""

from waybell_scheduler._errors import (
    CircuitOpenError,
    CyclicDependencyError,
    JournalError,
    SchedulerError,
)
from waybell_scheduler._pool import AgentPool
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._results import RunResult, TaskResult
from waybell_scheduler._run import aresume, arun, resume, run
from waybell_scheduler._steps import Pending, Steps
from waybell_scheduler._task import Gap, Task


__all__ = [
    "AgentPool",
    "CircuitOpenError",
    "CyclicDependencyError",
    "Gap",
    "JournalError",
    "Pending",
    "RunResult",
    "SchedulerError",
    "Steps",
    "Task",
    "TaskQueue",
    "TaskResult",
    "aresume",
    "arun",
    "resume",
    "run",
]
