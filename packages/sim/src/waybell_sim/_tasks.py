"""Tasks and futures with a fixed place in sets, and what is known of tasks."""

import asyncio
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any


_HERE = str(Path(__file__).parent)


class SimFuture(asyncio.Future[Any]):
    """A future that hashes by its number, not by its address.

    asyncio keeps futures in sets (`TaskGroup`, `wait`) and walks them in order; with
    addresses for hashes the schedule would differ from one process to the next.
    """

    __slots__ = ("number",)
    number: int

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[Any]):
    """A task that hashes by its number, as `SimFuture` does."""

    __slots__ = ("_number",)

    def __init__(self, number: int, coro: Any, **settings: Any) -> None:
        self._number = number  # first: Task.__init__ puts the task in a set
        super().__init__(coro, **settings)

    def __hash__(self) -> int:
        return self._number


def ordered_set(items: Iterable[Any] = ()) -> Collection[Any]:
    """`set`, as `asyncio.tasks` calls it, but coroutines keep the order they came in."""
    # They hash by address, and as_completed starts them in the order of a set.
    items = dict.fromkeys(items)
    return items.keys() if any(map(asyncio.iscoroutine, items)) else set(items)


def describe(task: asyncio.Task[Any]) -> str:
    """Return the task's name and the lines it waits at, outermost first."""
    lines: list[str] = []
    at: Any = task.get_coro()
    while at is not None:
        frame = getattr(at, "cr_frame", None) or getattr(at, "gi_frame", None)
        if frame and not frame.f_code.co_filename.startswith(_HERE):
            code = frame.f_code
            lines.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
        at = getattr(at, "cr_await", None) or getattr(at, "gi_yieldfrom", None)
    return f"{task.get_name()} awaits at " + ", ".join(lines or ["no line of its own"])


def unseen(task: asyncio.Task[Any]) -> bool:
    """Whether the task failed and nobody has asked, as asyncio itself finds out."""
    return task.done() and bool(getattr(task, "_log_traceback", False))


def retrieve(tasks: list[asyncio.Task[Any]]) -> list[BaseException]:
    """Return the exceptions nobody has asked for."""
    return [e for task in tasks if unseen(task) and (e := task.exception())]
