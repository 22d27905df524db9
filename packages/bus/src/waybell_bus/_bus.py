"""The bus: handlers answer, observers watch."""

# See _dispatch: a bus fills in its events itself.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

from waybell_bus._dispatch import COUNTED, Dispatch, Handling
from waybell_bus._errors import BusClosedError
from waybell_bus._event import Event, Outcome, current
from waybell_bus._fan import Job, Stream, collect
from waybell_bus._limit import holding, holds_around
from waybell_bus._queue import Subscription


_handle = current.set
_handled = current.reset


class EventBus(Dispatch):
    """Carries events to those who answer them and those who watch.

    It belongs to no event loop, and serves any number of them in turn. As an
    `async with` block it is closed at the end. Fields may have any name.

    Args:
        unhandled: What becomes of an event that reaches nobody: `warn` logs it once
            for each topic, `raise` raises `NoHandlerError`. It is counted either way.
        history: How many events to keep in `history`; none by default.
        on_error: Called with the event and the `Outcome` of what failed where nobody
            waits for it: published deliveries and watchers. Logged by default.
        max_depth: How deep handlers may wait for handlers.
        max_background: How many published deliveries may be under way on a loop.
        max_watching: How many async watchers may run on a loop; more are dropped.
        max_threads: How many handlers may run in threads on a loop.
        slow: Seconds from which a sync watcher is counted as slow.
        now: The epoch time that events carry.

    Attributes:
        history: The last events sent, oldest first.
        dead_letters: The last 100 events that reached nobody.
        errors: The last 100 errors that nobody waited for, as (event, outcome).
    """

    __slots__ = ()

    async def emit(self, topic: str, /, **fields: Any) -> Any:
        """Send an event to every handler at once, and wait for all.

        Returns:
            The answer, where there is one handler; a list of answers in order, where
            there are several; None where there is none.

        Raises:
            ExceptionGroup: Of several handlers' errors, once all have finished; a
                `BaseExceptionGroup` where one was cancelled by itself. With one
                handler, the error itself.
            NestingError: If handlers wait for handlers without end.
            BusClosedError: If the bus is closed.
        """
        event = self._event(topic, fields)
        solo = self._solos.get(topic)
        if solo is None:
            return await self._emit(event)
        token = _handle(event)
        try:
            answer = await solo(event)
        except BaseException as error:
            self._left(event, token, error)
            raise
        _handled(token)
        event._trail = None
        return answer

    def _left(self, event: Event, token: Any, error: BaseException) -> None:
        """Whatever was handling the event raised."""
        event._trail = None
        if not isinstance(error, GeneratorExit):  # Which comes from the collector, in
            _handled(token)  # any context but ours.
        if isinstance(error, Exception):
            self._ledger.count("handler_errors")

    async def _emit(self, event: Event) -> Any:
        plan = self._plans[event.topic]
        with Handling(event):
            legs, clock = self._admit(event, plan)
            if not legs:
                return None
            if len(legs) == 1:
                return await self._alone(event, plan, legs[0], clock)
            outcomes = await collect(self._launch(event, plan, legs, clock), clock)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:
            share = f"{len(errors)} of {len(outcomes)}"
            raise BaseExceptionGroup(
                f"{share} handlers of {event.topic!r} failed", errors
            )
        return [outcome.value for outcome in outcomes]

    async def request(self, topic: str, /, **fields: Any) -> Any:
        """Send an event to the one handler with the best claim, and wait for it.

        That is the one with the most literal segments in its pattern, then the most
        single wildcards, then the highest priority.

        Returns:
            Its answer.

        Raises:
            NoHandlerError: If nobody answers; it names topics spelled alike.
            AmbiguousTopicError: If several have an equal claim. None of them runs.
        """
        event = self._event(topic, fields)
        solo = self._solos.get(topic)
        if solo is None:
            return await self._request(event)
        token = _handle(event)
        try:
            answer = await solo(event)
        except BaseException as error:
            self._left(event, token, error)
            raise
        _handled(token)
        event._trail = None
        return answer

    async def _request(self, event: Event) -> Any:
        plan = self._plans[event.topic]
        with Handling(event):
            self._refuse(event, plan)
            leg = self._pick(event, plan)
            clock = self._announce(event, plan)
            return await self._alone(event, plan, leg, clock)

    async def gather(self, topic: str, /, **fields: Any) -> list[Outcome]:
        """Send an event to every handler at once, and wait for all.

        Returns:
            What came of each, in order: an error is in its outcome, as is the
            `CancelledError` of a handler that was cancelled by itself.
        """
        event = self._event(topic, fields)
        plan = self._plans[topic]
        with Handling(event):
            legs, clock = self._admit(event, plan)
            return await collect(self._launch(event, plan, legs, clock), clock)

    def stream(self, topic: str, /, **fields: Any) -> Stream:
        """Send an event to every handler at once, and see outcomes as they finish.

        `async with bus.stream(...) as outcomes: async for outcome in outcomes: ...`:
        the event is sent on entering the block, and leaving it cancels the rest.
        """

        def begin() -> tuple[Event, list[Job]]:
            event = self._event(topic, fields)
            plan, trail = self._plans[topic], event._trail
            with Handling(event):
                jobs = self._launch(event, plan, *self._admit(event, plan))
            event._trail = trail  # Until the end of the block.
            return event, jobs

        return Stream(begin)

    async def publish(self, topic: str, /, **fields: Any) -> None:
        """Send an event to everybody, and wait for no answer, only for room.

        Handlers run in the background and outlive the caller; errors go to `on_error`.
        It is a dead letter only if not even a watcher was there.

        Raises:
            ReentrancyError: If there never will be room, since all that runs in the
                background waits to publish.
            QueueFullError: If a subscription asks for that, and is full.
        """
        event = self._event(topic, fields, waits=False)
        plan = self._plans[topic]
        with Handling(event):
            event._trail = None
            legs, clock = self._admit(event, plan, asks=False)
            work = self._loops.here()
            for leg in legs:
                hold = await work.room.take()
                work.spawn(self._background(event, plan, leg, clock), hold)
            for queue in plan.queues:
                if queue.overflow == "block":
                    await queue.put(event)

    def emit_sync(self, topic: str, /, **fields: Any) -> Any:
        """`emit` from code without a loop: on the bus's live loop, else a private one.

        Raises:
            RuntimeError: If a loop runs in this thread: await `emit` there.
        """
        return self._sync(self.emit(topic, **fields), "emit", topic)

    def request_sync(self, topic: str, /, **fields: Any) -> Any:
        """`request` from code without a loop, as `emit_sync` is for `emit`."""
        return self._sync(self.request(topic, **fields), "request", topic)

    def _sync(self, body: Coroutine[Any, Any, Any], verb: str, topic: str) -> Any:
        if self._closed == "closed":
            body.close()
            raise BusClosedError(topic)
        return self._loops.run(body, verb)

    def stats(self) -> dict[str, int]:
        """How often what happened.

        Returns:
            `handler_errors`, `dead_letters`, `watcher_errors`, `slow_watchers`,
            `dropped_watchers`, `on_error_errors`; and, of now, `dropped` (by the queues
            there are), `background` (tasks beside their senders) and `plans` (topics
            whose plan is kept).
        """
        return {
            **dict.fromkeys(COUNTED, 0),
            **self._ledger.counts,
            "dropped": sum(queue.dropped for queue in self._queues()),
            "background": sum(len(work.tasks) for work in self._loops.works()),
            "plans": len(self._plans),
        }

    def _queues(self) -> list[Subscription]:
        return [route.fn for _, routes in self._plans.queues.all() for route in routes]

    async def close(self, *, drain: bool = True, timeout: float | None = 30) -> None:
        """End the bus: from now on, sending raises `BusClosedError`.

        What was published, and who watches, is waited for and may still send; then the
        queues end, and the threads and the private loop are let go.

        Args:
            drain: Whether to wait. Without it, what runs in the background is
                cancelled, and the queues end with what is in them unread.
            timeout: Seconds to wait before the rest is cancelled; None is for ever.

        What is waited for may close the bus too: that returns at once.
        """
        spared = holds_around(holding.get())  # They wait for us.
        if self._closed == "closed" or (self._closed and spared):
            return
        self._closed = "closing"
        with self._plans.lock:
            self._plans.plain = False  # From now on, every send is looked at.
            self._plans.clear()
        try:
            for work in self._loops.works():
                body = work.drain(spared, timeout if drain else 0)
                if work.loop is not asyncio.get_running_loop():
                    there = asyncio.run_coroutine_threadsafe(body, work.loop)
                    await asyncio.wrap_future(there)
                else:
                    await body
        finally:
            self._closed = "closed"
            for queue in self._queues():
                queue.close(drain=drain)
            self._loops.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        await self.close(drain=kind is None)
