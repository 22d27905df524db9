"""The doors: run tasks, or go on with a run, from async code and from plain code."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the queue is told who runs it

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, closing, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from waybell_scheduler._aside import finished
from waybell_scheduler._attend import Attendant, doing
from waybell_scheduler._call import Caller
from waybell_scheduler._crew import Crew
from waybell_scheduler._errors import JournalError, QueueError, SchedulerError
from waybell_scheduler._journal import Journal
from waybell_scheduler._past import Past
from waybell_scheduler._progress import teller_of
from waybell_scheduler._queue import TaskQueue, running
from waybell_scheduler._results import RunResult
from waybell_scheduler._settings import Common, Settings, Terms
from waybell_scheduler._steps import Pending, current
from waybell_scheduler._task import Task


Tasks = Iterable[Task] | TaskQueue


async def arun(tasks: Tasks, **settings: Unpack[Settings]) -> RunResult:
    """Run tasks, each as soon as its own dependencies are done.

    Args:
        tasks: The tasks, or a `TaskQueue` of them, to which more may be added while
            they run. Inside a task it is `TaskQueue.current()`.
        **settings: See `Settings`.

    Returns:
        What came of every task; failures are in it, and raise nothing.

    Raises:
        SchedulerError: Tasks or settings make no sense; nothing has started.
        JournalError: The journal is not theirs, or could not be written.
    """
    return await _arun(tasks, Terms.of(settings))


async def _arun(tasks: Tasks | None, terms: Terms) -> RunResult:
    async with AsyncExitStack() as stack:
        past = None
        if terms.journal is not None:
            journal = _opened(terms.journal, terms.decisions)
            stack.enter_context(closing(journal))
            given = tasks.tasks if isinstance(tasks, TaskQueue) else tasks
            past = Past(journal, given, terms.decisions)
        queue = _queue(tasks, past, terms)
        facts = {} if past is None else past.restore(queue, terms.retry_failed)
        caller = Caller(terms.bus, terms.agents, terms.call)
        _check(queue, caller)
        if past is not None:
            past.begin()
        span = stack.enter_context(_span(terms.tracer, queue, past))
        teller = teller_of(terms.bus, terms.on_event)
        if teller is not None:
            stack.push_async_callback(teller.close)
        attend = Attendant(queue, terms, caller, teller, past)
        crew = _crew(queue, terms, attend)
        crew.facts.update(facts)
        queue._live = Live(queue, crew, caller, past)
        try:
            await crew.run()
        finally:
            queue._live = None
            attend.tell_skipped()
        pending = _named(queue, crew.pending)
        result = RunResult(queue, crew.seconds, crew.facts, pending)
        _told(span, result)
        return result


def _span(
    tracer: Any, queue: TaskQueue, past: Past | None
) -> AbstractContextManager[Any]:
    """A span of the whole run, which those of its tasks stand below.

    Of a run with a journal `run.id` tells, from then on, when another one goes on with it.
    """
    if tracer is None:
        return nullcontext()
    told = {"run.tasks": len(queue.tasks)} | ({"run.id": past.run} if past else {})
    span: AbstractContextManager[Any]
    span = getattr(tracer, "workflow", tracer.span)("run", **told)
    return span


def _told(span: Any, result: RunResult) -> None:
    """Say on the span of a run what came of its tasks, as far as it is one of ours."""
    set_attribute = getattr(span, "set_attribute", None)
    if set_attribute is None:
        return
    for status, many in {**result.summary(), "tasks": len(result)}.items():
        set_attribute(f"run.{status}", many)
    errors = (each.error for each in result.values() if each.status == "failed")
    if (error := next(filter(None, errors), None)) is not None:
        span.fail(error)


def _opened(path: str | PathLike[str], decisions: Mapping[str, Any] | None) -> Journal:
    if decisions and not Path(path).exists():
        said = f"does not wait for {next(iter(decisions))!r}, but for nothing"
        raise JournalError(f"{path} {said}: there is no such file")
    return Journal(path)


def _check(queue: TaskQueue, caller: Caller) -> None:
    """Refuse tasks that nobody can do, as far as they are to be done."""
    for i, task in enumerate(queue.tasks):
        if task.run is None and not queue._state[i]:
            caller.check(task)


def _queue(tasks: Tasks | None, past: Past | None, terms: Terms) -> TaskQueue:
    """The queue to run."""
    if not isinstance(tasks, TaskQueue):
        given = (tasks or ()) if past is None else past.tasks
        return TaskQueue(given, terms.stop_on_failure)
    if past is not None and not past.fresh:
        raise SchedulerError(
            "give the tasks themselves to go on with a journal, no queue"
        )
    if tasks._live is not None:
        raise SchedulerError("this queue is being run already")
    tasks.stop_on_failure = tasks.stop_on_failure or terms.stop_on_failure
    return tasks


def _crew(queue: TaskQueue, terms: Terms, attend: Attendant) -> Crew:
    """Workers, and the context that tasks find themselves in."""
    tokens = running.set(queue), current.set(None)
    try:
        return Crew(
            queue,
            terms.max_concurrent,
            attend,
            plain=terms.plain and attend.quiet,
            call=terms.call,
            limits=None if terms.agent_limit is None else terms.limit,
        )
    finally:
        running.reset(tokens[0])
        current.reset(tokens[1])


def _named(
    queue: TaskQueue, pending: Mapping[int, Mapping[str, Pending]]
) -> dict[str, Pending]:
    """What is waited for, by task, or task and step."""
    return {
        f"{queue.tasks[i].id}/{key}" if key else queue.tasks[i].id: each
        for i, waits in pending.items()
        for key, each in waits.items()
    }


class Live:
    """What a queue tells of tasks that are added while it is run."""

    __slots__ = ("_caller", "_crew", "_past", "_queue", "_restored", "_thread")

    def __init__(
        self, queue: TaskQueue, crew: Crew, caller: Caller, past: Past | None
    ) -> None:
        self._queue, self._crew, self._caller, self._past = queue, crew, caller, past
        self._thread = threading.get_ident()
        self._restored: set[str] = set() if past is None else past.restored()

    def check(self, task: Task) -> bool:
        """Check a task that is to be added; False if the journal has brought it back.

        Raises:
            QueueError: Nobody can do it, or this is another thread.
            JournalError: The journal has another one of that name.
        """
        if threading.get_ident() != self._thread:
            raise QueueError(
                f"{task.id!r} was added from another thread: "
                "use loop.call_soon_threadsafe(queue.add, task)"
            )
        self._caller.check(task)
        if task.id in self._restored:
            self._restored.discard(task.id)
            assert self._past is not None
            self._past.add(task, doing.get())
            return False
        return True

    def added(self, i: int) -> None:
        """Take a task up that was added."""
        if self._past is not None:
            self._past.add(self._queue.tasks[i], doing.get())
        self._crew.added()


def run(tasks: Tasks, **settings: Unpack[Settings]) -> RunResult:
    """`arun` from plain code, also where an event loop is running, as in a notebook."""
    terms = Terms.of(settings)
    return finished(lambda: _arun(tasks, terms))


async def aresume(
    journal: str | PathLike[str],
    decisions: Mapping[str, Any] | None = None,
    *,
    tasks: Iterable[Task] | None = None,
    **settings: Unpack[Common],
) -> RunResult:
    """Go on with a run that was suspended, or that ended with its process.

    Args:
        journal: Its file.
        decisions: Answers by the names in `RunResult.pending`, or by the id of a task
            that waits for one thing only: True goes on (repeats what may have been
            done, grants what was asked), False fails, anything else is taken for the
            result; `{"value": x}` takes x, whatever it is.
        tasks: Its tasks, if they have functions, which no journal can keep.
        **settings: See `Settings`.

    Raises:
        JournalError: The journal is missing or empty, of other tasks, or waits for
            nothing of the name of a decision, or for several.
    """
    return await _arun(tasks, _resuming(journal, decisions, settings))


def resume(
    journal: str | PathLike[str],
    decisions: Mapping[str, Any] | None = None,
    *,
    tasks: Iterable[Task] | None = None,
    **settings: Unpack[Common],
) -> RunResult:
    """`aresume` from plain code."""
    terms = _resuming(journal, decisions, settings)
    return finished(lambda: _arun(tasks, terms))


def _resuming(
    journal: str | PathLike[str],
    decisions: Mapping[str, Any] | None,
    settings: Common,
) -> Terms:
    if not Path(journal).exists():  # else a mistyped name would begin all anew
        raise JournalError(f"there is no journal {os.fspath(journal)!r} to go on with")
    return Terms.of({**settings, "journal": journal, "decisions": decisions})
