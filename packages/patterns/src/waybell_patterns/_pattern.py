"""What every pattern is made of: stages, their limits, their record."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    nullcontext,
)
from dataclasses import dataclass, field, replace
from decimal import Decimal
from time import perf_counter
from typing import Any, Generic, TypeVar

from waybell_budget import Budget, BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline
from waybell_patterns._call import Agent, caller, named
from waybell_patterns._results import text_of


R = TypeVar("R")
_log = logging.getLogger("waybell_patterns")


@dataclass(frozen=True, slots=True)
class Stage:
    """An agent with its own limits; the unit every pattern is made of.

    Args:
        name: What records, results and errors call it.
        agent: A topic, a callable of the prompt (sync ones run in a thread), or an
            object with `run(prompt)` or an adapter's `generate(prompt)`.
        usd: US dollars to hold for it before anything starts; None holds nothing,
            and its charges come from free money.
        tokens: Tokens to hold for it.
        timeout: Seconds it may take.
        prompt: Makes its prompt from `(prompt, results)`: what the pattern was asked
            and the earlier answers by name. By default the pattern composes it.

    Raises:
        ValueError: The name is empty.
    """

    name: str
    agent: Agent
    usd: Any = None
    tokens: int | None = None
    timeout: float | None = None
    prompt: Callable[[str, Mapping[str, Any]], str] | None = field(default=None)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a stage needs a name, not {self.name!r}")

    @property
    def limited(self) -> bool:
        """Whether it names what it may spend."""
        return self.usd is not None or self.tokens is not None


@dataclass(frozen=True, slots=True)
class Setting:
    """What a pattern was built with: where it calls, its limits and its observers."""

    bus: EventBus | None = None
    budget: BudgetPool | None = None
    deadline: Deadline | None = None
    log: Any = None
    tracer: Any = None

    def within(self, budget: BudgetPool | None, deadline: Deadline | None) -> "Setting":
        """The same with the limits of one run, where the run names its own."""
        return replace(
            self,
            budget=self.budget if budget is None else budget,
            deadline=self.deadline if deadline is None else deadline,
        )

    def wall(self) -> AbstractAsyncContextManager[Any]:
        """The deadline as a wall, or nothing."""
        return nullcontext() if self.deadline is None else self.deadline

    async def hold(
        self, stages: "Iterable[Stage]", stack: AsyncExitStack
    ) -> dict[str, Budget]:
        """Take the holds of all stages that name a limit, all or none.

        Raises:
            BudgetExceeded: The pool cannot pay for all of them; none is taken.
            ValueError: A stage names a limit, and there is no pool.
        """
        wanted = {
            stage.name: {"max_usd": stage.usd, "max_tokens": stage.tokens}
            for stage in stages
            if stage.limited
        }
        if not wanted:
            return {}
        if self.budget is None:
            raise ValueError(f"{sorted(wanted)} name a limit, but there is no budget=")
        return dict(await stack.enter_async_context(self.budget.partition(wanted)))

    def record(self, decision: str, /, **fields: Any) -> None:
        """Write a decision; a log that fails is warned of and fails nobody."""
        if self.log is None:
            return
        try:
            self.log.record(decision=decision, **fields)
        except Exception:
            _log.warning("a %r record could not be written", decision, exc_info=True)

    def span(self, name: str, /, **attributes: Any) -> AbstractContextManager[Any]:
        """A span of the tracer, or nothing."""
        if self.tracer is None:
            return nullcontext()
        span: AbstractContextManager[Any] = self.tracer.span(name, **attributes)
        return span


class Worker:
    """A stage made ready: its agent's form resolved, its limits checked.

    Args:
        agent: A `Stage`, or any agent.
        setting: What the pattern was built with.
        fallback: The stage's name if the agent has none.

    Raises:
        TypeError: The agent is of no known form, or is a topic and there is no bus.
    """

    __slots__ = ("_call", "stage")

    def __init__(self, agent: Agent, setting: Setting, fallback: str) -> None:
        self.stage = (
            agent if isinstance(agent, Stage) else Stage(named(agent, fallback), agent)
        )
        self._call = caller(self.stage.agent, setting.bus)

    def prompt(
        self,
        asked: str,
        results: Mapping[str, Any],
        compose: Callable[[str, Mapping[str, Any]], str],
    ) -> str:
        """What the agent is given: by the stage's own `prompt=`, else composed."""
        return (self.stage.prompt or compose)(asked, results)

    async def held(
        self,
        setting: Setting,
        prompt: str,
        extras: Mapping[str, Any],
        spent: "Spent",
        hold: Budget | None,
    ) -> Any:
        """Ask the agent, within its time and the hold, and keep the record."""
        began = perf_counter()
        value: Any = None
        error: BaseException | None = None
        try:
            with setting.span(self.stage.name):
                value = await self._timed(prompt, extras, hold)
                return value
        except BaseException as raised:
            error = raised
            raise
        finally:
            usd = Decimal(0) if hold is None else hold.snapshot().usd_spent
            spent.usd += usd
            setting.record(
                "answer", agent=self.stage.name, prompt=prompt,
                **_outcome(value, error), usd=str(usd),
                seconds=round(perf_counter() - began, 6),
            )  # fmt: skip

    async def _timed(
        self, prompt: str, extras: Mapping[str, Any], hold: Budget | None
    ) -> Any:
        seconds = self.stage.timeout
        limit = nullcontext() if seconds is None else Deadline(seconds=seconds)
        async with limit:
            value = await self._call(
                prompt,
                {**extras, **({} if hold is None else {"budget": hold})},
            )
        if hold is not None:
            account(hold, value, named_limit=self.stage.limited)
        unwrap = getattr(value, "unwrap", None)
        return unwrap() if callable(unwrap) else value

    async def ask(
        self,
        setting: Setting,
        prompt: str,
        extras: Mapping[str, Any],
        spent: "Spent",
    ) -> Any:
        """Ask the agent from a hold of its own on the setting's pool, if it has one."""
        stage, pool = self.stage, setting.budget
        if pool is None and stage.limited:
            raise ValueError(f"{stage.name!r} names a limit, but there is no budget=")
        if pool is None:
            return await self.held(setting, prompt, extras, spent, None)
        async with pool.acquire(stage.usd, stage.tokens) as hold:
            return await self.held(setting, prompt, extras, spent, hold)


def _outcome(value: object, error: BaseException | None) -> dict[str, Any]:
    """How a call ended, as fields of its record."""
    if error is None:
        return {"outcome": "ok", "answer": text_of(value)}
    paid = getattr(error, "reply", None)
    kind = "failed" if isinstance(error, Exception) else "cancelled"
    fields = {"outcome": kind, "error": type(error).__name__, "message": str(error)}
    return fields if paid is None else {**fields, "answer": text_of(paid)}


def account(hold: Budget, value: object, *, named_limit: bool) -> None:
    """Charge what an answer says it cost, unless the agent has charged already.

    Raises:
        BudgetExceeded: It cost more than there was; the answer is its `reply`.
    """
    if hold.snapshot().by_line:
        return
    usage, cost = getattr(value, "usage", None), getattr(value, "cost", None)
    try:
        if cost is not None or usage is not None:
            hold.charge(
                usd=cost, usage=usage, model=getattr(value, "model", None),
                line="free" if cost == 0 else "billed",
            )  # fmt: skip
        elif not named_limit:
            hold.charge(usd=0, line="free")  # a plain function: nothing to report
    except BudgetExceeded as error:
        error.reply = value  # type: ignore[attr-defined]  # paid for, so not to be lost
        raise


class Spent:
    """What the agents of one run have spent, in US dollars."""

    __slots__ = ("usd",)

    def __init__(self) -> None:
        self.usd = Decimal(0)


class Pattern(ABC, Generic[R]):
    """The doors that all patterns have: `run`, `run_sync`, and being a handler."""

    __slots__ = ("_setting",)

    def __init__(
        self,
        *,
        bus: EventBus | None = None,
        budget: BudgetPool | None = None,
        deadline: Deadline | None = None,
        log: Any = None,
        tracer: Any = None,
    ) -> None:
        self._setting = Setting(bus, budget, deadline, log, tracer)

    async def run(
        self,
        prompt: str,
        *,
        budget: BudgetPool | None = None,
        deadline: Deadline | None = None,
    ) -> R:
        """Run the pattern once.

        Args:
            prompt: What is asked.
            budget: The pool to spend from, instead of the pattern's.
            deadline: The deadline to keep, instead of the pattern's.
        """
        setting = self._setting.within(budget, deadline)
        with setting.span(type(self).__name__.casefold()):
            return await self._run(setting, prompt, Spent())

    def run_sync(
        self,
        prompt: str,
        *,
        budget: BudgetPool | None = None,
        deadline: Deadline | None = None,
    ) -> R:
        """The same from sync code, on an event loop of its own.

        Raises:
            RuntimeError: A loop is running in this thread.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.run(prompt, budget=budget, deadline=deadline))
        name = type(self).__name__.casefold()
        raise RuntimeError(f"an event loop is running here: await {name}.run(...)")

    async def __call__(self, event: Mapping[str, Any], /) -> R:
        """Answer a topic: the event's `prompt`, within its `budget` if it has one."""
        return await self.run(event["prompt"], budget=event.get("budget"))

    @abstractmethod
    async def _run(self, setting: Setting, prompt: str, spent: Spent) -> R: ...
