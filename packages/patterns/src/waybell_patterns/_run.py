"""One run of a pattern: its stages, what they may spend, and the record of it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager as Block
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, Self

from waybell_budget import Budget, BudgetError, BudgetExceeded, BudgetPool
from waybell_deadline import Deadline
from waybell_patterns._agent import Agent, Call
from waybell_patterns._results import Result, fault, text_of


Pool = BudgetPool | Budget
Holds = Mapping[str, Budget]
log = logging.getLogger("waybell_patterns")
# The log and the tracer of the pattern that runs now, for those inside it.
observers = ContextVar[tuple[Any, Any]]("waybell_patterns_observers")


@dataclass(frozen=True, slots=True)
class Stage:
    """An agent with its own name and limits; any pattern takes one for an agent.

    Args:
        name: What records, results and errors call it.
        agent: A topic, a callable of the prompt (a sync one runs in a thread), or an
            object with `run(prompt)` or an adapter's `generate(prompt)`.
        usd: US dollars to hold for it; by default its charges come from free money.
            0 says that it costs nothing, so that an empty pool cannot refuse it.
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
    def free(self) -> bool:
        """Whether it says that it costs nothing."""
        return self.usd in (0, "0") and not self.tokens

    def wall(self) -> Block[Any]:
        """Its timeout as a deadline that begins now, or nothing."""
        return nullcontext() if self.timeout is None else Deadline(self.timeout)

    @property
    def limited(self) -> bool:
        """Whether it names what it may spend."""
        return (self.usd, self.tokens) != (None, None) and not self.free


class Worker(NamedTuple):
    """A stage made ready to be asked."""

    stage: Stage
    call: Call


class Run:
    """One run of a pattern: its limits, its record, and what it has spent so far."""

    __slots__ = ("_began", "_cancels", "_log", "_task", "_time", "_tracer", "budget", "deadline", "usd")  # fmt: skip

    def __init__(
        self, budget: Pool | None, deadline: Deadline | None, log: Any, tracer: Any
    ) -> None:
        self.budget, self.deadline = budget, deadline
        outer = observers.get((None, None))
        self._log = outer[0] if log is None else log
        self._tracer = outer[1] if tracer is None else tracer
        self._task = asyncio.current_task()
        self._cancels = self._task.cancelling() if self._task else 0
        self._time = asyncio.get_running_loop().time
        self._began = self._time()
        self.usd = Decimal(0)

    def spent(self) -> dict[str, Any]:
        """US dollars and seconds so far, as results have them."""
        return {"usd": self.usd, "seconds": self._time() - self._began}

    def wall(self) -> Block[Any]:
        """The deadline as a wall, or nothing."""
        return nullcontext() if self.deadline is None else self.deadline

    @contextmanager
    def observed(self, name: str) -> Generator[None, None, None]:
        """A block with a span, whose patterns inherit the log and the tracer."""
        outer = observers.set((self._log, self._tracer))
        try:
            with self.span(name):
                yield
        finally:
            observers.reset(outer)

    def span(self, name: str, kind: str = "span") -> Any:
        """A span of the tracer, of a kind where it has that, or nothing."""
        if self._tracer is None:
            return nullcontext()
        return getattr(self._tracer, kind, self._tracer.span)(name)

    def record(self, decision: str, /, *end: Any, **fields: Any) -> None:
        """Write a decision, and how something ended; a log that fails fails nobody."""
        if self._log is None:
            return
        try:
            told = _ending(*end) if end else {}
            self._log.record(decision=decision, **fields, **told)
        except Exception:
            log.warning("a %r record could not be written", decision, exc_info=True)

    @asynccontextmanager
    async def hold(self, workers: Iterable[Worker]) -> AsyncGenerator[Holds, None]:
        """A block with the holds of all stages that name a limit, taken all or none."""
        paid = [stage for stage, _ in workers if stage.limited]
        parts: dict[str, Any] = {
            s.name: {"max_usd": s.usd, "max_tokens": s.tokens} for s in paid
        }
        async with AsyncExitStack() as stack:
            holds: Holds = {}
            try:
                if self.budget is not None and parts:
                    held = self.budget.partition(parts)
                    holds = await stack.enter_async_context(held)
            except BudgetExceeded as error:
                error.add_note(f"asked before the start, for all of {', '.join(parts)}")
                raise
            yield holds

    def heed(self) -> None:
        """Raise a cancellation of the run that an agent has swallowed."""
        task = asyncio.current_task()
        if task and task is self._task and task.cancelling() > self._cancels:
            raise asyncio.CancelledError("an agent swallowed the cancellation")

    async def ask(
        self, worker: Worker, prompt: Any, hold: Budget | None = None, **extras: Any
    ) -> Any:
        """Ask an agent within its limits, from a hold taken before or here; record it."""
        self.heed()
        if (deadline := Deadline.current()) is not None:
            deadline.check()
        stage, began, till = worker.stage, self._time(), Till(self, worker.stage, hold)
        value = failed = None
        try:
            if stage.prompt is not None:
                prompt = stage.prompt(prompt, extras.get("results", {}))
            with self.span(stage.name, "agent") as span:
                try:
                    async with till:
                        extras["budget"] = till.hold
                        async with stage.wall():
                            value = await worker.call(prompt, extras)
                        till.take(value)
                finally:
                    _meter(span, value, till.usd)
                value = unwrapped(value)
        except BaseException as error:
            failed = error
            raise
        finally:
            self.record(
                "answer", value, failed, agent=stage.name, prompt=prompt,
                usd=str(till.usd), seconds=round(self._time() - began, 6),
            )  # fmt: skip
        return value


class Till:
    """What an agent spends from, as an `async with` block, and what it comes to."""

    __slots__ = ("_billed", "_run", "_stage", "hold", "usd")

    def __init__(self, run: Run, stage: Stage, hold: Budget | None = None) -> None:
        self._run, self._stage, self.hold = run, stage, hold
        self._billed, self.usd = False, Decimal(0)

    async def __aenter__(self) -> Self:
        pool, stage = self._run.budget, self._stage
        if self.hold is None and pool is not None and not stage.free:
            self.hold = pool.acquire(stage.usd, stage.tokens, label=stage.name)
        if self.hold is not None:
            await self.hold.__aenter__()
        return self

    def take(self, value: Any) -> None:
        """Charge what an answer says it cost, unless the agent has charged already.

        Raises:
            Exception: It cost more than there was, or nobody knows how much. It was
                paid for, and must not be lost: the answer is the error's `reply`.
        """
        if isinstance(value, Result):  # all that was asked inside is charged already
            self.usd += value.usd
        elif hasattr(value, "usage"):  # without, its `cost` may mean anything
            cost = getattr(value, "cost", None)
            try:
                self.usd += Decimal(str(cost or 0))
                self._charge(value, cost, value.usage)
            except Exception as error:
                error.reply = value  # type: ignore[attr-defined]  # as adapters do
                raise

    def _charge(self, reply: Any, cost: Any, usage: Any) -> None:
        purse = self.hold or self._run.budget
        if purse is None or (cost, usage) == (None, None):
            return
        if self.hold and not self._billed and self.hold.snapshot().by_line:
            return  # the agent has charged for itself
        self._billed = True
        purse.charge(
            usd=cost, usage=usage, model=getattr(reply, "model", None),
            line="free" if cost == 0 else "billed",
        )  # fmt: skip

    async def __aexit__(self, *error: object) -> None:
        if (hold := self.hold) is not None:
            if not self._stage.limited and not hold.snapshot().by_line:
                hold.charge(usd=0, line="free")  # it names no limit and no cost
            hold.settle()  # which may book what was never reported
            self.usd = hold.snapshot().usd_spent
        self._run.usd += self.usd


def _meter(span: Any, value: Any, usd: Decimal) -> None:
    """Note on an agent's span what its answer says it used, and what was booked."""
    reply = value if hasattr(value, "usage") else None
    if not hasattr(span, "record_usage") or not (usd or reply is not None):
        return
    used: Any = getattr(reply, "usage", None)
    read = getattr(used, "get", partial(getattr, used))
    tokens = {name: read(name, None) for name in ("input_tokens", "output_tokens")}
    model, cost = getattr(reply, "model", None), getattr(reply, "cost", None)
    try:
        span.record_usage(model=model, usd=usd or cost, **tokens)
    except Exception:
        log.warning("%r: its usage could not be recorded", span, exc_info=True)


def unwrapped(value: Any) -> Any:
    """The value of another pattern's result, or `IncompleteError`."""
    return value.unwrap() if isinstance(value, Result) else value


def paid_reply(error: BaseException) -> Any:
    """The whole answer that a complaint about its price carries, or None."""
    reply = getattr(error, "reply", None) if isinstance(error, BudgetError) else None
    return None if getattr(reply, "partial", False) else reply


def _ending(value: object, error: BaseException | None) -> dict[str, Any]:
    """How something ended, as fields of its record."""
    if error is None:
        if isinstance(value, Result):
            return value.told()
        return {"outcome": "ok", "answer": text_of(value)}
    cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
    paid = getattr(error, "reply", None)
    told = {} if paid is None else {"answer": text_of(paid)}
    outcome = "cancelled" if cancelled else "error"
    return {"outcome": outcome, "error": fault(error), **told}
