"""What a bus remembers, and how it ends."""

import asyncio
from types import TracebackType
from typing import Self

from waybell_bus._dispatch import Dispatch
from waybell_bus._errors import BusClosedError
from waybell_bus._event import Event, Outcome
from waybell_bus._limit import Hold, holding
from waybell_bus._queue import Subscription


class Keep(Dispatch):
    """A bus from its first event to its last."""

    __slots__ = ()

    @property
    def history(self) -> list[Event]:
        """The last events sent, oldest first, if the bus was made with a `history`."""
        return list(self._history or ())

    @property
    def dead_letters(self) -> list[Event]:
        """The last 100 events that reached nobody, oldest first."""
        return list(self._ledger.dead)

    @property
    def errors(self) -> list[tuple[Event, Outcome]]:
        """The last 100 errors that nobody waited for, oldest first."""
        return list(self._ledger.errors)

    def stats(self) -> dict[str, int]:
        """How often what happened.

        Returns:
            `errors` (handlers that raised), `dead_letters`, `dropped` (by the queues
            there are), `watcher_errors`, `slow_watchers`, `dropped_watchers`,
            `on_error_errors`; and, of now, `background` (tasks beside their senders)
            and `plans` (topics whose plan is kept).
        """
        names = (
            "errors",
            "dead_letters",
            "watcher_errors",
            "slow_watchers",
            "dropped_watchers",
            "on_error_errors",
        )
        return {
            **{name: self._ledger.counts[name] for name in names},
            "dropped": sum(queue.dropped for queue in self._queues()),
            "background": sum(len(work.tasks) for work in self._loops.works()),
            "plans": len(self._plans),
        }

    def _queues(self) -> list[Subscription]:
        with self._plans.lock:
            routes = [route for _, found in self._plans.queues.all() for route in found]
        return [route.fn for route in routes]

    def _check_open(self, topic: str) -> None:
        if self._closed == "closed":
            raise BusClosedError(topic)

    async def close(self, *, drain: bool = True, timeout: float | None = 30) -> None:
        """End the bus: from now on, sending raises `BusClosedError`.

        What was published and who watches is waited for, and may still send while it
        is; then the queues end, and the threads and the private loop are let go.

        Args:
            drain: Whether to wait. Without it, what runs in the background is
                cancelled, and the queues end with what is in them unread.
            timeout: Seconds to wait before the rest is cancelled; None waits for ever.
        """
        if self._closed == "closed":
            return
        self._closed = "closing"
        self._plans.halt()
        spared = _around()  # Those who wait for whoever closes the bus.
        here = asyncio.get_running_loop()
        try:
            for work in self._loops.works():
                body = work.drain(spared, timeout if drain else 0)
                if work.loop is here:
                    await body
                else:
                    there = asyncio.run_coroutine_threadsafe(body, work.loop)
                    await asyncio.wrap_future(there)
        finally:
            self._closed = "closed"
            for queue in self._queues():
                queue.close(drain=drain)
            self._loops.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close(drain=error is None)


def _around() -> list[Hold | None]:
    found: list[Hold | None] = []
    hold = holding.get()
    while hold is not None:
        found.append(hold)
        hold = hold.outer
    return found
