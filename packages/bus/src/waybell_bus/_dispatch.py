"""From an event and a plan to the answers."""

# Sending is the hot path of everything built on this: the bus fills in its events
# itself, where a constructor would double the cost.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

import time as _time
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

from waybell_bus._call import bind
from waybell_bus._desk import Desk
from waybell_bus._errors import (
    AmbiguousTopicError,
    BusClosedError,
    NestingError,
    NoHandlerError,
    QueueFullError,
)
from waybell_bus._event import FIRST, NOWHERE, Event, Home, Outcome, at_home, current
from waybell_bus._fan import Job, collect, launch
from waybell_bus._ledger import Ledger, OnError
from waybell_bus._limit import holding
from waybell_bus._loops import Loops
from waybell_bus._plan import Leg, Plan
from waybell_bus._registry import Route
from waybell_bus._topics import canonical


Clock = Callable[[], float]


class Dispatch(Desk):
    """The sending half of a bus, below its verbs.

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
    """

    __slots__ = (
        "_history",
        "_home",
        "_ledger",
        "_max_depth",
        "_max_watching",
        "_now",
        "_raises",
        "_slow",
    )

    def __init__(
        self,
        *,
        unhandled: Literal["warn", "raise"] = "warn",
        history: int = 0,
        on_error: OnError | None = None,
        max_depth: int = 64,
        max_background: int = 1024,
        max_watching: int = 1024,
        max_threads: int = 16,
        slow: float = 0.05,
        now: Callable[[], float] = _time.time,
    ) -> None:
        if unhandled not in {"warn", "raise"}:
            raise ValueError(f"unhandled is 'warn' or 'raise', not {unhandled!r}")
        if min(max_depth, max_background, max_watching, max_threads) < 1 or history < 0:
            raise ValueError("a bound is at least 1, and a history not negative")
        super().__init__(Loops(max_background, max_threads))
        self._ledger = Ledger(on_error)
        self._history: deque[Event] | None = deque(maxlen=history) if history else None
        self._plans.plain = not history
        self._home: Home = NOWHERE
        self._max_depth = max_depth
        self._max_watching = max_watching
        self._now = now
        self._raises = unhandled == "raise"
        self._slow = slow

    def _event(
        self, topic: str, fields: dict[str, Any], *, awaited: bool = True
    ) -> Event:
        event = Event()
        event._fields = fields
        event.topic = topic
        event.time = self._now()
        self._nest(event, current.get(), awaited=awaited)
        return event

    def _nest(
        self, event: Event, around: Event | Home | None, *, awaited: bool = True
    ) -> None:
        if around is None or around.__class__ is Home:
            # A context that has not sent before, or not on this loop.
            event._link = None
            event._trail = FIRST
            self._home = self._loops.home = home = at_home()
            current.set(home)
            return
        assert isinstance(around, Event)
        event._link = (around.id, around.root)
        trail = around._trail
        if not awaited or trail is None:
            # Whose answers are all known waits for nobody: the nesting starts anew.
            event._trail = FIRST
            return
        event._trail = (around, trail[1] + 1)
        if trail[1] >= self._max_depth:
            raise NestingError(_loop_of(event), self._max_depth)

    def _refuse(self, event: Event, plan: Plan) -> None:
        """Raise what keeps an event from being sent, before anybody is told."""
        if self._closed and (self._closed == "closed" or event.parent is None):
            raise BusClosedError(event.topic)
        for queue in plan.queues:
            if queue.overflow == "error" and queue.full():
                raise QueueFullError(queue.pattern, queue.maxsize)

    def _announce(self, event: Event, plan: Plan, *, awaited: bool = True) -> Clock:
        """Tell the watchers and fill the queues."""
        if self._history is not None:
            self._history.append(event)
        clock = self._loops.here().loop.time
        for route in plan.watchers:
            self._tell(route, event, (event,), clock)
        for queue in plan.queues:
            if awaited or queue.overflow != "block":
                queue(event)
        return clock

    def _admit(self, event: Event, plan: Plan, *, awaited: bool = True) -> Clock:
        self._refuse(event, plan)
        return self._announce(event, plan, awaited=awaited)

    def _ready(self, legs: Sequence[Leg], plan: Plan) -> Sequence[Leg]:
        """The legs that can be called now, those that answer once used up by it."""
        if not plan.fragile:
            return legs
        ready: list[Leg] = []
        for leg in legs:
            route = leg.route
            fn = route.target()
            if fn is not None and route.claim():
                if route.spent is not None:
                    self._plans.handlers.remove(route.pattern, fn, route)
                call = bind(route, fn, self._loops, self._plans.around)
                ready.append(Leg(route, call))
        return ready

    def _pick(self, event: Event, plan: Plan) -> Leg:
        """The one handler with the best claim."""
        while plan.best:
            live = [leg for leg in plan.best if leg.route.target()]
            if len(live) > 1:
                names = tuple(leg.name for leg in live)
                raise AmbiguousTopicError(event.topic, names)
            legs = self._ready(live, plan)
            if legs:
                return legs[0]
            # It went, or had its one turn, since the plan was made.
            self._plans.drop(canonical(event.topic))
            plan = self._plans[event.topic]
        raise self._nobody(event.topic)

    def _nobody(self, topic: str) -> NoHandlerError:
        from difflib import get_close_matches  # noqa: PLC0415 - it is slow to import

        known = [name for name, _ in self._plans.handlers.all()]
        return NoHandlerError(topic, tuple(get_close_matches(topic, known)))

    def _unheard(self, event: Event) -> None:
        self._ledger.unheard(event)
        if self._raises:
            raise self._nobody(event.topic)

    async def _run(self, event: Event, plan: Plan, leg: Leg, clock: Clock) -> Outcome:
        begun = clock()
        try:
            answer = await leg.call(event)
            outcome = Outcome(leg.name, answer, None, clock() - begun)
        except Exception as error:
            self._ledger.count("errors")
            outcome = Outcome(leg.name, None, error, clock() - begun)
        except BaseException as error:
            self._settle(
                event, plan, Outcome(leg.name, None, error, clock() - begun), clock
            )
            raise
        self._settle(event, plan, outcome, clock)
        return outcome

    async def _alone(self, event: Event, plan: Plan, leg: Leg, clock: Clock) -> Any:
        outcome = await self._run(event, plan, leg, clock)
        if outcome.error is None:
            return outcome.value
        try:
            raise outcome.error
        finally:
            del outcome  # Or the error's traceback would hold the error.

    def _launch(
        self, event: Event, plan: Plan, legs: Sequence[Leg], clock: Clock
    ) -> list[Job]:
        return launch([self._run(event, plan, leg, clock) for leg in legs])

    async def _all(
        self, event: Event, plan: Plan, legs: Sequence[Leg], clock: Clock
    ) -> list[Outcome]:
        jobs = self._launch(event, plan, legs, clock)
        return await collect(jobs, [leg.name for leg in legs], clock)

    async def _background(
        self, event: Event, plan: Plan, leg: Leg, clock: Clock
    ) -> None:
        outcome = await self._run(event, plan, leg, clock)
        if outcome.error is not None:
            self._ledger.fail(event, outcome)

    def _settle(self, event: Event, plan: Plan, outcome: Outcome, clock: Clock) -> None:
        for route in plan.settlers:
            self._tell(route, event, (event, outcome), clock)

    def _tell(
        self, route: Route, event: Event, args: tuple[Any, ...], clock: Clock
    ) -> None:
        fn = route.target()
        if fn is None:
            return
        if route.awaits:
            self._beside(route, event, fn, args, clock)
            return
        begun = clock()
        try:
            answer = fn(*args)
        except (
            Exception,
            CancelledError,
        ) as error:  # Nothing can cancel it in earnest.
            self._watcher_failed(
                event, Outcome(route.name, None, error, clock() - begun)
            )
            return
        if clock() - begun >= self._slow:
            self._ledger.count("slow_watchers")
            self._ledger.warn("%s watches slowly and delays the senders", route.name)
        if hasattr(type(answer), "__await__"):
            self._beside(route, event, lambda: answer, (), clock)

    def _beside(
        self,
        route: Route,
        event: Event,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        clock: Clock,
    ) -> None:
        work = self._loops.here()
        if len(work.watchers) >= self._max_watching:
            self._ledger.count("dropped_watchers")
            self._ledger.warn("%s watches too slowly and misses events", route.name)
            return
        # Nobody waits for a watcher, so it is inside nothing.
        token = holding.set(None)
        try:
            task = work.spawn(self._watch(route, event, fn, args, clock))
        finally:
            holding.reset(token)
        work.watchers.add(task)
        task.add_done_callback(work.watchers.discard)

    async def _watch(
        self,
        route: Route,
        event: Event,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        clock: Clock,
    ) -> None:
        begun = clock()
        try:
            await fn(*args)
        except Exception as error:
            self._watcher_failed(
                event, Outcome(route.name, None, error, clock() - begun)
            )

    def _watcher_failed(self, event: Event, outcome: Outcome) -> None:
        self._ledger.count("watcher_errors")
        self._ledger.fail(event, outcome)


def _loop_of(event: Event) -> tuple[str, ...]:
    """The topics from the last time this one was sent, or all there are."""
    topics: list[str] = [event.topic]
    inner = event._trail
    while inner is not None and inner[0] is not None:
        topics.append(inner[0].topic)
        if topics[-1] == event.topic:
            break
        inner = inner[0]._trail
    return tuple(reversed(topics))
