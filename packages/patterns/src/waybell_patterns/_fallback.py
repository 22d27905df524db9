"""Fallback and Degrade: ask the next agent, or the next cheaper one, on a failure."""

from functools import partial
from math import inf
from typing import Any, ClassVar, Unpack

from waybell_budget import BudgetExceeded
from waybell_deadline import Deadline
from waybell_patterns._agent import Agent
from waybell_patterns._errors import IncompleteError
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import fault
from waybell_patterns._retry import Errors, guarded, matcher, transient
from waybell_patterns._run import Run, paid_reply


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
                    run.record("step", agent=worker.stage.name, error=fault(error))
        why = "; ".join(f"{name}: {error!r}" for name, error in errors.items())
        why, last = f"all {len(errors)} failed: {why}", [*errors.values()][-1]
        raise IncompleteError(why, errors=errors) from last

    async def _try(self, run: Run, level: int, prompt: str) -> Any:
        ask = partial(run.ask, self._agents[level], prompt)
        return await guarded(None if level else self._breaker, ask)


def limited(error: Exception) -> bool:
    """Whether a limit was met, or the provider cannot serve for now."""
    return isinstance(error, BudgetExceeded) or transient(error)


class Degrade(Fallback):
    """Take the best level that money and time still allow, and step down at a limit.

    A level whose `usd` or `tokens` the pool cannot pay now, or that would have less
    than nine tenths of its `timeout`, is not started. Each level leaves the deadline's
    last seconds to the `timeout` of the levels below it, or the last tenth where they
    name none, so the last one, say a canned answer, always has its time.

    It takes what `Fallback` takes, but only limits lead one level down unless `on`
    says otherwise: spent money or time, an open breaker, and transient errors.
    """

    __slots__ = ()
    _default: ClassVar[Errors] = limited

    async def _try(self, run: Run, level: int, prompt: str) -> Any:
        own, *below = [each.stage.timeout or 0.0 for each in self._agents[level:]]
        deadline = Deadline.current()
        if not below or deadline is None:
            return await super()._try(run, level, prompt)
        reserve, left = sum(below), deadline.remaining()
        if reserve == 0 and left < inf:
            reserve = left / 10
        mine = deadline.tighten(reserve=reserve)
        if mine.remaining() < 0.9 * own:
            mine = deadline.tighten(seconds=0)  # a wall that nobody passes
        async with mine:
            return await super()._try(run, level, prompt)
