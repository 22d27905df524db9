"""The error tree: SchedulerError is the root."""

from collections.abc import Sequence
from typing import Any


class SchedulerError(Exception):
    """Something about tasks could not be done; the root of this package's errors."""


class QueueError(SchedulerError, ValueError):
    """A task is described wrongly, or asked to do what its state does not allow."""


class CyclicDependencyError(QueueError):
    """Tasks wait for each other.

    Args:
        cycle: Their ids in the order they would run in, the first one again at the end.
    """

    def __init__(self, cycle: Sequence[str]) -> None:
        super().__init__(tuple(cycle))
        self.cycle = list(cycle)

    def __str__(self) -> str:
        if len(self.cycle) == 2:
            return f"{self.cycle[0]!r} depends on itself"
        return "tasks wait for each other: " + " -> ".join(map(repr, self.cycle))


class CircuitOpenError(SchedulerError, ConnectionError):
    """The breaker is open: the call was not made.

    Args:
        retry_after: Seconds until a call may be let through.
        reason: What opened it.
    """

    def __init__(self, retry_after: float, reason: str = "") -> None:
        super().__init__(retry_after, reason)
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:
        why = f" after {self.reason}" if self.reason else ""
        return f"the circuit is open{why}; try again in {self.retry_after:.3g} s"


class JournalError(SchedulerError):
    """A journal cannot be read, written, or continued with these tasks.

    Attributes:
        value: What a task returned that the journal cannot keep, if that is why.
    """

    value: object = None


class PoolTimeoutError(SchedulerError, TimeoutError):
    """A call waited too long for its turn, or would have to."""


def message(error: BaseException) -> str:
    """What an error says, also one that fails to."""
    try:
        return str(error)
    except Exception as failure:
        return f"(its text cannot be had: {type(failure).__name__})"


def fact(source: object, name: str) -> Any:
    """An attribute of what others made; None if there is none, or looking fails."""
    try:
        return getattr(source, name, None)
    except Exception:
        return None
