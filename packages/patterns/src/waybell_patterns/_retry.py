"""Retry: ask the same agent again after a failure that may pass."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Unpack, cast

from tenacity import RetryCallState
from tenacity.wait import wait_exponential, wait_random

from waybell_budget import BudgetExceeded
from waybell_deadline import Deadline
from waybell_patterns._agent import Agent
from waybell_patterns._errors import IncompleteError
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import fault
from waybell_patterns._run import Run


_retried: ContextVar[bool] = ContextVar("waybell_patterns_retried", default=False)
_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_WAIT = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 1)
Errors = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
"""Which errors: a class, several, or a function of the error."""


def asked_to_wait(error: object) -> float | None:
    """The seconds that an error asks for in `retry_after`, if it does."""
    seconds: object = getattr(error, "retry_after", None)
    return seconds if isinstance(seconds, int | float) and seconds >= 0 else None


def transient(error: BaseException) -> bool:
    """Whether trying again may help.

    After connection errors, timeouts, the statuses 408, 409, 429 and 5xx, whatever
    names a `retry_after`, and a pattern that was incomplete for one of these.
    """
    if isinstance(error, IncompleteError) and error.__cause__ is not None:
        return transient(error.__cause__)
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in _TRANSIENT
    passing = isinstance(error, ConnectionError | TimeoutError)
    return passing or asked_to_wait(error) is not None


def matcher(on: Errors) -> Callable[[BaseException], bool]:
    """One function for all forms of `Errors`."""
    if isinstance(on, type | tuple):
        kinds = cast("type[Exception] | tuple[type[Exception], ...]", on)
        return lambda error: isinstance(error, kinds)
    return lambda error: isinstance(error, Exception) and on(error)


async def guarded(breaker: Any, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Call through a breaker's `acall`, if there is one."""
    return await (ask() if breaker is None else breaker.acall(ask))


class Retry(Pattern[Any]):
    """Ask an agent again after a transient failure, within deadline and budget.

    A `Retry` inside another one, and an agent that takes `attempts=`, make a single
    attempt: attempts never multiply. What an error says in `retry_after` (seconds) is
    waited for; a wait that would outlast the deadline ends the trying at once, as does
    `BudgetExceeded`, whatever `on` says. The last error is raised as itself.

    Args:
        agent: What to ask; a `Stage` has its hold and its `timeout` for each attempt.
        attempts: Attempts at the most, the first one included.
        wait: A tenacity wait policy; by default 0.5 s, doubled up to 30 s, and up to
            1 s of jitter, drawn from the module `random`.
        on: The errors worth another attempt: classes, or a function of the error.
        breaker: Guards each attempt through its `acall(fn, *args)`.
        **setting: As in every pattern.

    Raises:
        ValueError: `attempts` below 1.
    """

    __slots__ = ("_attempts", "_breaker", "_on", "_wait", "_worker")

    def __init__(
        self,
        agent: Agent,
        *,
        attempts: int = 3,
        wait: Callable[[RetryCallState], float] = _WAIT,
        on: Errors = transient,
        breaker: Any = None,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        if attempts < 1:
            raise ValueError(f"attempts={attempts!r} must be 1 or more")
        self._worker = self._hire(agent, "agent")
        self._attempts, self._wait = attempts, wait
        self._on, self._breaker = matcher(on), breaker

    async def _run(self, run: Run, prompt: str) -> Any:
        outermost = _retried.set(True)
        attempts = 1 if outermost.old_value is True else self._attempts
        ask = partial(run.ask, self._worker, prompt, attempts=1)
        state = RetryCallState(cast("Any", None), None, (), {})  # for the wait policy
        try:
            async with run.wall():
                while True:
                    try:
                        return await guarded(self._breaker, ask)
                    except Exception as error:
                        state.set_exception((type(error), error, error.__traceback__))
                        wait = max(self._wait(state), asked_to_wait(error) or 0.0)
                        last = state.attempt_number >= attempts
                        if last or not self._worth(error, wait):
                            raise
                        number, name = state.attempt_number, self._worker.stage.name
                        run.record(
                            "attempt", agent=name, attempt=number, error=fault(error),
                            wait=round(wait, 6),
                        )  # fmt: skip
                    await asyncio.sleep(wait)
                    state.prepare_for_next_attempt()
        finally:
            _retried.reset(outermost)

    def _worth(self, error: Exception, wait: float) -> bool:
        """Whether to try again after so many seconds."""
        deadline = Deadline.current()
        in_time = deadline is None or wait < deadline.remaining()
        return in_time and not isinstance(error, BudgetExceeded) and self._on(error)
