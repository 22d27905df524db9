"""Retry, Fallback and Degrade: three ways to go on after a failure."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from math import inf
from typing import Any, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.stop import stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from waybell_budget import BudgetExceeded
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns._call import Agent
from waybell_patterns._errors import IncompleteError
from waybell_patterns._pattern import Pattern, Run, Worker


_retried: ContextVar[bool] = ContextVar("waybell_patterns_retried", default=False)
_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_FINAL = (BudgetExceeded, DeadlineExceeded)
Errors = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
"""Which errors: a class, several, or a function of the error."""


def transient(error: BaseException) -> bool:
    """Whether trying again may help: connection errors, timeouts, 408, 409, 429, 5xx.

    Never a spent budget or a passed deadline, nor another status.
    """
    if isinstance(error, _FINAL):
        return False
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in _TRANSIENT
    return isinstance(error, ConnectionError | TimeoutError)


def _matcher(on: Errors) -> Callable[[BaseException], bool]:
    kinds: Any = on if isinstance(on, type | tuple) else None
    if kinds is not None:
        return lambda error: isinstance(error, kinds)
    test = cast("Callable[[Exception], bool]", on)
    return lambda error: isinstance(error, Exception) and test(error)


class Retry(Pattern[Any]):
    """Ask an agent again after a transient failure, within deadline and budget.

    A `Retry` inside another one, and an adapter that takes `attempts=`, make a single
    attempt: attempts never multiply. What an error says in `retry_after` (seconds) is
    waited for; a wait that would outlast the deadline ends the trying at once. The
    last error is raised as itself.

    Args:
        agent: What to ask; a `Stage` holds its `usd` and gets its `timeout` anew for
            each attempt.
        attempts: Attempts at the most, the first one included.
        wait: A tenacity wait policy; exponential from 0.5 s with jitter, at most 30 s,
            by default.
        stop: A tenacity stop policy beside `attempts`.
        on: The errors worth another attempt: classes, or a function of the error.
        breaker: Guards each attempt through its `acall(fn, *args)`.
        bus, budget, deadline, log, tracer: As in every pattern.

    Raises:
        ValueError: `attempts` below 1.
    """

    __slots__ = ("_attempts", "_breaker", "_on", "_stop", "_wait", "_worker")

    def __init__(
        self,
        agent: Agent,
        *,
        attempts: int = 3,
        wait: Callable[[RetryCallState], float] | None = None,
        stop: Callable[[RetryCallState], bool] | None = None,
        on: Errors = transient,
        breaker: Any = None,
        **setting: Any,
    ) -> None:
        super().__init__(**setting)
        if attempts < 1:
            raise ValueError(f"attempts={attempts!r} must be 1 or more")
        self._worker = Worker(agent, self._bus, "agent")
        self._attempts = attempts
        self._wait = wait or wait_exponential_jitter(initial=0.5, max=30)
        self._stop = stop
        self._on = _matcher(on)
        self._breaker = breaker

    async def _run(self, run: Run, prompt: str) -> Any:
        attempts = 1 if _retried.get() else self._attempts
        token = _retried.set(True)
        try:
            async with run.wall():
                retrying = AsyncRetrying(
                    sleep=asyncio.sleep,
                    stop=partial(self._enough, attempts),
                    wait=self._pause,
                    retry=retry_if_exception(self._on),
                    before_sleep=partial(self._note, run),
                    reraise=True,
                )
                return await retrying(self._attempt, run, prompt)
        finally:
            _retried.reset(token)

    async def _attempt(self, run: Run, prompt: str) -> Any:
        ask = partial(run.ask, self._worker, prompt, attempts=1)
        return await guarded(self._breaker, ask)

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        if not isinstance(asked, int | float) or asked < 0:
            asked = 0.0
        return max(self._wait(state), float(asked))

    def _enough(self, attempts: int, state: RetryCallState) -> bool:
        deadline = Deadline.current()
        left = inf if deadline is None else deadline.remaining()
        return (
            stop_after_attempt(attempts)(state)
            or state.upcoming_sleep >= left
            or (self._stop is not None and self._stop(state))
        )

    def _note(self, run: Run, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        run.record(
            "retry", agent=self._worker.stage.name, attempt=state.attempt_number,
            error=repr(error), wait=round(state.upcoming_sleep, 6),
        )  # fmt: skip


async def guarded(breaker: Any, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Call through a breaker's `acall`, if there is one."""
    return await (ask() if breaker is None else breaker.acall(ask))


class _Ladder(Pattern[Any]):
    """Several ways to an answer, the preferred one first."""

    __slots__ = ("_breaker", "_on", "_workers")

    def __init__(
        self, *agents: Agent, on: Errors, breaker: Any = None, **setting: Any
    ) -> None:
        super().__init__(**setting)
        if not agents:
            raise ValueError(f"a {type(self).__name__} needs at least one agent")
        self._workers = [
            Worker(agent, self._bus, f"level{number}")
            for number, agent in enumerate(agents, start=1)
        ]
        self._on = _matcher(on)
        self._breaker = breaker

    async def _run(self, run: Run, prompt: str) -> Any:
        errors: dict[str, Exception] = {}
        async with run.wall():
            for level, worker in enumerate(self._workers):
                try:
                    return await self._try(run, level, prompt)
                except Exception as error:
                    if not self._on(error):
                        raise
                    errors[worker.stage.name] = error
                    run.record(
                        type(self).__name__.casefold(), agent=worker.stage.name,
                        error=repr(error), left=len(self._workers) - len(errors),
                    )  # fmt: skip
        why = "; ".join(f"{name}: {error!r}" for name, error in errors.items())
        raise IncompleteError(f"all {len(errors)} failed: {why}", errors) from (
            next(reversed(errors.values()))
        )

    async def _try(self, run: Run, level: int, prompt: str) -> Any:
        ask = partial(run.ask, self._workers[level], prompt)
        return await guarded(self._breaker if level == 0 else None, ask)


class Fallback(_Ladder):
    """Ask the next agent when one fails.

    Args:
        *agents: Agents or stages, the preferred one first.
        on: The errors that lead to the next one; all by default.
        breaker: Guards the first agent through its `acall(fn, *args)`: while it is
            open, the second one is asked at once.
        bus, budget, deadline, log, tracer: As in every pattern.

    Raises:
        ValueError: No agents.
    """

    __slots__ = ()

    def __init__(
        self,
        *agents: Agent,
        on: Errors = Exception,
        breaker: Any = None,
        **setting: Any,
    ) -> None:
        super().__init__(*agents, on=on, breaker=breaker, **setting)


def limited(error: Exception) -> bool:
    """Whether a limit was met, or the provider cannot serve for now."""
    return (
        isinstance(error, _FINAL)
        or transient(error)
        or getattr(error, "retry_after", None) is not None
    )


class Degrade(_Ladder):
    """Take the best level that money and time still allow, and step down at a limit.

    A level whose `usd` or `tokens` the pool cannot pay now, or whose `timeout` no
    longer fits before the deadline, is not started. Each level leaves the deadline's
    last seconds to the `timeout`s of the levels below it, so the last one, say a
    cached or a canned answer, always has its time.

    Args:
        *levels: Agents or stages, the best one first.
        on: The errors that lead one level down: by default spent money or time, an
            open breaker, and transient errors; others are raised as themselves.
        breaker: Guards the first level through its `acall(fn, *args)`.
        bus, budget, deadline, log, tracer: As in every pattern.

    Raises:
        ValueError: No levels.
    """

    __slots__ = ()

    def __init__(
        self, *levels: Agent, on: Errors = limited, breaker: Any = None, **setting: Any
    ) -> None:
        super().__init__(*levels, on=on, breaker=breaker, **setting)

    async def _try(self, run: Run, level: int, prompt: str) -> Any:
        below = self._workers[level + 1 :]
        deadline = Deadline.current()
        if not below or deadline is None:
            return await super()._try(run, level, prompt)
        reserve = sum(worker.stage.timeout or 0.0 for worker in below)
        tightened = deadline.tighten(reserve=reserve)
        if tightened.remaining() < (self._workers[level].stage.timeout or 0.0):
            tightened = deadline.tighten(seconds=0)
        async with tightened:
            return await super()._try(run, level, prompt)
