"""Retries of one call: which failures, how long between, and until when."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waybell_adapters._limits import DeadlineLike
from waybell_adapters._refusals import Refusal


if TYPE_CHECKING:
    from tenacity import RetryCallState


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call is repeated.

    Args:
        attempts: Requests at most.
        backoff: Seconds before the second, doubled for each more, with some jitter.
        longest: Seconds beyond which a server's wish to wait is an error.
        deadline: A wait that would outlast it is an error at once.
    """

    attempts: int
    backoff: float
    longest: float
    deadline: DeadlineLike | None

    def ends(self, state: "RetryCallState") -> bool:
        """Whether there is no other attempt after the one that has failed."""
        left = None if self.deadline is None else self.deadline.timeout()
        longest = self.longest if left is None else min(self.longest, left)
        return state.attempt_number >= self.attempts or state.upcoming_sleep >= longest


def insist(
    attempt: Callable[[], None],
    patience: Patience,
    *,
    sleep: Callable[[float], None],
    before: Callable[[Refusal], None],
) -> None:
    """Make an attempt, and more while they fail in a way that may pass.

    Args:
        attempt: Raises `Refusal`.
        patience: How many, how long between, until when.
        sleep: Waits.
        before: Told of each failure that is followed by another attempt.
    """
    try:
        return attempt()
    except Refusal as error:
        if patience.attempts < 2 or not error.again:
            raise
        first: list[Refusal] = [error]

    # Loaded only now: most calls never fail.
    from tenacity import (  # noqa: PLC0415
        Retrying,
        retry_if_exception,
        wait_exponential,
        wait_random,
    )

    backoff = patience.backoff
    growing = wait_exponential(multiplier=backoff, max=8) + wait_random(0, backoff)

    def wait(state: "RetryCallState") -> float:
        asked = _refusal(state).delay
        return growing(state) if asked is None else asked

    def step() -> None:
        if first:
            raise first.pop()
        attempt()

    Retrying(
        stop=patience.ends,
        wait=wait,
        retry=retry_if_exception(_may_pass),
        before_sleep=lambda state: before(_refusal(state)),
        sleep=sleep,
        reraise=True,
    )(step)
    return None


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Refusal) and error.again


def _refusal(state: Any) -> Refusal:
    refusal: Refusal = state.outcome.exception()
    return refusal
