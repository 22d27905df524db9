"""A task as a journal's header describes it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from waybell_scheduler._errors import JournalError
from waybell_scheduler._journal import pack
from waybell_scheduler._task import Task


SHAPE = ("id", "description", "agent", "depends_on", "run", "run_if", "partial")
_POLICY = ("priority", "retries", "timeout", "usd", "tokens", "safe_to_repeat", "data")
_USUAL = {name: getattr(Task("default"), name) for name in (*SHAPE[1:], *_POLICY)}


def told(task: Task) -> dict[str, Any]:
    """A task as a journal's header has it; what is not JSON is named in `lost`."""
    shown: dict[str, Any] = {"id": task.id}
    lost: list[str] = []
    for name, usual in _USUAL.items():
        value = getattr(task, name)
        if value is usual or (name != "data" and value == usual):
            continue
        kept, whole = _kept(name, value)
        if kept is not None:
            shown[name] = kept
        if not whole:
            lost.append(name)
    return {**shown, "lost": lost} if lost else shown


def _kept(name: str, value: Any) -> tuple[Any, bool]:
    """What the header says of a value, and whether that is all of it."""
    if name == "depends_on":
        return list(value), True
    if name == "run":
        return getattr(value, "__qualname__", type(value).__name__), False
    if name in {"data", "retries"} and not _is_json(value):
        return None, False
    return str(value) if isinstance(value, Decimal) else value, True


def _is_json(value: object) -> bool:
    try:
        pack(value)
    except JournalError:
        return False
    return True


def retold(shown: Mapping[str, Any]) -> Task:
    """The task that a header describes.

    Raises:
        JournalError: It had what no journal can keep.
    """
    if "lost" in shown:
        raise JournalError(
            f"the journal cannot keep {' and '.join(shown['lost'])} of task "
            f"{shown['id']!r}: give the tasks again with tasks="
        )
    return Task(**shown)
