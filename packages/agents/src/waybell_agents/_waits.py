"""Decisions that name a tool, as a journal names the call that waits for them."""

import json
from collections import ChainMap
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from waybell_scheduler import JournalError


def whole(terms: Mapping[str, Any], tasks: Container[str]) -> Mapping[str, Any]:
    """The terms of a run, whose decisions have the names of what waits.

    What is no tool that waits, such as a task's id, is left to the scheduler.

    Raises:
        JournalError: Several calls of the tool wait, or one is decided twice.
    """
    journal: Any = terms.get("journal")
    answers: Any = terms.get("decisions")
    if journal is None or not hasattr(answers, "items"):
        return terms  # the scheduler says what is wrong, if anything is
    waits, found = _waits(Path(journal), tasks), dict[str, Any]()
    for name, answer in answers.items():
        calls = [key for key, tool in waits.items() if tool == name]
        if len(calls) > 1:  # which of them was meant, nobody can tell
            which = " or ".join(map(repr, calls))
            raise JournalError(f"several calls of {name!r} wait: name {which}")
        full = (calls or [name])[0]
        if full in found:
            raise JournalError(f"{full!r} is decided twice: say it once")
        found[full] = answer
    return {**terms, "decisions": found}


def _waits(journal: Path, tasks: Container[str]) -> dict[str, str]:
    """The tool of each call that is waited for; one named like a task is not sought."""
    waits = dict[str, dict[str, str]]()
    for record in _records(journal):
        match record:
            case {"task": str(task), "pending": key, "data": {"tool": str(tool)}}:
                waits.setdefault(task, {})[f"{task}/{key}"] = tool
            case {"task": str(task), "decided": key}:
                waits.get(task, {}).pop(f"{task}/{key}", None)
            case {"task": str(task), "started": _}:
                waits.pop(task, None)
            case _:
                continue
    found = ChainMap(*reversed(waits.values()))
    return {key: tool for key, tool in found.items() if tool not in tasks}


def _records(journal: Path) -> Iterator[Any]:
    if journal.is_file():
        for line in journal.read_bytes().splitlines():
            with suppress(ValueError):  # the scheduler says what is wrong with it
                yield json.loads(line)
