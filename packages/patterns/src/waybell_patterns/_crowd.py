"""Several agents under way at once: some of ours, or the handlers of a topic."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from waybell_bus import EventBus, Outcome
from waybell_patterns._run import Run, Till, distinct, ended, unwrapped


Said = tuple[str, Any, BaseException | None]
"""A name, and an answer or an error; a CancelledError of one that had to end."""
PATIENCE = 1.0  # seconds that a cancelled agent is given to end
_log = logging.getLogger("waybell_patterns")


class Crowd:
    """Agents under way, each in a task of its own."""

    __slots__ = ("_tasks",)

    def __init__(self, asked: Mapping[str, Coroutine[Any, Any, Any]]) -> None:
        self._tasks = {
            name: asyncio.ensure_future(each) for name, each in asked.items()
        }
        for task in self._tasks.values():  # lest asyncio call an error unseen
            task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def next(self) -> list[Said]:
        """Wait for whoever is next; nobody if all are through."""
        if tasks := self._tasks.values():
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return self._finished()

    def _finished(self) -> list[Said]:
        done = {name: task for name, task in self._tasks.items() if task.done()}
        for name in done:
            del self._tasks[name]
        return [(name, *_result(task)) for name, task in done.items()]

    async def end(self) -> list[Said]:
        """Cancel whoever is left. What they still return is told, too."""
        for task in self._tasks.values():
            task.cancel()
        loop, again = asyncio.get_running_loop(), None
        until = loop.time() + PATIENCE
        while not all(task.done() for task in self._tasks.values()):
            if (left := until - loop.time()) <= 0:
                break
            try:
                await asyncio.wait(self._tasks.values(), timeout=left)
            except asyncio.CancelledError as error:  # and they would be left behind
                again = error
        said = self._finished()
        for name in self._tasks:
            _log.warning("%s ignored its cancellation; it is left behind", name)
            said.append((name, None, asyncio.CancelledError()))
        if again is not None:
            raise again
        return said


def _result(task: "asyncio.Task[Any]") -> tuple[Any, BaseException | None]:
    if task.cancelled():
        return None, asyncio.CancelledError()
    error = task.exception()
    return (task.result() if error is None else None), error


@dataclass(slots=True)
class Audience:
    """The handlers of one topic, sent one event."""

    run: Run
    prompt: str
    till: Till
    stream: Any
    everybody: set[str]
    heard: set[str] = field(default_factory=set[str])

    async def next(self) -> list[Said]:
        """Wait for whoever is next; nobody if all are through."""
        outcome = await anext(self.stream, None)
        return [] if outcome is None else [self._said(outcome)]

    def _said(self, outcome: Outcome) -> Said:
        name, value, error, seconds = outcome
        name = distinct(name, self.heard)
        self.heard.add(name)
        try:
            self.till.take(value)
            value = unwrapped(value)
        except Exception as raised:
            value, error = None, raised
        seen = {"agent": name, "prompt": self.prompt, "seconds": seconds}
        self.run.record("answer", **seen, **ended(value, error))
        return name, value, error

    async def end(self) -> list[Said]:
        """Name whoever is left; leaving the stream's block ends them."""
        cut = asyncio.CancelledError()
        left = sorted(self.everybody - self.heard)
        return [self._said(Outcome(name, None, cut, 0.0)) for name in left]


def handlers_of(bus: EventBus, topic: str) -> set[str]:
    """The names of all who would answer now."""
    found: set[str] = set()
    for pattern, roles in bus.describe().items():
        if _meets(pattern, topic):
            for name in roles.get("handlers", ()):
                found.add(distinct(name, found))
    return found


def _meets(pattern: str, topic: str) -> bool:
    """Whether a handler of this pattern is among those of the topic."""
    parts, asked = (text.replace(":", ".").split(".") for text in (pattern, topic))
    if parts[-1] == "**":
        parts = parts[:-1] + ["*"] * max(1, len(asked) - len(parts) + 1)
    return len(parts) == len(asked) and all(
        part in ("*", segment) for part, segment in zip(parts, asked, strict=True)
    )
