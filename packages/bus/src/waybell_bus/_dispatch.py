"""From an event and a plan to the answers."""

# Sending is the hot path of everything built on this: a bus fills in its events
# itself, where a constructor would double the cost.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

import time
from asyncio import AbstractEventLoop, CancelledError, Task
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from inspect import iscoroutine
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
from waybell_bus._event import FIRST, Event, Outcome, current
from waybell_bus._fan import Clock, Job, launch
from waybell_bus._ledger import Ledger, OnError
from waybell_bus._limit import Hold
from waybell_bus._loops import Loops
from waybell_bus._plan import Leg, Plan
from waybell_bus._registry import Route
from waybell_bus._topics import canonical


_around = current.get
COUNTED = ("handler_errors", "dead_letters", "watcher_errors", "slow_watchers", "dropped_watchers", "on_error_errors")  # fmt: skip


class Handling:
    """For what happens inside, this event is the one being handled."""

    __slots__ = ("_event", "_token")

    def __init__(self, event: Event) -> None:
        self._event = event

    def __enter__(self) -> None:
        self._token = current.set(self._event)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not GeneratorExit:  # From the collector, in whatever context.
            current.reset(self._token)
        self._event._trail = None


class Dispatch(Desk):
    """The half of a bus that sends, below its verbs."""

    __slots__ = ("_home", "_ledger", "_max_depth", "_now", "_raises", "_slow", "dead_letters", "errors", "history")  # fmt: skip

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
        now: Callable[[], float] = time.time,
    ) -> None:
        if unhandled not in {"warn", "raise"}:
            raise ValueError(f"unhandled is 'warn' or 'raise', not {unhandled!r}")
        if min(max_depth, max_background, max_watching, max_threads) < 1 or history < 0:
            raise ValueError("a bound is at least 1, and a history not negative")
        loops = Loops(max_background, max_threads, max_watching)
        super().__init__(loops, plain=not history)
        self.history: deque[Event] = deque(maxlen=history)
        self._home: object = self  # The loop of the last send; as yet unlike any.
        self._ledger = Ledger(on_error)
        self.dead_letters = self._ledger.dead
        self.errors = self._ledger.errors
        self._max_depth = max_depth
        self._now = now
        self._raises = unhandled == "raise"
        self._slow = slow

    def _event(self, topic: str, fields: dict[str, Any], waits: int = 1) -> Event:
        now = self._now  # Two steps: a call through a slot is slow on Python 3.11.
        event = Event()
        event._fields = fields
        event._topic = topic
        event._time = now()
        event._link = None
        event._trail = FIRST
        around = _around()
        if around is not self._home:
            self._nest(event, around, waits)
        return event

    def _nest(
        self, event: Event, around: Event | AbstractEventLoop | None, waits: int
    ) -> None:
        if not isinstance(around, Event):
            # A context that has not sent before, or not on the loop of the last send.
            self._home = self._loops.here().loop
            current.set(self._home)
            return
        event._link = (around.id, around.root)
        # One whose answers are all known waits for nobody: nesting starts anew.
        if around._trail is not None and waits:
            event._trail = (around, around._trail[1] + 1)
            if around._trail[1] >= self._max_depth:
                raise NestingError(_loop_of(event), self._max_depth)

    def _refuse(self, event: Event, plan: Plan) -> None:
        """Raise what keeps an event from being sent, before anybody is told."""
        if self._closed and (self._closed == "closed" or event.parent is None):
            raise BusClosedError(event.topic)
        for queue in plan.queues:
            if queue.overflow == "error" and queue.full():
                raise QueueFullError(queue.pattern, queue.maxsize)

    def _announce(self, event: Event, plan: Plan, *, asks: bool = True) -> Clock:
        """Tell the watchers and fill the queues; who does not ask waits for some."""
        self.history.append(event)
        clock = self._loops.here().clock
        for route in plan.watchers:
            self._tell(route, event, (event,), clock)
        for queue in plan.queues:
            if asks or queue.overflow != "block":
                queue(event)
        return clock

    def _admit(
        self, event: Event, plan: Plan, *, asks: bool = True
    ) -> tuple[Sequence[Leg], Clock]:
        """Send an event to everybody but the handlers; give those."""
        self._refuse(event, plan)
        clock = self._announce(event, plan, asks=asks)
        legs = self._ready(plan.legs) if plan.fragile else plan.legs
        if not (legs or plan.queues or (plan.watchers and not asks)):
            self._ledger.count("dead_letters")
            self._ledger.dead.append(event)
            self._ledger.warn(f"nobody answers {event.topic}")
            if self._raises:
                raise self._nobody(event)
        return legs, clock

    def _ready(self, legs: Sequence[Leg]) -> list[Leg]:
        """Those of fragile legs that can be called, those for once used up by it."""
        ready: list[Leg] = []
        for route, _ in legs:
            fn = route.target()
            if fn is not None and route.claim():
                if route.settings.once:
                    self._plans.handlers.remove(route.pattern, fn, route)
                call = bind(route, fn, self._loops, self._plans.around)
                ready.append(Leg(route, call))
        return ready

    def _pick(self, event: Event, plan: Plan) -> Leg:
        """The one handler with the best claim."""
        while live := [leg for leg in plan.best if leg.route.target() is not None]:
            if len(live) > 1:
                names = tuple(leg.route.name for leg in live)
                raise AmbiguousTopicError(event.topic, names)
            for leg in self._ready(live) if plan.fragile else live:
                return leg
            plan = self._plans[event.topic]  # It had its one turn meanwhile.
        raise self._nobody(event)

    def _nobody(self, event: Event) -> NoHandlerError:
        from difflib import get_close_matches  # noqa: PLC0415 - slow, and rarely needed

        known = {canonical(name): name for name, _ in self._plans.handlers.all()}
        near = get_close_matches(canonical(event.topic), known)
        return NoHandlerError(event.topic, tuple(known[name] for name in near))

    async def _run(self, event: Event, plan: Plan, leg: Leg, clock: Clock) -> Outcome:
        """Call one handler, and tell the watchers what came of it."""
        value = error = None
        begun = clock()
        try:
            value = await leg.call(event)
        except BaseException as raised:
            error = raised
        outcome = Outcome(leg.route.name, value, error, clock() - begun)
        if plan.settlers:
            for route in plan.settlers:
                self._tell(route, event, (event, outcome), clock)
        if error is not None:
            try:
                if not isinstance(error, Exception):
                    raise error
                self._ledger.count("handler_errors")
            finally:
                del error  # Or its traceback would hold it, through this frame.
        return outcome

    async def _alone(self, event: Event, plan: Plan, leg: Leg, clock: Clock) -> Any:
        outcome = await self._run(event, plan, leg, clock)
        try:
            if outcome.error is not None:
                raise outcome.error
            return outcome.value
        finally:
            del outcome

    def _launch(
        self, event: Event, plan: Plan, legs: Sequence[Leg], clock: Clock
    ) -> list[Job]:
        bodies = [self._run(event, plan, leg, clock) for leg in legs]
        return launch(bodies, [leg.route.name for leg in legs])

    async def _background(
        self, event: Event, plan: Plan, leg: Leg, clock: Clock
    ) -> None:
        outcome = await self._run(event, plan, leg, clock)
        if outcome.failed:
            self._ledger.fail(event, outcome)

    def _tell(
        self, route: Route, event: Event, args: tuple[Any, ...], clock: Clock
    ) -> None:
        """Call one watcher, whatever it does."""
        begun = clock()
        try:
            fn = route.target()
            answer = None if fn is None else fn(*args)
        except (Exception, CancelledError) as error:  # Nothing cancels sync code.
            self._failed(route, event, error)
            return
        if iscoroutine(answer):
            self._beside(route, event, answer)
        elif clock() - begun >= self._slow:
            self._ledger.count("slow_watchers")
            self._ledger.warn(f"{route.name} delays senders by watching slowly")

    def _beside(
        self, route: Route, event: Event, answer: Coroutine[Any, Any, None]
    ) -> None:
        def done(task: Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception):
                self._failed(route, event, error)

        work = self._loops.here()
        hold = Hold(work.watching)
        if work.watching.takes(hold):
            work.spawn(answer, hold).add_done_callback(done)
        else:
            answer.close()
            self._ledger.count("dropped_watchers")
            self._ledger.warn(f"{route.name} watches too slowly, and misses events")

    def _failed(self, route: Route, event: Event, error: BaseException) -> None:
        self._ledger.count("watcher_errors")
        self._ledger.fail(event, Outcome(route.name, None, error, 0.0))


def _loop_of(event: Event) -> tuple[str, ...]:
    """The topics since this one was sent the last time, or all there are."""
    topics = [event.topic]
    trail = event._trail
    while trail and trail[0] and topics.count(event.topic) < 2:
        topics.append(trail[0].topic)
        trail = trail[0]._trail
    return tuple(reversed(topics))
