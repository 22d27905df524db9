"""What `waybell run` prints and writes when it has ended."""

import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from waybell._desk._report import dollars, plain
from waybell_agents import Team
from waybell_budget import UnknownPriceError
from waybell_scheduler import RunResult, TaskResult


_FAILED = ("failed", "cancelled")
_PRICES = "state it with --rates FILE, or install waybell[prices], which knows many"
FILES = ("results.json", "results.md")
Spending = Mapping[str, Mapping[str, Any]]


def spent(agents: Spending) -> str:
    """Tokens and dollars of all agents."""
    tokens = sum(one["tokens"] for one in agents.values())
    costs = [one["usd"] for one in agents.values()]
    known = [cost for cost in costs if cost is not None]
    least = "" if len(known) == len(costs) else "at least "
    return f"{tokens:,} tokens, {least}{_usd(sum(known, Decimal(0)))}"


def _usd(amount: Decimal | None) -> str:
    return "unknown" if amount is None else dollars(amount)


def show(
    console: Console, team: Team, result: RunResult, agents: Spending, out: Path
) -> None:
    """Print the results nobody else needed, what failed, and what it took."""
    for name, value in _answers(team, result):
        console.print(f"\n{plain(name)}", style="bold")
        console.print(plain(value), soft_wrap=True)
    for line in ["", *_failures(result)]:
        console.print(plain(line), soft_wrap=True)
    if agents:
        console.print(_table(agents))
    counts = ", ".join(f"{many} {status}" for status, many in result.summary().items())
    console.print(f"{result.status.capitalize()}: {counts}; {spent(agents)}")
    named = f"Files  {out}: {', '.join(FILES)}, traces.jsonl, decisions.jsonl"
    console.print(plain(named), soft_wrap=True)


def _table(agents: Spending) -> Table:
    table = Table("agent", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("calls", "tokens", "cost"):
        table.add_column(title, justify="right")
    for name, one in agents.items():
        table.add_row(name, f"{one['calls']:,}", f"{one['tokens']:,}", _usd(one["usd"]))
    return table


def write(out: Path, team: Team, result: RunResult, agents: Spending) -> None:
    """Write the results for programs and for people."""
    whole = {
        "team": team.name,
        "status": result.status,
        "tasks": {name: _told(one) for name, one in result.items()},
        "agents": agents,
        "pending": {
            name: {"reason": pending.reason, "data": pending.data}
            for name, pending in result.pending.items()
        },
    }
    text = json.dumps(whole, ensure_ascii=False, indent=2, default=str)
    _keep(out / FILES[0], text)
    parts = [f"# {team.name}: {result.status}"]
    for name, one in result.items():
        body = _text(one.value) if one.status == "done" else _error(one)
        parts.append(f"## {name}: {one.status}\n\n{body}".rstrip())
    _keep(out / FILES[1], "\n\n".join(parts))


def _keep(path: Path, text: str) -> None:
    """Write a file for its owner only, as traces and decisions are."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _told(one: TaskResult) -> dict[str, Any]:
    typed = getattr(one.value, "value", None)
    found = {
        "status": one.status,
        "value": one.value if typed is None else typed,
        "error": _error(one) or None,
        "stems_from": one.stems_from,
        "seconds": round(one.seconds, 6),
        "attempts": one.attempts,
        "usd": getattr(one.value, "cost", None) if one.usd is None else one.usd,
        "tokens": getattr(one.value, "tokens", one.tokens),
    }
    return {name: fact for name, fact in found.items() if fact is not None}


def _answers(team: Team, result: RunResult) -> list[tuple[str, str]]:
    """The results that no other task needed."""
    needed = {name for task in team.tasks for name in task.depends_on}
    done = ((name, one) for name, one in result.items() if one.status == "done")
    return [(name, _text(one.value)) for name, one in done if name not in needed]


def _failures(result: RunResult) -> list[str]:
    ended = ((name, one) for name, one in result.items() if one.status in _FAILED)
    return [f"Failed {name}: {_error(one)}" for name, one in ended]


def _error(one: TaskResult) -> str:
    if one.stems_from is not None:
        return f"it needs {one.stems_from}"
    kind = type(one.error).__name__
    return "" if one.error is None else f"{kind}: {said(kind, str(one.error))}"


def said(kind: str, text: str) -> str:
    """An error's text; of a price that nobody knows, what helps a user of the command."""
    if kind == UnknownPriceError.__name__:
        return f"{text.partition(': ')[0]}: {_PRICES}"
    return text


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
