"""Say where a task stands."""

from __future__ import annotations

from asyncio import Task
from typing import Any


def describe(task: Task[Any]) -> str:
    """Return the task's name and the lines it waits at, outermost first."""
    lines: list[str] = []
    at: Any = task.get_coro()
    while at is not None:
        frame = _first(at, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            code = frame.f_code
            lines.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
        at = _first(at, "cr_await", "gi_yieldfrom", "ag_await")
    return f"{task.get_name()} awaits at " + ", ".join(lines or ["its first step"])


def _first(obj: Any, *names: str) -> Any:
    for name in names:
        value = getattr(obj, name, None)
        if value is not None:
            return value
    return None
