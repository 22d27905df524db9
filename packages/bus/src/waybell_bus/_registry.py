"""Who is registered where: blinker's signals, ordered, locked and found by pattern."""

import itertools
import threading
import weakref
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction, ismethod
from typing import Any, NamedTuple, TypeVar, cast

from blinker import ANY, NamedSignal, Namespace, Signal

from waybell_bus._limit import Limit
from waybell_bus._topics import Trie, canonical, check_pattern


F = TypeVar("F", bound=Callable[..., Any])


class Settings(NamedTuple):
    """How a receiver wants to be called; what blinker connects has the defaults."""

    priority: int = 0
    timeout: float | None = None
    concurrency: int | None = None
    thread: bool = False
    once: bool = False


DEFAULTS = Settings()


def _innermost(fn: Any) -> Any:
    while isinstance(fn, partial):
        fn = fn.func
    return fn


def name_of(fn: Any) -> str:
    """The qualified name of a callable, its class's where it has none."""
    inner = _innermost(fn)
    name: str = getattr(inner, "__qualname__", "") or type(inner).__qualname__
    return name


def awaits(fn: Any) -> bool:
    """Whether calling it gives a coroutine.

    Raises:
        TypeError: If it cannot be called, or gives several answers.
    """
    inner = _innermost(fn)
    if not callable(inner):
        raise TypeError(f"{fn!r} cannot be called")
    bodies = (inner, getattr(type(inner), "__call__", None))
    if any(map(isasyncgenfunction, bodies)):
        raise TypeError(f"{name_of(fn)} is an async generator; a handler answers once")
    return any(map(iscoroutinefunction, bodies))


class Route:
    """One receiver of one signal, as it is called.

    Args:
        fn: The receiver.
        pattern: What it is registered for.
        order: Its turn among receivers of equal priority.
        settings: How it wants to be called.
    """

    __slots__ = (
        "awaits",
        "fn",
        "limits",
        "name",
        "order",
        "pattern",
        "ref",
        "settings",
        "spent",
    )

    def __init__(self, fn: Any, pattern: str, order: int, settings: Settings) -> None:
        self.name = name_of(fn)
        self.pattern = pattern
        self.order = order
        self.settings = settings
        self.awaits = awaits(fn)
        self.fn: Any = fn
        self.ref: weakref.ref[Any] | None = None
        self.limits: dict[AbstractEventLoop, Limit] = {}
        self.spent: list[None] | None = [None] if settings.once else None

    def key(self) -> tuple[int, int]:
        """What puts routes in order: highest priority, then registration."""
        return -self.settings.priority, self.order

    def target(self) -> Any:
        """The receiver, or None where it was weak and is gone."""
        return self.fn if self.ref is None else self.ref()

    def claim(self) -> bool:
        """Whether it may be called now: of those that answer once, only once."""
        if self.spent is not None:
            try:
                self.spent.pop()
            except IndexError:
                return False
        return True


class _InOrder(dict[Any, None]):
    """What blinker keeps its receivers in, so that they stay in order."""

    __slots__ = ()

    def add(self, item: Any) -> None:
        """Keep an item, at its first place."""
        self[item] = None

    def discard(self, item: Any) -> None:
        """Forget an item."""
        self.pop(item, None)


def key_of(receiver: Any) -> Any:
    # As blinker tells receivers apart: a bound method is made anew at each access.
    if ismethod(receiver):
        return id(receiver.__func__), id(receiver.__self__)
    return id(receiver)


class TopicSignal(NamedSignal):
    """A blinker signal whose receivers a bus calls.

    Args:
        name: The topic or pattern.
        registry: Where it belongs.
    """

    __slots__ = ("registry", "routes")
    set_class: type[Any] = _InOrder

    def __init__(self, name: str, registry: "Registry") -> None:
        super().__init__(name)
        self.registry = registry
        self.routes: dict[Any, Route] = {}
        # One pair for all signals: a pair for each would triple their memory.
        self.receiver_connected = registry.connected
        self.receiver_disconnected = registry.disconnected

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "is_muted" and hasattr(self, "routes"):
            self.registry.changed(self.name)

    def connect(self, receiver: F, sender: Any = ANY, weak: bool = True) -> F:
        """Register a receiver, as blinker does.

        Raises:
            TypeError: If it cannot be called, or is to hear one sender only: what a
                bus sends is an event, which nobody knows beforehand.
        """
        if sender is not ANY:
            raise TypeError(
                "a bus sends events only: filter on the event, not on a sender"
            )
        awaits(receiver)
        with self.registry.lock:
            return super().connect(receiver, sender, weak)

    def disconnect(self, receiver: Callable[..., Any], sender: Any = ANY) -> None:
        """Remove a receiver, as blinker does."""
        with self.registry.lock:
            super().disconnect(receiver, sender)


class Registry(Namespace):
    """Signals by canonical name: those with receivers, and what others still hold.

    Args:
        lock: Guards every change, together with the plans compiled from it.
        changed: Called with the name of each signal that changed.
    """

    def __init__(self, lock: threading.RLock, changed: Callable[[str], object]) -> None:
        super().__init__()
        self.lock = lock
        self.changed = changed
        self.connected = Signal()
        self.disconnected = Signal()
        self.connected.connect(self._on_connected, weak=False)
        self.disconnected.connect(self._on_disconnected, weak=False)
        self._idle: weakref.WeakValueDictionary[str, TopicSignal] = (
            weakref.WeakValueDictionary()
        )
        self._order = itertools.count()
        self._settings = DEFAULTS
        self._trie = Trie()
        self.bereft: deque[str] = deque()  # Signals that lost a weak receiver.

    def signal(self, name: str, doc: str | None = None) -> TopicSignal:
        """The signal of a topic or pattern, made if need be.

        Raises:
            TopicError: If the pattern is not well formed.
        """
        check_pattern(name)
        name = canonical(name)
        with self.lock:
            found = self.at(name) or self._idle.get(name)
            if found is None:
                found = self._idle[name] = TopicSignal(name, self)
            return found

    def at(self, name: str) -> "TopicSignal | None":
        """The signal of that canonical name, if it has receivers."""
        return cast("TopicSignal | None", self.get(name))

    def add(self, pattern: str, fn: Any, settings: Settings, *, weak: bool) -> None:
        """Register a receiver; once more replaces its settings and keeps its turn."""
        signal = self.signal(pattern)
        with self.lock:
            self._settings = settings
            try:
                signal.connect(fn, weak=weak)
            finally:
                self._settings = DEFAULTS
                self._sweep()

    def remove(self, pattern: str, fn: Any, route: Route | None = None) -> bool:
        """Unregister a receiver, or one route of it; say whether it was there."""
        check_pattern(pattern)
        with self.lock:
            signal = self.at(canonical(pattern))
            found = signal and signal.routes.get(key_of(fn))
            if not signal or not found or route not in {None, found}:
                return False
            signal.disconnect(fn)
            return True

    def find(self, name: str, parts: list[str]) -> list[Route]:
        """The routes of all receivers of a topic, in order."""
        found: list[Route] = []
        for pattern in (name, *self._trie.match(parts)):
            signal = self.at(pattern)
            if signal is not None and not signal.is_muted:
                found += filter(
                    None,
                    map(signal.routes.get, map(key_of, signal.receivers_for(None))),
                )
        found.sort(key=Route.key)
        return found

    def all(self) -> list[tuple[str, list[Route]]]:
        """The name of every signal with receivers, and their routes in order."""
        return [
            (name, sorted(cast("TopicSignal", signal).routes.values(), key=Route.key))
            for name, signal in self.items()
        ]

    def _on_connected(
        self, signal: TopicSignal, receiver: Any, sender: Any, weak: bool
    ) -> None:
        settings, self._settings = self._settings, DEFAULTS
        key = key_of(receiver)
        old = signal.routes.get(key)
        order = next(self._order) if old is None else old.order
        route = Route(receiver, signal.name, order, settings)
        if weak:
            make = weakref.WeakMethod if ismethod(receiver) else weakref.ref
            route.fn = None
            route.ref = make(receiver, partial(_gone, weakref.ref(signal), key))
        signal.routes[key] = route
        if signal.name not in self:
            self[signal.name] = signal
            self._idle.pop(signal.name, None)
            if "*" in signal.name:
                self._trie.add(signal.name)
        self.changed(signal.name)

    def _on_disconnected(self, signal: TopicSignal, receiver: Any, sender: Any) -> None:
        signal.routes.pop(key_of(receiver), None)
        self._retire(signal)
        self.changed(signal.name)

    def _retire(self, signal: TopicSignal) -> None:
        empty = not signal.receivers and not signal.is_muted
        if empty and self.pop(signal.name, None) is not None:
            # Kept for as long as somebody outside holds it, so that it stays the one.
            self._idle[signal.name] = signal
            self._trie.discard(signal.name)

    def _sweep(self) -> None:
        while self.bereft:
            signal = self.at(self.bereft.popleft())
            if signal is not None:
                self._retire(signal)


def _gone(owner: weakref.ref[TopicSignal], key: Any, ref: weakref.ref[Any]) -> None:
    # A weak receiver's death sends no signal. This runs inside the garbage collector,
    # maybe in the midst of a registration: no lock, single steps only.
    signal = owner()
    if signal is not None:
        route = signal.routes.get(key)
        if route is not None and route.ref is ref:
            signal.routes.pop(key, None)
        signal.registry.bereft.append(signal.name)
        signal.registry.changed(signal.name)
