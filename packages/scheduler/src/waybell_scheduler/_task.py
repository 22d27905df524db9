"""One unit of work, and what is said about it before it runs."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from types import FunctionType
from typing import Any, Literal, cast

from waybell_scheduler._errors import QueueError


_USUAL = (type(None), FunctionType)  # of `run`
_PLAIN = (True, None, None, None, None, 0, 0, "success", False, True)


@dataclass(slots=True, eq=False)
class Task:
    """One unit of work: what to do, who does it, and what it waits for.

    A queue reads it when it is given; to change a task afterwards changes nothing.

    Args:
        id: Its name, unique in its queue.
        description: What to do: the prompt of its agent.
        agent: Who does it: the name of an agent, or a topic if it has a `:`.
        depends_on: Ids of the tasks whose results it needs; one named twice counts once.
        run: A function, sync or async, that does it instead of an agent. It is given
            the results of the dependencies, by id, if it takes a parameter.
        priority: Of the tasks that are ready, the highest goes first.
        retries: Attempts after the first one, or a tenacity retrying object.
        timeout: Seconds for each attempt.
        deadline: Until when all of it must be done: anything with `remaining()`.
        usd: Dollars it may spend at the most.
        tokens: Tokens it may spend at the most.
        run_if: `"success"`: only after all its dependencies succeeded; `"always"`: as
            soon as they have ended in any way, also after the rest was stopped.
        partial: It can do with a part of its inputs: as long as one dependency
            succeeded, it runs, with a `Gap` in the place of each missing result.
        safe_to_repeat: It may be done again if it was in flight when the process died.
        data: Anything of yours that belongs to it.

    Raises:
        QueueError: A value that makes no sense, named.
    """

    id: str
    description: str = ""
    agent: str | None = None
    depends_on: Iterable[str] = ()
    run: Callable[..., Any] | None = field(default=None, kw_only=True)
    priority: int = field(default=0, kw_only=True)
    retries: Any = field(default=0, kw_only=True)
    timeout: float | None = field(default=None, kw_only=True)
    deadline: Any = field(default=None, kw_only=True)
    usd: int | str | Decimal | float | None = field(default=None, kw_only=True)
    tokens: int | None = field(default=None, kw_only=True)
    run_if: Literal["success", "always"] = field(default="success", kw_only=True)
    partial: bool = field(default=False, kw_only=True)
    safe_to_repeat: bool = field(default=True, kw_only=True)
    data: Any = field(default=None, kw_only=True)
    plain: bool = field(init=False, repr=False)  # no policy of its own: the fast path

    def __post_init__(self) -> None:
        name: object = self.id
        if not (isinstance(name, str) and name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise QueueError(f"a task's id must be text, not {name!r}")
        usual = self.run.__class__ in _USUAL
        if not usual or self.description.__class__ is not str:
            _check_work(self.id, self.description, self.run)
        if self.depends_on.__class__ is not tuple:
            self.depends_on = _names(self.id, self.depends_on)
        if self.agent is not None:
            _check_agent(self.id, self.agent, self.run)
        # fmt: off
        policy = (
            usual, self.timeout, self.deadline, self.usd, self.tokens, self.retries,
            self.priority, self.run_if, self.partial, self.safe_to_repeat,
        )
        # fmt: on
        self.plain = policy == _PLAIN
        if not self.plain:
            _check_policy(self)


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands where the result of a dependency is missing.

    Args:
        task_id: The dependency.
        status: How it ended: `"failed"`, `"skipped"` or `"cancelled"`.
        error: What it raised; of a skipped one, what the task it stems from raised.
    """

    task_id: str
    status: str
    error: BaseException | None = None


def _names(task_id: str, names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise QueueError(
            f"{task_id!r}: depends_on must be a list of ids, not {names!r}"
        )
    return tuple(cast("Iterable[str]", names))


def _check_work(task_id: str, description: object, run: object) -> None:
    if not isinstance(description, str):
        raise QueueError(f"{task_id!r}: description={description!r} is not text")
    if run is not None and not callable(run):
        raise QueueError(f"{task_id!r}: run={run!r} cannot be called")


def _check_agent(task_id: str, agent: object, run: object) -> None:
    if run is not None:
        raise QueueError(f"{task_id!r} names both agent={agent!r} and run=; give one")
    if not isinstance(agent, str) or not _well_formed(agent):
        raise QueueError(
            f"{task_id!r}: agent={agent!r} is no name for a topic: "
            "segments joined by ':' or '.', none empty, no '*'"
        )


@lru_cache(1024)
def _well_formed(agent: str) -> bool:
    return "*" not in agent and "" not in agent.replace(":", ".").split(".")


def _check_policy(task: Task) -> None:
    for name, ok, rule in (
        ("priority", _whole(task.priority), "an int"),
        ("retries", _policy(task.retries), "a count, or a tenacity retrying object"),
        ("timeout", task.timeout is None or _seconds(task.timeout), "positive seconds"),
        (
            "deadline",
            task.deadline is None or hasattr(task.deadline, "remaining"),
            "a Deadline",
        ),
        ("usd", task.usd is None or _amount(task.usd), "dollars from 0 up"),
        (
            "tokens",
            task.tokens is None or (_whole(task.tokens) and task.tokens >= 0),
            "a count",
        ),
        ("run_if", task.run_if in ("success", "always"), "'success' or 'always'"),
        ("partial", task.partial in (True, False), "True or False"),
        ("safe_to_repeat", task.safe_to_repeat in (True, False), "True or False"),
    ):
        if not ok:
            raise QueueError(
                f"{task.id!r}: {name}={getattr(task, name)!r} is not {rule}"
            )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _policy(retries: object) -> bool:
    if isinstance(retries, int):
        return _whole(retries) and retries >= 0
    return hasattr(retries, "stop") and hasattr(retries, "wait")


def _seconds(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < math.inf
    )


def _amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return False
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        return False
    return amount.is_finite() and amount >= 0
