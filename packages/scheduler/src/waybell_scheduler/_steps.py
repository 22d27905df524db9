"""What a task has done so far, so that nothing is paid for twice."""

from collections.abc import Mapping
from contextvars import ContextVar
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, final

from waybell_scheduler._errors import SchedulerError
from waybell_scheduler._journal import pack, unpack


if TYPE_CHECKING:
    from waybell_scheduler._journal import Journal


class Pending(Exception):
    """Somebody outside has to decide before this goes on; return it or raise it.

    The task is suspended, and the run goes on with everything that does not need it.

    Args:
        reason: What is waited for, for whoever decides.
        **data: What they need to know: JSON values, if there is a journal.

    Attributes:
        key: The step that waits, empty if it is the task itself.
    """

    def __init__(self, reason: str, /, **data: Any) -> None:
        super().__init__(reason)
        self.reason, self.data = reason, data
        self.key = ""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Pending":
        """What a journal's record says is waited for."""
        pending = cls(record["reason"], **record["data"])
        pending.key = record["pending"]
        return pending

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason,), {"data": self.data, "key": self.key}

    def __repr__(self) -> str:
        told = "".join(f", {name}={value!r}" for name, value in self.data.items())
        return f"Pending({self.reason!r}{told})"


@final
class _Missing:
    """Nothing was recorded."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Steps.MISSING"

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()
UNKNOWN = "tool call outcome unknown"


class Steps:
    """The steps of the task that runs now, kept in the journal of its run.

    Keys are the caller's, and must be the same whenever the task is run again: the
    number of the turn and of the call in it, never the order in which answers arrive.

    Attributes:
        attempt: Which try at the task this is, from 1: the keys begin anew with it.
    """

    __slots__ = (
        "__weakref__", "_before", "_begun", "_decided", "_done", "_journal", "attempt",
        "pending", "run", "task",
    )  # fmt: skip
    MISSING: ClassVar[Any] = MISSING

    def __init__(
        self, task: str, run: str, journal: "Journal", before: "Before"
    ) -> None:
        self.task, self.run, self.attempt = task, run, 1
        self._journal = journal
        self._before = before
        self._done, self._begun = before.done, before.begun
        self._decided = before.decided
        self.pending: dict[str, Pending] = {}

    @staticmethod
    def current() -> "Steps | None":
        """The steps of the task around this code; None where no journal is kept."""
        return current.get()

    def start(self, safe_to_repeat: bool) -> None:
        """Note that the task has started, if it may.

        Raises:
            Pending: It is not safe to repeat, and was in flight when its run ended.
            SchedulerError: It was decided that it shall not go on.
        """
        decision = self.decision()
        if decision is False or decision == "fail":
            raise SchedulerError(f"{self.task!r} was refused")
        if not safe_to_repeat:
            self.begin("")
        self._journal.append({"task": self.task, "started": True})

    def recall(self, key: str, default: Any = MISSING) -> Any:
        """What a step gave that was recorded before, else the default."""
        record = self._done.get(key)
        return default if record is None else unpack(record)

    def record(self, key: str, value: Any) -> None:
        """Keep what a step gave; once this has returned, `kill -9` cannot lose it.

        Raises:
            JournalError: The value is no JSON, or the journal cannot be written.
        """
        packed = pack(value)
        self._journal.append({"task": self.task, "step": key, **packed})
        self._done[key] = packed

    def begin(self, key: str, *, safe_to_repeat: bool = False, **told: Any) -> None:
        """Say that a step is about to have effects outside.

        Args:
            key: The step.
            safe_to_repeat: Whether it may be begun again when nobody knows how the
                last time ended.
            **told: What whoever must decide that should know.

        Raises:
            Pending: It was begun before, nobody knows how it ended, and nobody has
                decided what to do about it.
            SchedulerError: It was decided not to repeat it.
        """
        if key in self._begun and key not in self._done and not safe_to_repeat:
            decision = self._decided.pop(key, MISSING)
            if decision is MISSING:
                self.suspend(key, Pending(UNKNOWN, **told))
            if decision is False or decision == "fail":
                raise SchedulerError(
                    f"{self.task}/{key}: {UNKNOWN}, and not to be repeated"
                )
        self._journal.append({"task": self.task, "begun": key})
        self._begun.add(key)

    def decision(self, key: str = "", default: Any = MISSING) -> Any:
        """What was decided about a step that was suspended, else the default."""
        return self._decided.get(key, default)

    def suspend(self, key: str, pending: Pending) -> NoReturn:
        """Raise a step's `Pending`, after having noted whose it is.

        Args:
            key: The step, under which `decision` will find the answer.
            pending: What is waited for.
        """
        pending.key = key
        self.note(pending)
        raise pending

    def note(self, pending: Pending) -> None:
        """Keep what is waited for, for the end of the run."""
        if self.pending.get(pending.key) is pending:
            return
        data = {name: _told(value) for name, value in pending.data.items()}
        self._journal.append(
            {
                "task": self.task,
                "pending": pending.key,
                "reason": pending.reason,
                "data": data,
            }
        )
        self.pending[pending.key] = pending
        self._before.wait(pending)

    def idempotency_key(self, key: str) -> str:
        """A name for a step that no other one has, the same in every run of it."""
        return key_of(self.run, self.task, key)


def key_of(run: str, task: str, key: str) -> str:
    """A name for a step in a run, fit for a header."""
    digest = sha256(f"{task}\0{key}".encode("utf-8", "surrogatepass"))
    return f"{run}-{digest.hexdigest()[:24]}"


class Before:
    """What a journal knows of one task."""

    __slots__ = ("begun", "decided", "done", "pending")

    def __init__(self) -> None:
        self.done: dict[str, Mapping[str, Any]] = {}
        self.begun: set[str] = set()
        self.decided: dict[str, Any] = {}
        self.pending: dict[str, Pending] = {}

    def wait(self, pending: Pending) -> None:
        """Somebody has to decide about a step."""
        self.pending[pending.key] = pending
        if pending.reason != UNKNOWN:
            self.begun.discard(pending.key)  # how it ended is known


current: ContextVar[Steps | None] = ContextVar("waybell_scheduler_steps", default=None)


def _told(value: Any) -> Any:
    """A fact about a pending step as JSON: what is not is told as text."""
    try:
        return pack(value)["value"]
    except SchedulerError:
        return repr(value)
