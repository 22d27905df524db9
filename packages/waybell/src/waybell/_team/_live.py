"""What is seen of a run while it goes on: one line for each task, or for each event."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from waybell._desk._report import plain, seconds
from waybell._team._report import said


_MARKS = {
    "waiting": ("·", "dim"), "running": ("…", "yellow"), "done": ("✓", "green"),
    "failed": ("✗", "red"), "skipped": ("-", "dim"), "suspended": ("?", "magenta"),
}  # fmt: skip
_EARLIER = {True: "in an earlier run", False: ""}
_FIRST = ("running", "suspended", "failed", "done", "skipped", "waiting")


@dataclass(slots=True)
class _Row:
    """What is seen of one task."""

    name: str
    state: str = "waiting"
    since: float = 0.0
    took: float = 0.0
    note: str = ""


class Progress:
    """Shows the progress events of a run inside its `with` block.

    On a terminal it keeps one line per task up to date, as many as fit, those first on
    which something happens; elsewhere it prints one plain line per event.

    Args:
        console: Where it draws.
        tasks: The ids of all tasks, and whether an earlier run has done them.
        spent: Tells the tokens and the dollars of the run so far, as text.
        clock: Seconds.
    """

    __slots__ = ("_clock", "_console", "_live", "_rows", "_spent", "_wide")

    def __init__(
        self,
        console: Console,
        tasks: Mapping[str, bool],
        spent: Callable[[], str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._console, self._spent, self._clock = console, spent, clock
        self._rows = {
            name: _Row(plain(name), "done" if done else "waiting", note=_EARLIER[done])
            for name, done in tasks.items()
        }
        self._wide = min(30, max(map(cell_len, tasks), default=0))
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console, get_renderable=self.lines, refresh_per_second=8
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take in one event."""
        row = self._rows.get(fields["task"])
        if row is None:  # it was added while the run went on
            row = self._rows[fields["task"]] = _Row(plain(fields["task"]))
        verb = event.removeprefix("task:")
        if verb == "started":
            row.state, row.since = "running", self._clock()
        elif verb == "retrying":
            row.note = f"again in {seconds(fields['wait'])}: {_reason(fields)}"
        else:
            row.state = str(fields.get("status", verb)).replace("cancelled", "failed")
            row.took = float(fields.get("seconds", 0.0))
            row.note = _note(verb, fields)
        self._say(verb if verb in ("started", "retrying") else row.state, row)

    def _say(self, what: str, row: _Row) -> None:
        if self._live is None:
            timeless = what in ("started", "retrying", "skipped")
            took = "" if timeless else seconds(row.took)
            pad = " " * (self._wide - cell_len(row.name))
            line = f"  {what:<9} {row.name}{pad} {took:>9}  {row.note}".rstrip()
            # If nobody reads it any more, the next word to the user will say so.
            with suppress(OSError):
                print(line, file=self._console.file, flush=True)

    def lines(self) -> Group:
        """The picture as it is now."""
        rows = list(self._rows.values())
        room = max(3, self._console.height - 3)
        if len(rows) > room:
            rows.sort(key=lambda row: (_FIRST.index(row.state), row.since))
        shown = [self._line(row) for row in rows[:room]]
        counts = [
            f"{sum(row.state == state for row in rows)} {state}"
            for state in _MARKS
            if any(row.state == state for row in rows)
        ]
        told = f"  {', '.join(counts)}  {self._spent()}".rstrip()
        return Group(*shown, Text(told, style="bold"))

    def _line(self, row: _Row) -> Text:
        mark, style = _MARKS[row.state]
        took = self._clock() - row.since if row.state == "running" else row.took
        shown = seconds(took) if took or row.state == "running" else ""
        name = row.name
        wide = max(8, min(self._wide, self._console.width - 15))
        if cell_len(name) > wide:
            name = set_cell_size(name, wide - 1) + "…"
        line = Text.assemble(
            (f"  {mark} ", style),
            f"{set_cell_size(name, wide)} {shown:>9}",
            (f"  {row.note}" if row.note else "", style),
        )
        line.truncate(self._console.width, overflow="ellipsis")
        return line


def _note(verb: str, fields: Mapping[str, Any]) -> str:
    if verb == "skipped":
        return f"needs {plain(str(fields['stems_from']))}"
    again = f"{fields['attempts']} attempts" if fields.get("attempts", 1) > 1 else ""
    return "; ".join(filter(None, [again, _reason(fields)]))


def _reason(fields: Mapping[str, Any]) -> str:
    if "error" not in fields:
        return ""
    kind = str(fields["error"])
    return plain(said(kind, str(fields.get("message") or kind)).split("\n", 1)[0])
