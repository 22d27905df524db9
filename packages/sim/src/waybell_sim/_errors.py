"""What a simulation raises."""

import pickle
from typing import Any


class SimulationFailed(AssertionError):
    """One seed made the program fail; replaying that seed fails the same way.

    Args:
        seed: The seed of the failing run.
        cause: What the run raised; chained, so that its traceback is shown.
        passed: How many seeds passed before.
        replay: One line, code or shell, that runs this very seed again.
    """

    def __init__(
        self, seed: int, cause: BaseException, passed: int, replay: str
    ) -> None:
        super().__init__(seed, cause, passed, replay)
        self.seed, self.passed, self.replay = seed, passed, replay
        self.cause = self.__cause__ = cause

    def __str__(self) -> str:
        what = f"{type(self.cause).__name__}: {self.cause}\nreplay: {self.replay}"
        return f"seed {self.seed} failed after {self.passed} passed: {what}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the cause, or with its text where it cannot be pickled."""
        cause = self.cause
        try:
            pickle.loads(pickle.dumps(cause))  # noqa: S301 - our own bytes
        except Exception:
            cause = RuntimeError(f"{type(cause).__name__}: {cause}")
        return type(self), (self.seed, cause, self.passed, self.replay)


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set, yet the program is unfinished."""


class LivelockError(RuntimeError):
    """The run went past its bound of steps or of virtual time."""


class NotSimulated(NotImplementedError):
    """The program asked the loop for the outside world: a socket, a process."""


class InjectedTimeout(TimeoutError):
    """A timeout that `Faults` made up."""


class InjectedCut(ConnectionError):
    """A lost connection that `Faults` made up."""


class InjectedRateLimit(ConnectionError):
    """A refusal that `Faults` made up, with the seconds to wait in `retry_after`."""

    status, retry_after = 429, 1.0
