"""One task with all its policies: journal, deadline, budget, breaker, retries."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the queue's lists are private to the package

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext
from contextvars import ContextVar
from decimal import Decimal
from itertools import islice
from typing import Any

from waybell_deadline import Deadline
from waybell_scheduler._call import Attempt, Caller
from waybell_scheduler._crew import Ended
from waybell_scheduler._errors import CircuitOpenError, SchedulerError
from waybell_scheduler._graph import CANCELLED, DONE, FAILED, SUSPENDED
from waybell_scheduler._journal import Journal, pack
from waybell_scheduler._past import Past
from waybell_scheduler._progress import Teller
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._results import Facts
from waybell_scheduler._retry import Patience
from waybell_scheduler._settings import Terms
from waybell_scheduler._steps import Pending, Steps, current, key_of
from waybell_scheduler._task import Task


log = logging.getLogger("waybell_scheduler")
_FOREVER = 1e9  # seconds to stand in line for money that running tasks still hold
_WORDS = {
    DONE: "done",
    FAILED: "failed",
    CANCELLED: "cancelled",
    SUSPENDED: "suspended",
}
# The task around this code, for `queue.add` to say who added one.
doing: ContextVar[str | None] = ContextVar("waybell_scheduler_task", default=None)


class Attendant:
    """Does the tasks of one run that need more than to be called.

    Args:
        queue: The tasks.
        terms: The settings of the run.
        run: Its id.
        teller: Where progress is told, or None.
        past: What its journal knows, or None.
        journal: The journal, or None.
        closing: Whether the run is being ended.
    """

    __slots__ = (
        "_caller", "_closing", "_deadline", "_holds", "_journal", "_past", "_queue",
        "_run", "_skipped", "_teller", "_terms", "_time",
    )  # fmt: skip

    def __init__(
        self,
        queue: TaskQueue,
        terms: Terms,
        *,
        run: str,
        teller: Teller | None,
        past: Past | None,
        journal: Journal | None,
        closing: Callable[[], bool],
    ) -> None:
        self._queue, self._terms, self._run, self._closing = queue, terms, run, closing
        self._teller, self._past, self._journal = teller, past, journal
        self._skipped = 0  # how many have been told of
        self._caller = Caller(terms.bus, terms.agents, terms.call)
        self._time = asyncio.get_running_loop().time
        self._deadline = as_deadline(terms.deadline)
        self._holds = terms.on_open == "hold"

    async def __call__(self, i: int) -> Ended:
        """Do a task, in an `asyncio.Task` and a context of its own.

        Raises:
            CancelledError: The run is being cancelled.
            JournalError: The journal cannot be written.
        """
        task = self._queue.tasks[i]
        steps = None if self._past is None else self._past.steps(task.id)
        current.set(steps)
        doing.set(task.id)
        began, effort = self._time(), Effort(task)
        kept: dict[str, Any] = {}
        try:
            state: int = DONE
            value = await self._do(i, task, steps, effort)
            if isinstance(value, Pending):
                state, value = SUSPENDED, _pending(value, steps)
            elif self._journal is not None:
                kept = pack(value)
        except asyncio.CancelledError as error:
            await asyncio.sleep(0)  # whoever cancels everything cancels the run in the
            await asyncio.sleep(0)  # same turn, perhaps after this task
            if self._closing():
                raise
            state, value = CANCELLED, error
        except Exception as error:
            state, value = FAILED, error
            if pending := _pending(error, steps):
                state, value = SUSPENDED, pending
        ended = Ended(state, value, effort.facts(), self._time() - began)
        if self._journal is not None:
            if self._journal.broken is not None:
                raise self._journal.broken
            self._keep(task, ended, kept)
        return ended

    def _keep(self, task: Task, ended: Ended, kept: dict[str, Any]) -> None:
        """Write how a task ended; one that is suspended has said so itself."""
        record: dict[str, Any] = {"task": task.id}
        if ended.state == DONE:
            record |= {"done": True, **kept}
        elif ended.state == SUSPENDED:
            return
        else:
            word, error = _WORDS[ended.state], ended.value
            record |= {word: type(error).__name__, "message": str(error)}
        attempts, usd, tokens, _ = ended.facts
        record |= {"attempts": attempts, "seconds": round(ended.seconds, 6)}
        if usd is not None:
            record |= {"usd": str(usd), "tokens": tokens}
        assert self._journal is not None
        self._journal.append(record)

    def ended(self, i: int, ended: Ended) -> None:
        """Tell the log and the watchers how a task ended."""
        task, error = self._queue.tasks[i], ended.value
        failed = ended.state in (FAILED, CANCELLED)
        told: dict[str, Any] = {
            "attempts": ended.facts.attempts,
            "seconds": ended.seconds,
        }
        if failed:
            told |= {"error": type(error).__name__, "message": str(error)}
        if self._teller is not None:
            if failed:
                self._teller("task:failed", task=task.id, **told)
                self._tell_skipped()
            else:
                self._teller(
                    "task:finished", task=task.id, status=_WORDS[ended.state], **told
                )
        if self._terms.log is not None:
            try:
                self._terms.log.record(
                    decision="task", task=task.id, agent=task.agent,
                    outcome=_WORDS[ended.state], **told,
                )  # fmt: skip
            except Exception:
                log.warning(
                    "the end of %r could not be recorded", task.id, exc_info=True
                )

    def _tell_skipped(self) -> None:
        """Tell which tasks a failure has taken along."""
        queue, stems = self._queue, self._queue._stems
        assert self._teller is not None
        for j in [*islice(stems, self._skipped, None)]:
            self._teller(
                "task:skipped",
                task=queue.tasks[j].id,
                stems_from=queue.tasks[stems[j]].id,
            )
        self._skipped = len(stems)

    async def _do(
        self, i: int, task: Task, steps: Steps | None, effort: "Effort"
    ) -> Any:
        """Within its deadline and its budget, try until it is done."""
        if self._teller is not None:
            self._teller("task:started", task=task.id, agent=task.agent)
        if steps is not None:
            self._begin(task, steps)
        async with AsyncExitStack() as stack:
            deadline = self._tightest(task)
            if deadline is not None:
                await stack.enter_async_context(deadline)
            await effort.hold(self._terms.budget, stack)
            value = await self._try(i, task, steps, effort)
            effort.charge(value)
            return value

    def _begin(self, task: Task, steps: Steps) -> None:
        """Note that a task has started, if it may."""
        assert self._journal is not None
        decision = steps.decision()
        if decision is False or decision == "fail":
            raise SchedulerError(f"{task.id!r} was refused")
        if not task.safe_to_repeat:
            steps.begin("")
        self._journal.append({"task": task.id, "started": True})

    def _tightest(self, task: Task) -> Deadline | None:
        """The deadline that holds for a task, of its own and the run's."""
        own = as_deadline(task.deadline)
        exempt = task.run_if == "always" and (own or task.timeout) is not None
        outer = None if exempt else self._deadline
        found = [each for each in (own, outer) if each is not None]
        return min(found, key=lambda each: each.remaining(), default=None)

    async def _try(
        self, i: int, task: Task, steps: Steps | None, effort: "Effort"
    ) -> Any:
        key = (
            key_of(self._run, task.id, "")
            if steps is None
            else steps.idempotency_key("")
        )
        results = self._queue._inputs(i)
        patience = effort.patience
        while True:
            attempt = Attempt(task, results, patience.number, key, effort.budget)
            try:
                with self._span(task):
                    return await self._ask(attempt)
            except Exception as error:
                held = (
                    isinstance(error, CircuitOpenError)
                    and self._terms.on_open == "hold"
                )
                wait = patience.hold(error) if held else patience.again(error)
                if wait is None:
                    raise
                if self._teller is not None:
                    self._teller(
                        "task:retrying", task=task.id, attempt=attempt.number, wait=wait,
                        error=type(error).__name__, message=str(error), held=held,
                    )  # fmt: skip
            await asyncio.sleep(wait)

    async def _ask(self, attempt: Attempt) -> Any:
        """Make one attempt, through the breaker if there is one."""
        if self._terms.pool is None:
            return await self._timed(attempt)
        return await self._terms.pool.acall(self._timed, attempt)

    async def _timed(self, attempt: Attempt) -> Any:
        """Call within the task's timeout, which no wait for the pool counts to."""
        timeout = attempt.task.timeout
        try:
            async with nullcontext() if timeout is None else Deadline(timeout):
                return await self._caller(attempt)
        except Pending as pending:  # which is no failure, for the breaker
            return pending

    def _span(self, task: Task) -> Any:
        tracer = self._terms.tracer
        if tracer is None:
            return nullcontext()
        return tracer.span(
            f"task {task.id}", **({"task.agent": task.agent} if task.agent else {})
        )


class Effort:
    """What one task takes: its attempts and its money."""

    __slots__ = ("_hold", "_task", "budget", "patience")

    def __init__(self, task: Task) -> None:
        self._task = task
        self._hold: Any = None
        self.budget: Any = None
        self.patience = Patience(task.retries)

    async def hold(self, pool: Any, stack: AsyncExitStack) -> None:
        """Set aside what the task may spend; wait for what others hold but may leave.

        Raises:
            BudgetExceeded: There never will be as much.
        """
        if pool is None:
            return
        task, deadline = self._task, Deadline.current()
        limited = (task.usd, task.tokens) != (None, None)
        seconds = deadline.timeout() if deadline is not None else None
        line: dict[str, Any] = (
            {"wait": True, "timeout": seconds or _FOREVER} if limited else {}
        )
        hold = pool.acquire(task.usd, task.tokens, label=task.id, **line)
        self._hold = self.budget = await stack.enter_async_context(hold)
        if not limited:
            stack.callback(self._excuse)

    def _excuse(self) -> None:
        """Say of a task that named no limit and spent nothing that it was free."""
        if not self._hold.snapshot().by_line:
            self._hold.charge(usd=0, line="free")

    def charge(self, reply: Any) -> None:
        """Charge what a reply says it cost, unless whoever made it has."""
        usage, cost = getattr(reply, "usage", None), getattr(reply, "cost", None)
        if self._hold is None or (usage, cost) == (None, None):
            return
        if not isinstance(reply, str) or self._hold.snapshot().by_line:
            return
        line = "free" if cost == 0 else "billed"
        model = getattr(reply, "model", None)
        self._hold.charge(usd=cost, usage=usage, model=model, line=line)

    def facts(self) -> Facts:
        """What became of it."""
        if self._hold is None:
            return Facts(self.patience.number)
        spent = self._hold.snapshot()
        return Facts(self.patience.number, Decimal(spent.usd_spent), spent.tokens_spent)


def as_deadline(given: Any) -> Deadline | None:
    """A deadline of ours from seconds, or from anything with `remaining()`."""
    if given is None or isinstance(given, Deadline):
        return given
    return Deadline(given if isinstance(given, int | float) else given.remaining())


def _pending(error: Exception, steps: Steps | None) -> dict[str, Pending]:
    """What a failure waits for, if it is that and no failure."""
    if isinstance(error, Pending):
        if steps is not None:
            steps.note(error)
        return {error.key: error, **(steps.pending if steps is not None else {})}
    return {} if steps is None else dict(steps.pending)
