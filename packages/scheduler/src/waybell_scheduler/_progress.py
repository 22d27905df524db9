"""Progress events, told so that no watcher can delay the run."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from waybell_scheduler._settings import OnEvent


log = logging.getLogger("waybell_scheduler")
_KEPT = 10_000  # events that wait for the bus; beyond, the oldest are dropped
_GRACE = 1.0  # seconds that the bus has for the last ones


class Teller:
    """Publishes the events of one run, in order, beside it.

    Args:
        bus: Where they are published, or None.
        on_event: Called with each at once, or None.
    """

    __slots__ = (
        "_bus", "_closing", "_dropped", "_more", "_on_event", "_queue", "_task",
    )  # fmt: skip

    def __init__(self, bus: Any, on_event: OnEvent | None) -> None:
        self._bus, self._on_event = bus, on_event
        self._queue: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._more = asyncio.Event()
        self._dropped, self._closing = 0, False
        self._task = None if bus is None else asyncio.create_task(self._publish())

    def __call__(self, name: str, **fields: Any) -> None:
        """Tell that something happened to a task."""
        if self._on_event is not None:
            try:
                self._on_event(name, fields)
            except Exception:
                log.warning("on_event failed for %s", name, exc_info=True)
        if self._task is not None:
            if len(self._queue) >= _KEPT:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append((name, fields))
            self._more.set()

    async def _publish(self) -> None:
        while self._queue or not self._closing:
            while self._queue:
                name, fields = self._queue.popleft()
                try:
                    await self._bus.publish(name, **fields)
                except Exception:
                    log.warning("%s could not be published", name, exc_info=True)
            self._more.clear()
            if not self._closing:
                await self._more.wait()

    async def close(self) -> None:
        """Publish what is left, as far as the bus takes it in a second."""
        if self._task is None:
            return
        self._closing = True
        self._more.set()
        try:
            await asyncio.wait([self._task], timeout=_GRACE)
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])
            if lost := self._dropped + len(self._queue):
                log.warning("%d progress events were dropped: nobody took them", lost)


def teller_of(bus: Any, on_event: OnEvent | None) -> Teller | None:
    """Who tells of a run; None if nobody listens at its start."""
    patterns = bus.describe() if hasattr(bus, "describe") else ()
    first = {pattern.replace(".", ":").split(":")[0] for pattern in patterns}
    watched = bus if first & {"task", "*", "**"} else None
    return None if watched is on_event is None else Teller(watched, on_event)
