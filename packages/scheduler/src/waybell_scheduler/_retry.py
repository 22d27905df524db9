"""When a task is tried again, and after how long."""

from typing import TYPE_CHECKING, Any

from waybell_deadline import Deadline
from waybell_scheduler._breaker import asked_to_wait
from waybell_scheduler._errors import CircuitOpenError, SchedulerError, fact


if TYPE_CHECKING:
    from tenacity import RetryCallState

_FINAL = frozenset("400 401 402 403 404 405 410 413 422".split())
_LONGEST_POLL = 1.0  # seconds between looks at a breaker that tells no time


def final(error: BaseException) -> bool:
    """Whether no other attempt can help: money is out, or this package says no."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    ours = isinstance(error, SchedulerError) and not isinstance(error, CircuitOpenError)
    return ours or "BudgetError" in kinds


class Patience:
    """The attempts of one task. tenacity is loaded at the first failure only.

    Args:
        policy: Attempts after the first one, or a tenacity retrying object, of which
            `stop`, `wait` and `retry` count.
    """

    __slots__ = ("_policy", "_state", "holds", "number")

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._state: RetryCallState | None = None
        self.number = 1  # of the attempt under way
        self.holds = 0

    def again(self, error: Exception) -> float | None:
        """The seconds until the next attempt; None if there is none.

        A wait that would outlast the current deadline is none.
        """
        policy = self._policy
        status = fact(error, "status")  # which a tenacity object may read
        same = isinstance(policy, int) and str(status) in _FINAL
        if policy == 0 or same or final(error):
            return None
        wait = self._next(policy, error)
        if wait is None or not in_time(wait := max(wait, asked_to_wait(error))):
            return None
        self.number += 1
        return wait

    def _next(self, policy: Any, error: Exception) -> float | None:
        from tenacity import RetryCallState, stop_after_attempt  # noqa: PLC0415 - slow to import
        from tenacity.wait import wait_exponential, wait_random  # noqa: PLC0415 - slow to import

        if self._state is None:
            self._state = RetryCallState(policy, None, (), {})
        else:
            self._state.prepare_for_next_attempt()
        state = self._state
        state.set_exception((type(error), error, error.__traceback__))
        if isinstance(policy, int):
            stop: Any = stop_after_attempt(policy + 1)
            wait: Any = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 1)
        else:
            stop, wait = policy.stop, policy.wait
            if not policy.retry(state):
                return None
        state.upcoming_sleep = seconds = float(wait(state)) if wait is not None else 0.0
        return None if stop is not None and stop(state) else seconds

    def hold(self, error: Exception) -> float | None:
        """The seconds until a breaker may be asked again; None if that is too late."""
        self.holds += 1
        wait = max(asked_to_wait(error), min(0.05 * 2.0**self.holds, _LONGEST_POLL))
        return wait if in_time(wait) else None


def in_time(wait: float) -> bool:
    """Whether the current deadline lets one wait so long."""
    deadline = Deadline.current()
    return deadline is None or wait < deadline.remaining()
