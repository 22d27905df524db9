"""Retry, Fallback and Degrade: three ways to go on after a failure."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from math import inf
from typing import Any, ClassVar, Unpack, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_exponential, wait_random

from waybell_budget import BudgetExceeded
from waybell_deadline import Deadline
from waybell_patterns._agent import Agent
from waybell_patterns._errors import IncompleteError
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._run import Run, Worker, paid_reply


_retried: ContextVar[bool] = ContextVar("waybell_patterns_retried", default=False)
_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
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
        stop: A tenacity stop policy beside `attempts`.
        on: The errors worth another attempt: classes, or a function of the error.
        breaker: Guards each attempt through its `acall(fn, *args)`.
        **setting: As in every pattern.

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
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        if attempts < 1:
            raise ValueError(f"attempts={attempts!r} must be 1 or more")
        self._worker = self._hire(agent, "agent")
        self._attempts, self._stop = attempts, stop
        self._wait = wait or wait_exponential(multiplier=0.5, max=30) + wait_random(
            0, 1
        )
        self._on, self._breaker = matcher(on), breaker

    async def _run(self, run: Run, prompt: str) -> Any:
        outermost = _retried.set(True)
        attempts = 1 if outermost.old_value is True else self._attempts
        ask = partial(run.ask, self._worker, prompt, attempts=1)
        retrying = AsyncRetrying(
            sleep=asyncio.sleep,
            stop=partial(self._enough, attempts),
            wait=self._pause,
            retry=retry_if_exception(self._on),
            before_sleep=partial(self._note, run),
            reraise=True,
        )
        try:
            async with run.wall():
                return await retrying(guarded, self._breaker, ask)
        finally:
            _retried.reset(outermost)

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        return max(self._wait(state), asked_to_wait(error) or 0.0)

    def _enough(self, attempts: int, state: RetryCallState) -> bool:
        deadline = Deadline.current()
        left = inf if deadline is None else deadline.remaining()
        broke = state.outcome and isinstance(state.outcome.exception(), BudgetExceeded)
        return (
            state.attempt_number >= attempts
            or bool(broke)
            or state.upcoming_sleep >= left
            or (self._stop is not None and self._stop(state))
        )

    def _note(self, run: Run, state: RetryCallState) -> None:
        run.record(
            "attempt", agent=self._worker.stage.name, attempt=state.attempt_number,
            error=repr(state.outcome and state.outcome.exception()),
            wait=round(state.upcoming_sleep, 6),
        )  # fmt: skip


def limited(error: Exception) -> bool:
    """Whether a limit was met, or the provider cannot serve for now."""
    return isinstance(error, BudgetExceeded) or transient(error)


class Fallback(Pattern[Any]):
    """Ask the next agent when one fails.

    An answer that is there but broke the budget was paid for, so it is returned.

    >>> broken = {}.__getitem__
    >>> Fallback(broken, str.upper).run_sync("ring")
    'RING'

    Args:
        *agents: Agents or stages, the preferred one first.
        on: The errors that lead to the next one; all by default. Others are raised as
            themselves.
        breaker: Guards the first agent through its `acall(fn, *args)`: while it is
            open, the second one is asked at once.
        **setting: As in every pattern.

    Raises:
        ValueError: No agents, or two stages of one name.
    """

    __slots__ = ("_agents", "_breaker", "_on")
    _default: ClassVar[Errors] = Exception

    def __init__(
        self,
        *agents: Agent,
        on: Errors | None = None,
        breaker: Any = None,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        self._agents = list(self._crew(agents, "level").values())
        self._on = matcher(type(self)._default if on is None else on)  # noqa: SLF001 - not bound
        self._breaker = breaker

    async def _run(self, run: Run, prompt: str) -> Any:
        errors: dict[str, Exception] = {}
        async with run.wall():
            for level, worker in enumerate(self._agents):
                try:
                    return await self._try(run, level, prompt)
                except Exception as error:
                    if (paid := paid_reply(error)) is not None:
                        return paid
                    if not self._on(error):
                        raise
                    errors[worker.stage.name] = error
                    run.record("step", agent=worker.stage.name, error=repr(error))
        why = "; ".join(f"{name}: {error!r}" for name, error in errors.items())
        last = next(reversed(errors.values()))
        raise IncompleteError(
            f"all {len(errors)} failed: {why}", errors=errors
        ) from last

    async def _try(self, run: Run, level: int, prompt: str) -> Any:
        ask = partial(run.ask, self._agents[level], prompt)
        return await guarded(None if level else self._breaker, ask)


class Degrade(Fallback):
    """Take the best level that money and time still allow, and step down at a limit.

    A level whose `usd` or `tokens` the pool cannot pay now, or that would have less
    than nine tenths of its `timeout`, is not started. Each level leaves the deadline's
    last seconds to the `timeout`s of the levels below it, so the last one, say a
    cached or a canned answer, always has its time.

    Args:
        *agents: Agents or stages, the best one first.
        on: The errors that lead one level down: by default spent money or time, an
            open breaker, and transient errors; others are raised as themselves.
        breaker: Guards the first level through its `acall(fn, *args)`.
        **setting: As in every pattern.

    Raises:
        ValueError: No levels, or two stages of one name.
    """

    __slots__ = ()
    _default: ClassVar[Errors] = limited

    async def _try(self, run: Run, level: int, prompt: str) -> Any:
        below, deadline = self._agents[level + 1 :], Deadline.current()
        if not below or deadline is None:
            return await super()._try(run, level, prompt)
        mine = deadline.tighten(reserve=sum(map(_seconds, below)))
        if mine.remaining() < 0.9 * _seconds(self._agents[level]):
            mine = deadline.tighten(seconds=0)  # a wall that nobody passes
        async with mine:
            return await super()._try(run, level, prompt)


def _seconds(worker: Worker) -> float:
    return worker.stage.timeout or 0.0
