"""Tasks over a dependency graph, a breaker and a journal.

>>> queue = TaskQueue([Task("ask"), Task("check", depends_on=["ask"])])
>>> [task.id for task in queue.ready()]
['ask']
>>> queue.complete("ask", result=42)
>>> queue.summary()
{'ready': 1, 'done': 1}
"""

from waybell_scheduler._errors import (
    CircuitOpenError,
    CyclicDependencyError,
    SchedulerError,
)
from waybell_scheduler._pool import AgentPool
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._task import Gap, Task


__all__ = [
    "AgentPool",
    "CircuitOpenError",
    "CyclicDependencyError",
    "Gap",
    "SchedulerError",
    "Task",
    "TaskQueue",
]
