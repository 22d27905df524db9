"""Agents that may have only so many tasks at a time, and the tasks that wait for one."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the queue's lists are private to the package

from collections import deque
from collections.abc import Callable

from waybell_scheduler._order import Ranked
from waybell_scheduler._queue import TaskQueue


class Limits:
    """Lays ready tasks aside whose agent has enough to do.

    Args:
        queue: The tasks; what may go on returns to its frontier.
        limit: How many tasks an agent may have at a time; None for any number.
    """

    __slots__ = ("_busy", "_limit", "_parked", "_queue")

    def __init__(
        self, queue: TaskQueue, limit: Callable[[str | None], int | None]
    ) -> None:
        self._queue, self._limit = queue, limit
        self._busy: dict[str, int] = {}
        self._parked: dict[str, deque[int] | Ranked] = {}

    def park(self, i: int) -> bool:
        """Lay a task aside if its agent has enough to do; else count it."""
        agent = self._queue.tasks[i].agent
        limit = self._limit(agent)
        if limit is None or agent is None:
            return False
        busy = self._busy.get(agent, 0)
        if busy >= limit:
            self._parked.setdefault(agent, deque()).append(i)
            return True
        self._busy[agent] = busy + 1
        return False

    def leave(self, i: int) -> None:
        """A task has ended: the next one of its agent may come forward."""
        agent = self._queue.tasks[i].agent
        if agent in self._busy:
            self._busy[agent] -= 1
            self._forward(agent)

    def forward(self) -> bool:
        """Let all come forward whose agents have time; whether there are any.

        A stop may have skipped the one that had come forward before them.
        """
        for agent in self._parked:
            if self._busy[agent] < (self._limit(agent) or 0):
                self._forward(agent)
        return bool(self._queue._frontier)

    def _forward(self, agent: str) -> None:
        """Let the next task of an agent come forward, the most urgent if that matters."""
        queue, waiting = self._queue, self._parked.get(agent)
        if queue._ranks is not None and isinstance(waiting, deque):
            waiting = self._parked[agent] = Ranked(queue._ranks, waiting)
        while waiting:
            i = waiting.popleft()
            if not queue._state[i]:  # no stop has skipped it meanwhile
                queue._frontier.append(i)
                return
