"""What every pattern is made of: stages, one run's limits and record, the doors."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from time import perf_counter
from typing import Any, Generic, Literal, TypeVar

from waybell_budget import Budget, BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline
from waybell_patterns._call import Agent, caller, named
from waybell_patterns._results import text_of


R = TypeVar("R")
_log = logging.getLogger("waybell_patterns")


@dataclass(frozen=True, slots=True)
class Stage:
    """An agent with its own name and limits; any pattern takes one for an agent.

    Args:
        name: What records, results and errors call it.
        agent: A topic, a callable of the prompt (a sync one runs in a thread), or an
            object with `run(prompt)` or an adapter's `generate(prompt)`.
        usd: US dollars to hold for it; by default its charges come from free money.
        tokens: Tokens to hold for it.
        timeout: Seconds it may take.
        prompt: Makes its prompt from `(prompt, results)`: what the pattern would give
            it, and in a pipeline the earlier answers by name.
    """

    name: str
    agent: Agent
    usd: Any = None
    tokens: int | None = None
    timeout: float | None = None
    prompt: Callable[[str, Mapping[str, Any]], str] | None = None

    @property
    def limited(self) -> bool:
        """Whether it names what it may spend."""
        return self.usd is not None or self.tokens is not None


class Worker:
    """A stage made ready to be asked.

    Args:
        agent: A `Stage`, or any agent.
        bus: Where topics are asked.
        fallback: The stage's name if the agent has none.

    Raises:
        TypeError: The agent is of no known form, or is a topic and there is no bus.
    """

    __slots__ = ("call", "stage")

    def __init__(self, agent: Agent, bus: EventBus | None, fallback: str) -> None:
        self.stage = (
            agent if isinstance(agent, Stage) else Stage(named(agent, fallback), agent)
        )
        self.call = caller(self.stage.agent, bus)


class Run:
    """One run of a pattern: its limits, its record, and what it has spent so far."""

    __slots__ = ("_began", "_log", "_tracer", "budget", "deadline", "usd")

    def __init__(
        self,
        budget: BudgetPool | None,
        deadline: Deadline | None,
        log: Any,
        tracer: Any,
    ) -> None:
        self.budget = budget
        self.deadline = deadline
        self._log = log
        self._tracer = tracer
        self._began = perf_counter()
        self.usd = Decimal(0)

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return perf_counter() - self._began

    def wall(self) -> AbstractAsyncContextManager[Any]:
        """The deadline as a wall, or nothing."""
        return nullcontext() if self.deadline is None else self.deadline

    def record(self, decision: str, /, **fields: Any) -> None:
        """Write a decision; a log that fails is warned of and fails nobody."""
        try:
            if self._log is not None:
                self._log.record(decision=decision, **fields)
        except Exception:
            _log.warning("a %r record could not be written", decision, exc_info=True)

    def span(self, name: str) -> Any:
        """A span of the tracer, or nothing."""
        return nullcontext() if self._tracer is None else self._tracer.span(name)

    async def hold(
        self, workers: Iterable[Worker], stack: AsyncExitStack
    ) -> Mapping[str, Budget]:
        """Take the holds of all stages that name a limit, all or none.

        Raises:
            BudgetExceeded: The pool cannot pay for all of them; none is taken.
            ValueError: A stage names a limit, and there is no pool.
        """
        stages = [worker.stage for worker in workers if worker.stage.limited]
        if not stages:
            return {}
        parts: dict[str, Any] = {
            stage.name: {"max_usd": stage.usd, "max_tokens": stage.tokens}
            for stage in stages
        }
        return await stack.enter_async_context(self._pool(parts).partition(parts))

    def _pool(self, limited: object) -> BudgetPool:
        if self.budget is None:
            raise ValueError(f"a limit is named, but there is no budget=: {limited!r}")
        return self.budget

    async def ask(
        self, worker: Worker, prompt: Any, hold: Budget | None = None, **extras: Any
    ) -> Any:
        """Ask an agent, from its hold, within its time, and keep the record.

        Args:
            worker: The agent.
            prompt: What it is asked.
            hold: Taken for it before; otherwise one is taken here, if there is a pool.
            **extras: What it may take by keyword.
        """
        stage = worker.stage
        if hold is None and (self.budget is not None or stage.limited):
            hold = self._pool(stage.name).acquire(stage.usd, stage.tokens)
        if stage.prompt is not None:
            prompt = stage.prompt(prompt, extras.get("results", {}))
        began, seen = perf_counter(), {"agent": stage.name, "prompt": prompt}
        try:
            with self.span(stage.name):
                async with nullcontext() if hold is None else hold:
                    try:
                        value = await _timed(worker, prompt, hold, extras)
                    finally:
                        if hold is not None and not stage.limited:
                            _presume_free(hold)
        except BaseException as error:
            seen |= _failure(error)
            raise
        else:
            seen |= {"outcome": "ok", "answer": text_of(value)}
            return value
        finally:
            usd = Decimal(0) if hold is None else hold.snapshot().usd_spent
            self.usd += usd
            seconds = round(perf_counter() - began, 6)
            self.record("answer", **seen, usd=str(usd), seconds=seconds)


async def _timed(
    worker: Worker, prompt: Any, hold: Budget | None, extras: dict[str, Any]
) -> Any:
    stage = worker.stage
    limit = nullcontext() if stage.timeout is None else Deadline(seconds=stage.timeout)
    async with limit:
        value = await worker.call(prompt, {**extras, "budget": hold})
    if hold is not None:
        _account(hold, value)
    unwrap = getattr(value, "unwrap", None)
    return unwrap() if callable(unwrap) else value


def _presume_free(hold: Budget) -> None:
    """An agent that names no limit and reports no cost, a plain function, is free."""
    if not hold.snapshot().by_line:
        hold.charge(usd=0, line="free")


def _account(hold: Budget, value: object) -> None:
    """Charge what an answer says it cost, unless the agent has charged already.

    Raises:
        BudgetExceeded: It cost more than there was; the answer is its `reply`.
    """
    if hold.snapshot().by_line:
        return
    usage, cost = getattr(value, "usage", None), getattr(value, "cost", None)
    model = getattr(value, "model", None)
    if cost is None and usage is None:
        return
    line: Literal["free", "billed"] = "free" if cost == 0 else "billed"
    try:
        hold.charge(usd=cost, usage=usage, model=model, line=line)
    except BudgetExceeded as error:
        error.reply = value  # type: ignore[attr-defined]  # paid for: not to be lost
        raise


def _failure(error: BaseException) -> dict[str, Any]:
    """How a call failed, as fields of its record."""
    kind = "failed" if isinstance(error, Exception) else "cancelled"
    fields = {"outcome": kind, "error": type(error).__name__, "message": str(error)}
    paid = getattr(error, "reply", None)
    return fields if paid is None else {**fields, "answer": text_of(paid)}


class Pattern(ABC, Generic[R]):
    """The doors that all patterns have: `run`, `run_sync`, and being a handler.

    Args:
        bus: Where agents that are topics are asked.
        budget: The pool (or hold) to spend from.
        deadline: When all must be done.
        log: Keeps decisions: anything with `record(decision=..., **fields)`.
        tracer: Keeps spans: anything with `span(name)`.
    """

    __slots__ = ("_bus", "_limits", "_observers")

    def __init__(
        self,
        *,
        bus: EventBus | None = None,
        budget: BudgetPool | None = None,
        deadline: Deadline | None = None,
        log: Any = None,
        tracer: Any = None,
    ) -> None:
        self._bus = bus
        self._limits = (budget, deadline)
        self._observers = (log, tracer)

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
        budget = self._limits[0] if budget is None else budget
        deadline = self._limits[1] if deadline is None else deadline
        run = Run(budget, deadline, *self._observers)
        with run.span(type(self).__name__.casefold()):
            return await self._run(run, prompt)

    def run_sync(self, prompt: str, **limits: Any) -> R:
        """The same from sync code, on an event loop of its own.

        Raises:
            RuntimeError: A loop is running in this thread.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.run(prompt, **limits))
        raise RuntimeError("an event loop is running here: await run() instead")

    async def __call__(self, event: Mapping[str, Any], /) -> R:
        """Answer a topic: the event's `prompt`, within its `budget` if it has one."""
        return await self.run(event["prompt"], budget=event.get("budget"))

    @abstractmethod
    async def _run(self, run: Run, prompt: str) -> R: ...
