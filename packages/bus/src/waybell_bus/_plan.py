"""What happens when a topic is sent, worked out once and kept until it changes."""

import threading
from collections.abc import Sequence
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
        self,
        legs: Sequence[Leg],
        watchers: Sequence[Route],
        settlers: Sequence[Route],
        queues: Sequence[Subscription],
        *,
        plain: bool,
    ) -> None:
        self.legs = legs
        self.watchers = watchers
        self.settlers = settlers
        self.queues = queues
        # Whether a handler may be gone, or have had its turn, by the time we call.
        self.fragile = any(route.ref or route.settings.once for route, _ in legs)
        # Those with the best claim to a request: more than one is a tie.
        claims = [
            (*specificity(leg.route.pattern), leg.route.settings.priority)
            for leg in legs
        ]
        self.best = [legs[at] for at in range(len(legs)) if claims[at] == max(claims)]
        # What to call where there is one handler, and nothing else to be done.
        beside = watchers or settlers or queues or self.fragile or not plain
        self.solo = legs[0].call if len(legs) == 1 and not beside else None
        self.spellings: list[str] = []


class Plans(dict[str, Plan]):
    """The plans by topic, compiled on demand from the registries."""

    def __init__(self, loops: Loops, *, plain: bool) -> None:
        super().__init__()
        self.around: tuple[Middleware, ...] = ()
        # Guards the registries and this. A registration can set off another.
        self.lock = threading.RLock()
        self.loops = loops
        self.plain = plain  # Whether a handler may be called straight.
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
            if topic != name:
                plan.spellings.append(topic)
                self[topic] = plan
        return plan

    def drop(self, name: str) -> None:
        """Forget what a change of that signal made wrong."""
        if "*" in name:
            self.clear()
        elif (plan := self.pop(name, None)) is not None:
            for spelling in plan.spellings:
                self.pop(spelling, None)

    def _compile(self, name: str, parts: list[str]) -> Plan:
        # A weak handler is bound for each event anew, lest the plan keep it alive.
        return Plan(
            [
                Leg(route, bind(route, route.fn, self.loops, self.around))
                for route in self.handlers.find(name, parts)
            ],
            self.watchers.find(name, parts),
            self.settlers.find(name, parts),
            [route.fn for route in self.queues.find(name, parts)],
            plain=self.plain,
        )
