"""What a simulation raises."""

from __future__ import annotations

import pickle


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
        super().__init__(
            f"seed {seed} failed after {passed} passed: "
            f"{type(cause).__name__}: {cause}\nreplay: {replay}"
        )
        self.seed = seed
        self.cause = cause
        self.passed = passed
        self.replay = replay
        self.__cause__ = cause

    def __reduce__(self):
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
