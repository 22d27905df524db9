"""What a journal knows: the run it belongs to, and how far that got."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the queue's lists are private to the package

from collections.abc import Container, Generator, Iterable, Mapping
from contextlib import contextmanager
from decimal import Decimal
from secrets import token_hex
from typing import Any, NoReturn, cast

from waybell_scheduler._described import SHAPE, retold, told
from waybell_scheduler._errors import JournalError, SchedulerError
from waybell_scheduler._graph import CANCELLED, FAILED, numbered
from waybell_scheduler._journal import VERSION, Journal, pack, unpack
from waybell_scheduler._queue import TaskQueue
from waybell_scheduler._results import Facts
from waybell_scheduler._steps import UNKNOWN, Before, Pending, Steps
from waybell_scheduler._task import Task


class Past:
    """A journal, and what is known from it.

    Args:
        journal: Open; it stays its opener's to close.
        tasks: The tasks of the run, or None to take them from the journal.
        decisions: Answers to what the earlier run was suspended for.

    Raises:
        JournalError: It is that of another graph, or has no tasks, or one of
            the decisions is about nothing that it waits for, or about several.
    """

    __slots__ = (
        "_ahead", "_before", "_ended", "_shown", "fresh", "journal", "run", "tasks",
    )  # fmt: skip

    def __init__(
        self,
        journal: Journal,
        tasks: Iterable[Task] | None,
        decisions: Mapping[str, Any] | None,
    ) -> None:
        self.journal = journal
        self._ahead: list[dict[str, Any]] = []  # to write before the run begins
        self._before: dict[str, Before] = {}
        self._ended: dict[str, Mapping[str, Any]] = {}
        self._shown: dict[str, tuple[Mapping[str, Any], str | None]] = {}
        self.fresh = not journal.records
        if tasks is not None:
            tasks = list(tasks)
            numbered(tasks)
        if not self.fresh:
            with self._reading():
                self._replay(journal.records)
                self.tasks = self._matched(tasks)
        elif tasks is None:
            raise JournalError(f"{journal.path} is empty: there is nothing to resume")
        else:
            self.tasks = tasks
            self.run = token_hex(8)
            header: dict[str, Any] = {"waybell_journal": VERSION, "run": self.run}
            header["tasks"] = [told(task) for task in self.tasks]
            self._ahead.append(header)
            self._shown = {task.id: ({}, None) for task in self.tasks}
        journal.records = []  # replayed: they may be large
        if decisions:
            self._decide(decisions)

    @contextmanager
    def _reading(self) -> Generator[None]:
        """Say of whatever cannot be read that the journal is damaged."""
        try:
            yield
        except SchedulerError:
            raise
        except (
            LookupError,
            TypeError,
            AttributeError,
            ValueError,
            ArithmeticError,
        ) as error:
            raise JournalError(f"{self.journal.path} is damaged: {error!r}") from error

    def _replay(self, records: list[dict[str, Any]]) -> None:
        self.run = records[0]["run"]
        self._shown = {shown["id"]: (shown, None) for shown in records[0]["tasks"]}
        for record in records[1:]:
            if "added" in record:
                shown = record["added"]
                self._shown[shown["id"]] = (shown, record["by"] or "")
            elif "task" in record:
                if record["task"] not in self._shown:
                    raise JournalError(
                        f"{self.journal.path} is damaged: it has no task {record['task']!r}"
                    )
                self._note(record["task"], record)

    def _note(self, task: str, record: Mapping[str, Any]) -> None:
        """Take in what happened to one task."""
        before = self.before(task)
        match record:
            case {"started": _}:
                self._ended.pop(task, None)
                before.pending.clear()
            case {"step": key}:
                before.done[key] = _whole(record)
            case {"begun": key}:
                before.begun.add(key)
                before.decided.pop(key, None)
            case {"pending": key}:
                before.wait(Pending.of(record))
            case {"decided": key, "value": value}:
                before.decided[key] = value
                before.pending.pop(key, None)
            case {"done": _} | {"failed": _} | {"cancelled": _}:
                self._ended[task] = _whole(record)
                before.begun.discard("")
            case _:
                pass  # of a later version

    def restored(self) -> set[str]:
        """The tasks that were added to the earlier run, and are there from the start."""
        return {task.id for task in self.tasks if self._shown[task.id][1] is not None}

    def before(self, task: str) -> Before:
        """What is known of one task."""
        return self._before.setdefault(task, Before())

    def _matched(self, tasks: Iterable[Task] | None) -> list[Task]:
        """The tasks to run: those of the journal, which must be the same."""
        given = {} if tasks is None else {task.id: task for task in tasks}
        for task in given.values():
            self._compare(task)
        if tasks is not None:
            self._compare_names(given)
        found = (given.get(name) or self._back(name) for name in self._shown)
        return [task for task in found if task is not None]

    def _compare_names(self, given: Container[str]) -> None:
        """Refuse to go on without a task that was not added on the way."""
        for name, (_, by) in self._shown.items():
            if by is None and name not in given:
                self._refuse(f"it has a task {name!r}")

    def _compare(self, task: Task) -> None:
        """Refuse a task that is not as the journal has it."""
        if task.id not in self._shown:
            self._refuse(f"it has no task {task.id!r}")
        shown, now = self._shown[task.id][0], told(task)
        for name in SHAPE[1:]:
            was, new = shown.get(name), now.get(name)
            if was != new and (name != "run" or not (was and new)):
                self._refuse(f"{name} of task {task.id!r} was {was!r} and is {new!r}")

    def _refuse(self, why: str) -> NoReturn:
        raise JournalError(
            f"{self.journal.path} is the journal of another graph: {why}. Give another "
            "journal=, or delete it."
        )

    def _back(self, name: str) -> Task | None:
        """A task of the journal, or None if the one that added it will add it again."""
        shown, by = self._shown[name]
        if by is not None and "lost" in shown:
            if name in self._ended:  # what it was called with does not matter any more
                kept = shown.keys() - {"lost", *shown["lost"]}
                return Task(**{key: shown[key] for key in kept})
            if by and by not in self._ended:
                return None
        return retold(shown)

    def _decide(self, decisions: Mapping[str, Any]) -> None:
        """Keep the answers, where there is a question."""
        waits = {
            f"{task}/{key}" if key else task: (task, key)
            for task, before in self._before.items()
            for key in before.pending
        }
        asked = [self._asked(name, waits) for name in decisions]
        for name, value in zip(asked, decisions.values(), strict=True):
            if name not in waits:
                raise JournalError(f"{name!r} is decided twice")
            self._decided(*waits.pop(name), value)

    def _asked(self, name: str, waits: Mapping[str, tuple[str, str]]) -> str:
        """The whole name of what is waited for, also by the id of its task alone."""
        found = [whole for whole, (task, _) in waits.items() if task == name]
        if name in waits or len(found) == 1:
            return name if name in waits else found[0]
        if found:  # which of them was meant, nobody can tell
            which = " or ".join(map(repr, found))
            raise JournalError(f"{name!r} waits for several: name {which}")
        known = ", ".join(map(repr, waits)) or "nothing"
        raise JournalError(
            f"{self.journal.path} does not wait for {name!r}, but for {known}"
        )

    def _decided(self, task: str, key: str, value: Any) -> None:
        """Keep one answer: a result at once, anything else for the task to ask for."""
        waits = self._before[task].pending[key]
        answers = isinstance(value, bool) or value in ("repeat", "fail")
        record = {"task": task, "decided": key, "value": pack(value)["value"]}
        if not answers and (not key or waits.reason == UNKNOWN):
            if isinstance(value, dict):
                literal = cast("dict[str, Any]", value)
                value = literal["value"] if [*literal] == ["value"] else literal
            end = {"step": key} if key else {"done": True}
            record = {"task": task, **end, **pack(value)}
        self._ahead.append(record)
        self._note(task, record)

    def begin(self) -> None:
        """Write that the run begins or goes on, now that nothing speaks against it."""
        for record in self._ahead:
            self.journal.append(record)

    def restore(self, queue: TaskQueue, retry_failed: bool) -> dict[int, Facts]:
        """Put a new queue in the state that the journal tells of."""
        facts = dict[int, Facts]()
        failed = list[tuple[int, Mapping[str, Any]]]()
        with self._reading():
            for name, record in self._ended.items():
                if "done" not in record and retry_failed:
                    continue
                i = queue._index[name]
                facts[i] = _facts(record)
                if "done" in record:
                    queue._results[i] = unpack(record)
                    queue._done(i)
                else:
                    failed.append((i, record))
        for i, _ in failed:  # before one of them stops what has not ended
            queue._state[i] = FAILED
        for i, record in failed:
            queue._fail(i, *_failure(record))
        return facts

    def steps(self, task: str) -> Steps:
        """The steps of a task that is about to run."""
        return Steps(task, self.run, self.journal, self.before(task))

    def add(self, task: Task, by: str | None) -> None:
        """Keep a task that was added, unless an earlier run has."""
        if task.id in self._shown:
            self._compare(task)
        else:
            self.journal.append({"added": told(task), "by": by})
            self._shown[task.id] = (told(task), by or "")


def _whole(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record, if it has what belongs to it."""
    part = "value" if record.keys() & {"done", "step"} else "message"
    if part not in record:
        raise KeyError(part)
    return record


def _facts(record: Mapping[str, Any]) -> Facts:
    """What the record of a task's end tells beyond how it ended."""
    usd = record.get("usd")
    spent = None if usd is None else Decimal(usd)
    return Facts(record.get("attempts", 1), spent, record.get("tokens"), True)


def _failure(record: Mapping[str, Any]) -> tuple[SchedulerError, int]:
    """The error that stands for that of an earlier run, and the task's state."""
    kind = record.get("failed", "CancelledError")
    error = SchedulerError(f"{kind}: {record['message']} (in an earlier run)")
    return error, CANCELLED if "cancelled" in record else FAILED
