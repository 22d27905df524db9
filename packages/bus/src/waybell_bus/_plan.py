"""What happens when a topic is sent, worked out once and kept until it changes."""

import threading
from collections.abc import Sequence
from typing import Any

from waybell_bus._call import Call, Middleware, bind
from waybell_bus._loops import Loops
from waybell_bus._queue import Subscription
from waybell_bus._registry import Registry, Route
from waybell_bus._topics import canonical, check_topic, specificity


_KEPT = 4096  # Plans, before all are forgotten; a plan is made anew in microseconds.


class Leg:
    """One handler of a plan, and how it is called.

    Args:
        route: Its registration.
        call: What calls it.
    """

    __slots__ = ("call", "name", "route")

    def __init__(self, route: Route, call: Call) -> None:
        self.route = route
        self.call = call
        self.name = route.name


class Plan:
    """Everyone whom one topic reaches.

    Args:
        legs: The handlers, in order.
        watchers: Those told that it was sent.
        settlers: Those told of each answer.
        queues: Those that keep it.
    """

    __slots__ = (
        "best",
        "fragile",
        "legs",
        "queues",
        "settlers",
        "solo",
        "spellings",
        "watchers",
    )

    def __init__(
        self,
        legs: Sequence[Leg],
        watchers: Sequence[Route],
        settlers: Sequence[Route],
        queues: Sequence[Subscription],
    ) -> None:
        self.legs = legs
        self.watchers = watchers
        self.settlers = settlers
        self.queues = queues
        self.best = _best(legs)
        # Whether a handler may be gone, or have had its turn, by the time we call.
        self.fragile = any(
            leg.route.ref is not None or leg.route.spent is not None for leg in legs
        )
        # The one handler there is, where nothing else is to be done.
        self.solo: Call | None = None
        self.spellings: list[str] = []


def _best(legs: Sequence[Leg]) -> list[Leg]:
    """Those with the best claim to a request: more than one is a tie."""
    if len(legs) < 2:
        return list(legs)

    def claim(leg: Leg) -> tuple[Any, ...]:
        return (*specificity(leg.route.pattern), leg.route.settings.priority)

    top = max(map(claim, legs))
    return [leg for leg in legs if claim(leg) == top]


class Plans(dict[str, Plan]):
    """The plans by topic, compiled on demand from the registries.

    Args:
        loops: For handlers that need a thread.
    """

    __slots__ = (
        "around",
        "handlers",
        "lock",
        "loops",
        "plain",
        "queues",
        "settlers",
        "watchers",
    )

    def __init__(self, loops: Loops) -> None:
        super().__init__()
        # Guards the registries and this; a registration can set off another.
        self.lock = threading.RLock()
        self.loops = loops
        self.handlers = Registry(self.lock, self.drop)
        self.watchers = Registry(self.lock, self.drop)
        self.settlers = Registry(self.lock, self.drop)
        self.queues = Registry(self.lock, self.drop)
        self.around: tuple[Middleware, ...] = ()
        self.plain = True  # Whether handlers may be called straight.

    def __missing__(self, topic: str) -> Plan:
        parts = check_topic(topic)
        name = canonical(topic)
        with self.lock:
            if len(self) >= _KEPT:
                self.clear()
            plan = self.get(name)
            if plan is None:
                plan = self[name] = self._compile(name, parts)
            if topic != name:
                plan.spellings.append(topic)
                self[topic] = plan
        return plan

    def drop(self, name: str) -> None:
        """Forget what a change of that signal made wrong."""
        if "*" in name:
            self.clear()
            return
        plan = self.pop(name, None)
        if plan is not None:
            for spelling in plan.spellings:
                self.pop(spelling, None)

    def wrap(self, middleware: Middleware) -> None:
        """Put one more middleware inside those there are."""
        with self.lock:
            self.around = (*self.around, middleware)
            self.clear()

    def halt(self) -> None:
        """From now on, let every send be looked at."""
        with self.lock:
            self.plain = False
            self.clear()

    def _compile(self, name: str, parts: list[str]) -> Plan:
        routes = self.handlers.find(name, parts)
        # A weak handler is bound anew for each event, lest the plan keep it alive.
        legs = [
            Leg(route, bind(route, route.fn, self.loops, self.around))
            for route in routes
        ]
        queues = [route.fn for route in self.queues.find(name, parts)]
        plan = Plan(
            legs,
            self.watchers.find(name, parts),
            self.settlers.find(name, parts),
            queues,
        )
        watched = plan.watchers or plan.settlers or plan.queues
        if self.plain and len(legs) == 1 and not watched and not plan.fragile:
            plan.solo = legs[0].call
        return plan
