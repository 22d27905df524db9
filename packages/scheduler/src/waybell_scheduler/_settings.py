"""What a run is told, checked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from os import PathLike
from typing import Any, Literal, TypedDict, cast

from waybell_deadline import Deadline
from waybell_scheduler._errors import SchedulerError


OnEvent = Callable[[str, Mapping[str, Any]], object]


class Common(TypedDict, total=False):
    """What every run takes; all but the journal.

    Args:
        bus: Where agents answer, and where progress is published.
        agents: Agents by name, or a function from name to agent, instead of topics.
        call: An async function of a `Task` (and its results, if it takes two) that
            does all tasks without `run`.
        pool: Guards each attempt: anything with `acall(fn)`, as `AgentPool`.
        max_concurrent: Tasks under way at a time.
        agent_limit: Tasks an agent has under way at a time: a count for all, or by
            name.
        stop_on_failure: The first failure skips all that has not started, except
            tasks with `run_if="always"`.
        deadline: When all must be done, as `Deadline` or in seconds. A clean-up task
            (`run_if="always"`) with a limit of its own is exempt.
        budget: The pool that tasks hold their `usd` and `tokens` from.
        retry_failed: Run again what failed in the journal, and what was skipped.
        log: Keeps decisions: anything with `record(decision=..., **fields)`.
        tracer: Keeps a span of the run, and of each attempt at a task below it: anything
            with `span(name, **attributes)`.
        on_event: Called with the name and the fields of each progress event.
        on_open: While the breaker is open, `"hold"` ready tasks or let them `"fail"`.
    """

    bus: Any
    agents: Any
    call: Any
    pool: Any
    max_concurrent: int
    agent_limit: int | Mapping[str, int] | None
    stop_on_failure: bool
    deadline: Deadline | float | None
    budget: Any
    retry_failed: bool
    log: Any
    tracer: Any
    on_event: OnEvent | None
    on_open: Literal["hold", "fail"]


class Settings(Common, total=False):
    """What every run takes: the settings of `Common`, and these.

    Args:
        journal: The file that lets the run go on after a crash.
        decisions: Answers to what an earlier run on this journal was suspended for;
            see `resume`.
    """

    journal: str | PathLike[str] | None
    decisions: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings of one run, with their defaults; see `Settings`."""

    bus: Any = None
    agents: Any = None
    call: Any = None
    pool: Any = None
    max_concurrent: int = 64
    agent_limit: int | Mapping[str, int] | None = None
    stop_on_failure: bool = False
    deadline: Any = None
    budget: Any = None
    journal: str | PathLike[str] | None = None
    decisions: Mapping[str, Any] | None = None
    retry_failed: bool = False
    log: Any = None
    tracer: Any = None
    on_event: OnEvent | None = None
    on_open: Literal["hold", "fail"] = "hold"

    @classmethod
    def of(cls, settings: Settings) -> "Terms":
        """The terms that settings describe.

        Raises:
            TypeError: There is no such setting.
            SchedulerError: A value makes no sense.
        """
        known = [each.name for each in fields(cls)]
        for name in settings:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"a run does not take {name!r}{hint}")
        terms = cls(**settings)
        terms._check()
        return terms

    def _check(self) -> None:
        has: tuple[tuple[str, str], ...] = (
            ("bus", "request"), ("pool", "acall"), ("budget", "acquire"), ("call", "__call__"),
            ("decisions", "items"),
        )  # fmt: skip
        for name, method in has:
            given = getattr(self, name)
            if given is not None and not hasattr(given, method):
                raise SchedulerError(f"{name}={given!r} has no {method}()")
        for name, ok, rule in (
            ("max_concurrent", _count(self.max_concurrent), "a count from 1 up"),
            (
                "agent_limit",
                _counts(self.agent_limit),
                "a count from 1 up, or such by agent",
            ),
            ("deadline", _deadline(self.deadline), "a Deadline, or seconds"),
            ("on_open", self.on_open in {"hold", "fail"}, "'hold' or 'fail'"),
        ):
            if not ok:
                raise SchedulerError(f"{name}={getattr(self, name)!r} is not {rule}")
        if self.decisions is not None and self.journal is None:
            raise SchedulerError("decisions= answer an earlier run: give its journal=")

    def limit(self, agent: str | None) -> int | None:
        """How many tasks an agent may have under way."""
        if agent is None or self.agent_limit is None:
            return None
        if isinstance(self.agent_limit, Mapping):
            return self.agent_limit.get(agent)
        return self.agent_limit

    @property
    def plain(self) -> bool:
        """Whether nothing is asked of the run that every task would pay for."""
        asked = (self.pool, self.agent_limit, self.deadline, self.budget, self.journal)
        return asked == (None,) * 5 and (self.log, self.tracer) == (None, None)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _counts(value: object) -> bool:
    each = (
        cast("Mapping[str, object]", value).values()
        if isinstance(value, Mapping)
        else [value]
    )
    return value is None or all(map(_count, each))


def _deadline(value: object) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0 <= value < math.inf
    return value is None or hasattr(value, "remaining")
