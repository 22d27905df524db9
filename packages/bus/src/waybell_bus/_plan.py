"""What happens when a topic is sent, worked out once and kept until it changes."""

import threading
from typing import NamedTuple

from waybell_bus._call import Call, Middleware, bind
from waybell_bus._loops import Loops
from waybell_bus._queue import Subscription
from waybell_bus._registry import Registry, Route
from waybell_bus._topics import canonical, check_topic, specificity


_KEPT = 4096  # Plans, before all are forgotten; one is made anew in microseconds.


class Leg(NamedTuple):
    """One handler of a plan, and how it is called."""

    route: Route
    call: Call


class Plan:
    """Everyone whom one topic reaches."""

    __slots__ = ("best", "fragile", "legs", "queues", "settlers", "solo", "spellings", "watchers")  # fmt: skip

    def __init__(
        self, legs: list[Leg], others: list[list[Route]], *, plain: bool
    ) -> None:
        self.legs = legs
        self.watchers, self.settlers, queues = others
        self.queues: list[Subscription] = [route.fn for route in queues]
        # Whether a handler may be gone, or have had its turn, by the time we call.
        self.fragile = any(leg.route.fragile() for leg in legs)
        # Those with the best claim to a request: more than one is a tie.
        top = max(map(_claim, legs), default=None)
        self.best = [leg for leg in legs if _claim(leg) == top]
        # What to call where there is one handler, and nothing else to be done.
        self.solo: Call | None = None
        if len(legs) == 1 and plain and not (self.fragile or any(others)):
            self.solo = legs[0].call
        self.spellings: list[str] = []


def _claim(leg: Leg) -> tuple[int, int, int]:
    return (*specificity(leg.route.pattern), leg.route.settings.priority)


class Plans(dict[str, Plan]):
    """The plans by topic, compiled on demand from the registries."""

    def __init__(self, loops: Loops, *, plain: bool) -> None:
        super().__init__()
        self.around: tuple[Middleware, ...] = ()
        # Guards the registries and this. A registration can set off another.
        self.lock = threading.RLock()
        self.loops = loops
        self.plain = plain  # Whether a handler may be called straight.
        # Each plan's `solo` again: a plain dictionary is found in faster. Like this one
        # it changes under the lock only, so that they agree.
        self.solos: dict[str, Call | None] = {}
        self.handlers = Registry(self.lock, self.drop)
        self.watchers = Registry(self.lock, self.drop)
        self.settlers = Registry(self.lock, self.drop)
        self.queues = Registry(self.lock, self.drop)

    def __missing__(self, topic: str) -> Plan:
        parts = check_topic(topic)
        name = canonical(topic)
        with self.lock:
            if len(self) >= _KEPT:
                self.clear()
            plan = self.get(name)
            if plan is None:
                plan = self[name] = self._compile(name, parts)
            self.solos[topic] = plan.solo
            if topic != name:
                plan.spellings.append(topic)
                self[topic] = plan
        return plan

    def clear(self) -> None:
        """Forget all plans."""
        super().clear()
        self.solos.clear()

    def drop(self, name: str) -> None:
        """Forget what a change of that signal made wrong."""
        if "*" in name:
            self.clear()
        elif (plan := self.pop(name, None)) is not None:
            for spelling in (name, *plan.spellings):
                self.pop(spelling, None)
                self.solos.pop(spelling, None)

    def _compile(self, name: str, parts: list[str]) -> Plan:
        # A weak handler is bound for each event anew, lest the plan keep it alive.
        routes = self.handlers.find(name, parts)
        legs = [Leg(r, bind(r, r.fn, self.loops, self.around)) for r in routes]
        others = (self.watchers, self.settlers, self.queues)
        found = [registry.find(name, parts) for registry in others]
        return Plan(legs, found, plain=self.plain)
