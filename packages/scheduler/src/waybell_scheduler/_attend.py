"""One task with all its policies: journal, deadline, budget, breaker, retries."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the queue's lists are private to the package

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext
from contextvars import ContextVar
from itertools import islice
from secrets import token_hex
from typing import Any

from waybell_deadline import Deadline
from waybell_scheduler._call import Attempt, Caller
from waybell_scheduler._crew import Ended
from waybell_scheduler._effort import Effort
from waybell_scheduler._errors import CircuitOpenError, fact, message
from waybell_scheduler._graph import CANCELLED, DONE, FAILED, SUSPENDED
from waybell_scheduler._journal import Journal, pack
from waybell_scheduler._past import Past
from waybell_scheduler._progress import Teller
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._settings import Terms
from waybell_scheduler._steps import Pending, Steps, current, key_of
from waybell_scheduler._task import Task


log = logging.getLogger("waybell_scheduler")
_WORDS = {
    DONE: "done",
    FAILED: "failed",
    CANCELLED: "cancelled",
    SUSPENDED: "suspended",
}
# Of a record; docs/decisions/record-outcomes.md says why a suspended task has none.
_OUTCOMES = {DONE: "ok", FAILED: "error", CANCELLED: "cancelled"}
# The task around this code, for `queue.add` to say who added one.
doing: ContextVar[str | None] = ContextVar("waybell_scheduler_task", default=None)


class Attendant:
    """Does the tasks of one run that need more than to be called.

    Args:
        queue: The tasks.
        terms: The settings of the run.
        caller: Calls whoever does a task.
        teller: Where progress is told, or None.
        past: What its journal knows, or None.
    """

    __slots__ = (
        "_caller", "_deadline", "_past", "_queue", "_run", "_skipped", "_teller",
        "_terms", "_time",
    )  # fmt: skip

    def __init__(
        self,
        queue: TaskQueue,
        terms: Terms,
        caller: Caller,
        teller: Teller | None,
        past: Past | None,
    ) -> None:
        self._queue, self._terms, self._caller = queue, terms, caller
        self._teller, self._past = teller, past
        self._run = token_hex(8) if past is None else past.run
        self._skipped = len(queue._stems)  # how many have been told of
        self._time = asyncio.get_running_loop().time
        self._deadline = as_deadline(terms.deadline)

    @property
    def quiet(self) -> bool:
        """Whether nobody has to be told of each task."""
        return self._teller is None and self._terms.log is None

    async def __call__(self, i: int, closing: Callable[[], bool]) -> Ended:
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
            state, value = DONE, await self._do(i, task, steps, effort)
            if isinstance(value, Pending):
                state, value = _fate(value, steps)
            elif self._past is not None:
                kept = {"done": True, **pack(value)}
        except asyncio.CancelledError as error:
            if closing():
                raise
            state, value = CANCELLED, error
        except Exception as error:
            state, value = _fate(error, steps)
        ended = Ended(state, value, effort.facts(), self._time() - began)
        if self._past is not None:
            _keep(self._past.journal, task, ended, kept)
        return ended

    def ended(self, i: int, ended: Ended) -> None:
        """Tell the log and the watchers how a task ended."""
        task, error, word = self._queue.tasks[i], ended.value, _WORDS[ended.state]
        told: dict[str, Any] = {
            "attempts": ended.facts.attempts,
            "seconds": ended.seconds,
        }
        fields: dict[str, Any] = {"task": task.id, "agent": task.agent, "status": word}
        if (outcome := _OUTCOMES.get(ended.state)) is not None:
            fields["outcome"] = outcome
        fields |= told
        if ended.state in (FAILED, CANCELLED):
            why = {"type": type(error).__name__, "message": message(error)}
            fields["error"] = why
            self._tell(
                "failed", task, **told, error=why["type"], message=why["message"]
            )
            self.tell_skipped()
        else:
            self._tell("finished", task, status=word, **told)
        if self._terms.log is not None:
            try:
                self._terms.log.record(decision="task", **fields)
            except Exception:
                log.warning(
                    "the end of %r could not be recorded", task.id, exc_info=True
                )

    def tell_skipped(self) -> None:
        """Tell which tasks have been skipped since the last time."""
        queue = self._queue
        for j in [*islice(queue._stems, self._skipped, None)]:
            task = queue.tasks[j]
            self._tell("skipped", task, stems_from=queue.stems_from(task.id))
        self._skipped = len(queue._stems)

    def _tell(self, what: str, task: Task, **fields: Any) -> None:
        if self._teller is not None:
            self._teller(f"task:{what}", task=task.id, **fields)

    async def _do(self, i: int, task: Task, steps: Steps | None, effort: Effort) -> Any:
        """Within its deadline and its budget, try until it is done."""
        self._tell("started", task, agent=task.agent)
        if steps is not None:
            steps.start(task.safe_to_repeat)
        async with AsyncExitStack() as stack:
            deadline = self._tightest(task)
            if deadline is not None:
                await stack.enter_async_context(deadline)
            await effort.hold(self._terms.budget, stack)
            key = key_of(self._run, task.id, "")
            results = self._queue._inputs(i)
            value = await self._try(task, effort, (results, key))
            effort.charge(value)
            return value

    def _tightest(self, task: Task) -> Deadline | None:
        """The deadline that holds for a task, of its own and the run's."""
        own = as_deadline(task.deadline)
        exempt = task.run_if == "always" and (own or task.timeout) is not None
        found = [own] if exempt else [own, self._deadline]
        return min(filter(None, found), key=Deadline.remaining, default=None)

    async def _try(
        self, task: Task, effort: Effort, given: tuple[dict[str, Any], str]
    ) -> Any:
        """Make attempts, as long as errors and breaker leave hope."""
        patience, holds = effort.patience, self._terms.on_open == "hold"
        while True:
            if (steps := current.get()) is not None:
                steps.attempt = patience.number
            attempt = Attempt(task, patience.number, effort.budget, *given)
            try:
                with self._span(task):
                    return await self._ask(attempt)
            except Exception as error:
                held = holds and isinstance(error, CircuitOpenError)
                wait = patience.hold(error) if held else patience.again(error)
                if wait is None:
                    raise
                told = {
                    "error": type(error).__name__,
                    "message": message(error),
                    "wait": wait,
                }
                self._tell("retrying", task, attempt=attempt.number, held=held, **told)
            await asyncio.sleep(wait)

    async def _ask(self, attempt: Attempt) -> Any:
        """Make one attempt, through the breaker if there is one."""
        if self._terms.pool is None:
            return await self._timed(attempt)
        return await self._terms.pool.acall(self._timed, attempt)

    async def _timed(self, attempt: Attempt) -> Any:
        """Call within the task's timeout, which no wait for the pool counts to."""
        task = attempt.task
        wall = nullcontext() if task.timeout is None else Deadline(task.timeout)
        try:
            async with wall:
                return await self._caller(attempt)
        except Pending as pending:  # which is no failure, for the breaker
            return pending
        except Exception as error:
            if fact(error, "deadline") is wall:
                hint = (
                    f"task {task.id!r} may take timeout={task.timeout:g}: give it more"
                )
                error.args = (f"{message(error)}; {hint}",)
            steps = current.get()
            if steps is None or not steps.pending:
                raise
            return next(iter(steps.pending.values()))  # it failed for want of that

    def _span(self, task: Task) -> Any:
        tracer = self._terms.tracer
        if tracer is None:
            return nullcontext()
        return tracer.span(
            f"task {task.id}", **({"task.agent": task.agent} if task.agent else {})
        )


def as_deadline(given: Any) -> Deadline | None:
    """A deadline of ours from seconds, or from anything with `remaining()`."""
    if given is None or isinstance(given, Deadline):
        return given
    return Deadline(given if isinstance(given, int | float) else given.remaining())


def _fate(error: Exception, steps: Steps | None) -> tuple[int, Any]:
    """Whether a task has failed, or waits for somebody and for what."""
    waits: dict[str, Pending] = {}
    if steps is not None:
        if isinstance(error, Pending):
            steps.note(error)
        waits = dict(steps.pending)
    elif isinstance(error, Pending):
        waits = {error.key: error}
    return (SUSPENDED, waits) if waits else (FAILED, error)


def _keep(journal: Journal, task: Task, ended: Ended, kept: dict[str, Any]) -> None:
    """Write how a task ended; one that is suspended has said so itself."""
    if journal.broken is not None:
        raise journal.broken
    if ended.state == SUSPENDED or _struck(ended):
        return
    if not kept:
        kind = type(ended.value).__name__
        kept = {_WORDS[ended.state]: kind, "message": message(ended.value)}
    attempts, usd, tokens, _ = ended.facts
    spent = {} if usd is None else {"usd": str(usd), "tokens": tokens}
    took = {"attempts": attempts, "seconds": round(ended.seconds, 6)}
    journal.append({"task": task.id, **kept, **took, **spent})


def _struck(ended: Ended) -> bool:
    """Whether somebody else has cancelled the task: perhaps all there are.

    As where a loop is shut down; then it was in flight, and may run again.
    """
    me = asyncio.current_task()
    return ended.state == CANCELLED and me is not None and me.cancelling() > 0
