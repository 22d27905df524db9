"""Who is registered where: blinker's signals, ordered, locked and found by pattern."""

import itertools
import threading
import weakref
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction, ismethod
from types import BuiltinMethodType
from typing import Any, NamedTuple, TypeVar, cast

from blinker import ANY, NamedSignal, Namespace, Signal

from waybell_bus._limit import Limit
from waybell_bus._topics import Trie, canonical, check_topic


F = TypeVar("F", bound=Callable[..., Any])


def _innermost(fn: Any) -> Any:
    while isinstance(fn, partial):
        fn = cast("Any", fn).func
    return fn


def name_of(fn: Any) -> str:
    """The qualified name of a callable, or of its class."""
    inner = _innermost(fn)
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))


def awaits(fn: Any) -> bool:
    """Whether calling it gives a coroutine.

    Raises:
        TypeError: If it cannot be called, or gives several answers.
    """
    inner = _innermost(fn)
    if not callable(inner):
        raise TypeError(f"{fn!r} cannot be called")
    bodies = (inner, type(inner).__call__)
    if any(map(isasyncgenfunction, bodies)):
        raise TypeError(f"{name_of(fn)} is an async generator; a handler answers once")
    return any(map(iscoroutinefunction, bodies))


def _at_least(least: float, name: str, value: float | None) -> None:
    if value is not None and not value >= least:
        raise ValueError(f"a {name} is at least {least}, not {value}")


class Settings(NamedTuple):
    """How a handler wants to be called; what blinker connects has the defaults."""

    priority: int = 0
    timeout: float | None = None
    concurrency: int | None = None
    thread: bool = False
    once: bool = False

    def check(self, fn: Any) -> None:
        """Raise what speaks against calling it like this."""
        waits, timeout, places = awaits(fn), self.timeout, self.concurrency
        if self.thread and waits:
            raise TypeError(f"{name_of(fn)} is async: it cannot run in a thread")
        _at_least(1e-9, "timeout", timeout)
        _at_least(1, "concurrency", places)
        if timeout and not (waits or self.thread):
            raise ValueError(f"nothing interrupts sync {name_of(fn)}: use thread=True")


DEFAULTS = Settings()
_NONE: dict[AbstractEventLoop, Limit] = {}
_ANY_TIME = itertools.repeat(True)


class Route:
    """One receiver of one signal."""

    __slots__ = ("awaits", "fn", "limits", "name", "order", "pattern", "ref", "settings", "turns")  # fmt: skip

    def __init__(self, fn: Any, pattern: str, order: int, settings: Settings) -> None:
        self.awaits = awaits(fn)
        self.fn = fn  # None where it is weak.
        self.limits: dict[AbstractEventLoop, Limit] = (
            {} if settings.concurrency else _NONE
        )
        self.name = name_of(fn)
        self.order = order
        self.pattern = pattern
        self.ref: weakref.ref[Any] | None = None
        self.settings = DEFAULTS if settings == DEFAULTS else settings  # One for most.
        self.turns = itertools.repeat(True, 1) if settings.once else _ANY_TIME

    def turn(self) -> tuple[int, int]:
        """What puts routes in order: the highest priority, then registration."""
        return -self.settings.priority, self.order

    def fragile(self) -> bool:
        """Whether it may be gone, or have had its turn, before it is called."""
        return self.ref is not None or self.settings.once

    def target(self) -> Any:
        """The receiver, or None where it was weak and is gone."""
        return self.fn if self.ref is None else self.ref()

    def claim(self) -> bool:
        """Whether it may be called now: one that answers once, only once."""
        return next(self.turns, False)  # One step, whatever the thread.


def key_of(fn: Any) -> Any:
    """How blinker tells receivers apart: a bound method is new at each access."""
    return (id(fn.__func__), id(fn.__self__)) if ismethod(fn) else id(fn)


class TopicSignal(NamedSignal):
    """A blinker signal whose receivers a bus calls."""

    __slots__ = ("registry", "routes", "spelling")

    def __init__(self, name: str, registry: "Registry") -> None:
        super().__init__(name)
        self.routes: dict[Any, Route] = {}
        # One pair for all signals: a pair for each would triple their memory.
        self.receiver_connected = registry.connected
        self.receiver_disconnected = registry.disconnected
        self.registry = registry
        self.spelling = name  # As it was first registered, for people to read.

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "is_muted" and hasattr(self, "registry"):
            with self.registry.lock:  # Or a plan under way would not know.
                self.registry.changed(self.name)

    def connect(self, receiver: F, sender: Any = ANY, weak: bool = True) -> F:
        """Register a receiver. What is sent is an event, so `sender` is refused."""
        if sender is not ANY:
            raise TypeError("a bus sends events: filter on the event, not on a sender")
        awaits(receiver)
        with self.registry.lock:
            return super().connect(receiver, sender, weak)

    def disconnect(self, receiver: Callable[..., Any], sender: Any = ANY) -> None:
        """Remove a receiver."""
        with self.registry.lock:
            super().disconnect(receiver, sender)


class Registry(Namespace):
    """The signals that have receivers, by canonical name."""

    def __init__(self, lock: threading.RLock, changed: Callable[[str], object]) -> None:
        super().__init__()
        self.lock = lock
        self.changed = changed  # Told the name of each signal that changed.
        self.connected = Signal()
        self.connected.connect(self._on_connected, weak=False)
        self.disconnected = Signal()
        self.disconnected.connect(self._on_disconnected, weak=False)
        # Without receivers a signal lives only as long as somebody outside holds it.
        self._idle: weakref.WeakValueDictionary[str, TopicSignal] = (
            weakref.WeakValueDictionary()
        )
        self._bereft: deque[TopicSignal] = deque()  # They lost a weak receiver.
        self._order = itertools.count()
        self._settings = DEFAULTS
        self._trie = Trie()

    def signal(self, name: str, doc: str | None = None) -> TopicSignal:  # noqa: ARG002 - blinker's signature
        """The signal of a topic or pattern, made if need be."""
        check_topic(name, wild=True)
        spelling, name = name, canonical(name)
        with self.lock:
            found = self.at(name) or self._idle.get(name)
            if found is None:
                found = self._idle[name] = TopicSignal(name, self)
            if not found.routes:
                found.spelling = spelling
            return found

    def at(self, name: str) -> TopicSignal | None:
        """The signal of that canonical name, if it has receivers."""
        return cast("TopicSignal | None", self.get(name))

    def add(self, pattern: str, fn: Any, settings: Settings, *, weak: bool) -> None:
        """Register a receiver; once more replaces its settings and keeps its turn."""
        signal = self.signal(pattern)
        with self.lock:
            while self._bereft:
                self._retire(self._bereft.popleft())
            self._settings = settings
            try:
                signal.connect(fn, weak=weak)
            finally:
                self._settings = DEFAULTS

    def remove(self, pattern: str, fn: Any, route: Route | None = None) -> bool:
        """Unregister a receiver, or this route of it; say whether it was there."""
        check_topic(pattern, wild=True)
        with self.lock:
            signal = self.at(canonical(pattern))
            if signal is None:
                return False
            if isinstance(
                fn, BuiltinMethodType
            ):  # `seen.append` is new at each access.
                fn = next((r.fn for r in signal.routes.values() if r.fn == fn), fn)
            found = signal.routes.get(key_of(fn))
            if found is None or route not in {None, found}:
                return False
            signal.disconnect(fn)
            return True

    def find(self, name: str, parts: list[str]) -> list[Route]:
        """The routes of all receivers of a topic, in order."""
        found: list[Route | None] = []
        for pattern in (name, *self._trie.match(parts)):
            signal = self.at(pattern)
            if signal is not None and not signal.is_muted:
                receivers = signal.receivers_for(None)
                found += [signal.routes.get(key_of(fn)) for fn in receivers]
        return sorted(filter(None, found), key=Route.turn)

    def all(self) -> list[tuple[str, list[Route]]]:
        """The spelling of each signal with receivers, and their routes in order."""
        with self.lock:
            return [
                (signal.spelling, sorted(routes, key=Route.turn))
                for name in self
                if (signal := self.at(name)) and (routes := signal.routes.values())
            ]

    def _on_connected(
        self, signal: TopicSignal, receiver: Any, weak: bool, **_: Any
    ) -> None:
        settings, self._settings = self._settings, DEFAULTS
        key = key_of(receiver)
        old = signal.routes.get(key)
        order = next(self._order) if old is None else old.order
        route = signal.routes[key] = Route(receiver, signal.name, order, settings)
        if weak:
            make = weakref.WeakMethod if ismethod(receiver) else weakref.ref
            route.fn = None
            route.ref = make(receiver, partial(_gone, weakref.ref(signal), key))
        if signal.name not in self:
            self[signal.name] = signal
            self._idle.pop(signal.name, None)
            if "*" in signal.name:
                self._trie.add(signal.name)
        self.changed(signal.name)

    def _on_disconnected(self, signal: TopicSignal, receiver: Any, **_: Any) -> None:
        signal.routes.pop(key_of(receiver), None)
        self._retire(signal)
        self.changed(signal.name)

    def _retire(self, signal: TopicSignal) -> None:
        empty = not signal.receivers and not signal.is_muted
        if empty and self.pop(signal.name, None) is not None:
            self._idle[signal.name] = signal
            if "*" in signal.name:
                self._trie.discard(signal.name)

    def gone(self, signal: TopicSignal, key: Any, ref: weakref.ref[Any]) -> None:
        """A weak receiver died, and no signal tells."""
        route = signal.routes.get(key)
        if route is not None and route.ref is ref:
            signal.routes.pop(key, None)
        self._bereft.append(signal)
        # The collector may come at any moment, and may not wait. Where it would have
        # to, plans keep what they skip anyway.
        if self.lock.acquire(blocking=False):
            self.changed(signal.name)
            self.lock.release()


def _gone(owner: weakref.ref[TopicSignal], key: Any, ref: weakref.ref[Any]) -> None:
    signal = owner()
    if signal is not None:
        signal.registry.gone(signal, key, ref)
