"""The bus: handlers answer, observers watch."""

# See _dispatch: a bus fills in its events itself.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from typing import Any

from waybell_bus._event import FIRST, Event, Outcome, current
from waybell_bus._fan import Job, Stream
from waybell_bus._keep import Keep
from waybell_bus._limit import holding
from waybell_bus._plan import Plan


_around = current.get
_handle = current.set
_handled = current.reset


class EventBus(Keep):
    """Carries events to those who answer them and those who watch.

    It belongs to no event loop, and serves any number of them in turn. As an
    `async with` block it is closed at the end.
    """

    __slots__ = ()

    async def emit(self, topic: str, /, **fields: Any) -> Any:
        """Send an event to every handler at once, and wait for all.

        Args:
            topic: What it is about.
            fields: What there is to say.

        Returns:
            The answer, where there is one handler; a list of answers in order, where
            there are several; None where there is none.

        Raises:
            ExceptionGroup: Of several handlers' errors, once all have finished; a
                `BaseExceptionGroup` where one was cancelled by itself. The error
                itself, where there is one handler.
            NestingError: If handlers wait for handlers without end.
            BusClosedError: If the bus is closed.
        """
        event = Event()
        event._fields = fields
        event.topic = topic
        event.time = self._now()
        around = _around()
        if around is self._home:
            event._link = None
            event._trail = FIRST
        else:
            self._nest(event, around)
        plan = self._plans[topic]
        solo = plan.solo
        if solo is None:
            return await self._emit(event, plan)
        token = _handle(event)
        try:
            return await solo(event)
        except Exception:
            self._ledger.count("errors")
            raise
        finally:
            _handled(token)
            event._trail = None

    async def _emit(self, event: Event, plan: Plan) -> Any:
        token = _handle(event)
        try:
            clock = self._admit(event, plan)
            legs = self._ready(plan.legs, plan)
            if not legs:
                if not plan.queues:
                    self._unheard(event)
                return None
            if len(legs) == 1:
                return await self._alone(event, plan, legs[0], clock)
            outcomes = await self._all(event, plan, legs, clock)
        finally:
            _handled(token)
            event._trail = None
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:
            raise BaseExceptionGroup(
                f"{len(errors)} of {len(outcomes)} handlers of {event.topic!r} failed",
                errors,
            )
        return [outcome.value for outcome in outcomes]

    async def request(self, topic: str, /, **fields: Any) -> Any:
        """Send an event to the one handler with the best claim, and wait for it.

        That is the one with the most literal segments in its pattern, then the most
        that are single wildcards, then the highest priority.

        Args:
            topic: What it is about.
            fields: What there is to say.

        Returns:
            Its answer.

        Raises:
            NoHandlerError: If nobody answers; it names topics spelled alike.
            AmbiguousTopicError: If two have an equal claim. Neither runs.
            Exception: What the handler raises, as itself.
        """
        event = self._event(topic, fields)
        plan = self._plans[topic]
        token = _handle(event)
        try:
            self._refuse(event, plan)
            leg = self._pick(event, plan)
            clock = self._announce(event, plan)
            return await self._alone(event, plan, leg, clock)
        finally:
            _handled(token)
            event._trail = None

    async def gather(self, topic: str, /, **fields: Any) -> list[Outcome]:
        """Send an event to every handler at once, and wait for all.

        Args:
            topic: What it is about.
            fields: What there is to say.

        Returns:
            What came of each, in order: an error is in its outcome, as is the
            `CancelledError` of a handler that was cancelled by itself.
        """
        event = self._event(topic, fields)
        plan = self._plans[topic]
        token = _handle(event)
        try:
            clock = self._admit(event, plan)
            legs = self._ready(plan.legs, plan)
            if not legs and not plan.queues:
                self._unheard(event)
            return await self._all(event, plan, legs, clock)
        finally:
            _handled(token)
            event._trail = None

    def stream(self, topic: str, /, **fields: Any) -> Stream:
        """Send an event to every handler at once, and see outcomes as they come.

        `async with bus.stream(...) as outcomes: async for outcome in outcomes: ...`:
        the event is sent on entering the block, and leaving it cancels the rest.

        Args:
            topic: What it is about.
            fields: What there is to say.
        """
        sent: list[Event] = []

        def begin() -> tuple[list[Job], list[str]]:
            event = self._event(topic, fields)
            sent.append(event)
            plan = self._plans[topic]
            token = _handle(event)
            try:
                clock = self._admit(event, plan)
                legs = self._ready(plan.legs, plan)
                if not legs and not plan.queues:
                    self._unheard(event)
                jobs = self._launch(event, plan, legs, clock)
            finally:
                _handled(token)
            return jobs, [leg.name for leg in legs]

        def end() -> None:
            for event in sent:
                event._trail = None

        return Stream(begin, end)

    async def publish(self, topic: str, /, **fields: Any) -> None:
        """Send an event to everybody, and wait for no answer, only for room.

        Handlers run in the background, outlive the caller, and report errors to
        `on_error`. It is a dead letter only if not even a watcher was there.

        Args:
            topic: What it is about.
            fields: What there is to say.

        Raises:
            ReentrancyError: If there is no room, and never will be, since all in the
                background wait to publish.
            QueueFullError: If a subscription that asks for it is full.
        """
        event = self._event(topic, fields, awaited=False)
        event._trail = None
        plan = self._plans[topic]
        token = _handle(event)
        try:
            clock = self._admit(event, plan, awaited=False)
            legs = self._ready(plan.legs, plan)
            if not (legs or plan.queues or plan.watchers):
                self._unheard(event)
            work = self._loops.here()
            for leg in legs:
                hold = work.room.place()
                await work.room.take(hold)
                hold.outer = None  # It runs inside nothing that we hold.
                inside = holding.set(hold)
                try:
                    work.spawn(self._background(event, plan, leg, clock), hold)
                finally:
                    holding.reset(inside)
            for queue in plan.queues:
                if queue.overflow == "block":
                    await queue.put(event)
        finally:
            _handled(token)

    def emit_sync(self, topic: str, /, **fields: Any) -> Any:
        """`emit` from code without a loop: on the bus's live loop, else a private one.

        Raises:
            RuntimeError: If a loop runs in this thread: await `emit` there.
        """
        self._check_open(topic)
        return self._loops.run(self.emit(topic, **fields), "emit")

    def request_sync(self, topic: str, /, **fields: Any) -> Any:
        """`request` from code without a loop, as `emit_sync` is for `emit`."""
        self._check_open(topic)
        return self._loops.run(self.request(topic, **fields), "request")
