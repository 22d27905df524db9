"""One observer on the bus: it draws who is asked, who works and who has answered."""

import time
from asyncio import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from waybell._desk._report import plain, seconds
from waybell_bus import Event, EventBus, Outcome


@dataclass(slots=True)
class _Agent:
    """What is seen of one agent: calls begun and ended, and the last failure."""

    name: str
    begun: int = 0
    ended: int = 0
    since: float = 0.0
    spent: float = 0.0
    error: str = ""


class Progress:
    """Watches a bus inside its `with` block.

    On a terminal it keeps one line per agent up to date; elsewhere it prints one plain
    line per event.

    Args:
        console: Where it draws.
        bus: What it watches.
    """

    __slots__ = ("_agents", "_bus", "_console", "_live")

    def __init__(self, console: Console, bus: EventBus) -> None:
        self._console, self._bus = console, bus
        self._agents: dict[str, _Agent] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._lines, refresh_per_second=12
            )
            self._live.start()
        self._bus.observe("**", self._sent)
        self._bus.observe("**", self._settled, settled=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.off("**", self._sent)
        self._bus.off("**", self._settled)
        if self._live is not None:
            self._live.stop()

    def _sent(self, event: Event) -> None:
        fresh = _Agent(event.topic.removeprefix("agent:"))
        agent = self._agents.setdefault(event.topic, fresh)
        agent.begun += 1
        agent.since = time.perf_counter()
        self._say("ask", agent.name)

    def _settled(self, event: Event, outcome: Outcome) -> None:
        agent = self._agents[event.topic]
        agent.ended += 1
        agent.spent += outcome.seconds
        took = seconds(outcome.seconds)
        if outcome.error is None:
            self._say("answer", f"{agent.name:<20} {took:>8}")
        else:
            agent.error = _reason(outcome.error)
            self._say("failed", f"{agent.name:<20} {took:>8}  {agent.error}")

    def _say(self, what: str, line: str) -> None:
        if self._live is None:
            # If nobody reads it any more, the next word to the user will say so.
            with suppress(OSError):
                line = f"  {what:<7} {line}".rstrip()
                print(line, file=self._console.file, flush=True)

    def _lines(self) -> Group:
        return Group(*map(_line, list(self._agents.values())))


def _line(agent: _Agent) -> Text:
    working = agent.begun > agent.ended
    mark, style = (
        ("…", "yellow") if working else ("✗", "red") if agent.error else ("✓", "green")
    )
    spent = agent.spent + (time.perf_counter() - agent.since if working else 0.0)
    calls = f"{agent.begun} call{'s' if agent.begun > 1 else ''}"
    return Text.assemble(
        (f"  {mark} ", style),
        f"{agent.name:<20} {calls:>8} {seconds(spent):>9}",
        (f"  {agent.error}" if agent.error else "", style),
        no_wrap=True, overflow="ellipsis",
    )  # fmt: skip


def _reason(error: BaseException) -> str:
    if isinstance(error, CancelledError):
        return "cancelled"
    return plain(str(error) or type(error).__name__)
