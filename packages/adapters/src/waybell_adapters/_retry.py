"""Retries of one call: which failures, how long between, and until when."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from waybell_adapters._dialect import Price
from waybell_adapters._limits import BudgetLike, DeadlineLike
from waybell_adapters._refusals import Refusal
from waybell_adapters._reply import Usage
from waybell_adapters._wait import Steps


if TYPE_CHECKING:
    from tenacity import RetryCallState


@dataclass(frozen=True, slots=True)
class Terms:
    """What bounds a call: patience, time, money.

    Args:
        attempts: Requests at most.
        backoff: Seconds before the second, doubled for each more, with some jitter.
        longest: Seconds beyond which a server's wish to wait is an error.
        deadline: A wait that would outlast it is an error at once.
        budget: Asked before each attempt.
        price: As far as it was stated.
        scrub: Takes secrets out of a text.
    """

    attempts: int
    backoff: float
    longest: float
    deadline: DeadlineLike | None
    budget: BudgetLike | None
    price: Price | None
    scrub: Callable[[str], str]

    def cost(self, usage: Usage, model: str) -> Decimal | None:
        """What this much costs, as far as the caller or the budget knows the price."""
        if self.price is not None:
            return self.price.of(usage)
        quote = getattr(self.budget, "quote", None)
        with suppress(LookupError):
            return (
                None
                if quote is None
                else cast(Decimal, quote(model=model, usage=usage))
            )
        return None

    def ends(self, state: "RetryCallState") -> bool:
        """Whether there is no other attempt after the one that has failed."""
        left = None if self.deadline is None else self.deadline.timeout()
        longest = self.longest if left is None else min(self.longest, left)
        return state.attempt_number >= self.attempts or state.upcoming_sleep >= longest


def insist(
    attempt: Callable[[], Steps[None]],
    terms: Terms,
    *,
    pause: Callable[[float], Steps[None]],
    before: Callable[[Refusal], None],
) -> Steps[None]:
    """Make an attempt, and more while they fail in a way that may pass.

    Args:
        attempt: Raises `Refusal`.
        terms: How many, how long between, until when.
        pause: Waits.
        before: Told of each failure that is followed by another attempt.
    """
    failed = yield from _tried(attempt)
    if failed is None:
        return
    if terms.attempts < 2 or not failed.again:
        raise failed
    pauses: list[float] = []
    for trial in _trials(terms, before, pauses.append):
        if pauses:  # there is none before the one that has failed already
            yield from pause(pauses.pop())
            failed = yield from _tried(attempt)
        with trial:
            if failed is not None:
                raise failed


def _tried(attempt: Callable[[], Steps[None]]) -> Steps[Refusal | None]:
    try:
        yield from attempt()
    except Refusal as error:
        return error
    return None


def _trials(
    terms: Terms,
    before: Callable[[Refusal], None],
    sleep: Callable[[float], None],
) -> Any:
    # Loaded only now: most calls never fail.
    from tenacity import (  # noqa: PLC0415
        Retrying,
        retry_if_exception,
        wait_exponential,
        wait_random,
    )

    backoff = terms.backoff
    growing = wait_exponential(multiplier=backoff, max=8) + wait_random(0, backoff)

    def failed(state: Any) -> Refusal:
        return cast(Refusal, state.outcome.exception())

    def wait(state: "RetryCallState") -> float:
        asked = failed(state).delay
        return growing(state) if asked is None else asked

    return Retrying(
        stop=terms.ends,
        wait=wait,
        retry=retry_if_exception(lambda e: isinstance(e, Refusal) and e.again),
        before_sleep=lambda state: before(failed(state)),
        sleep=sleep,
        reraise=True,
    )
