"""How receivers come to a bus and leave it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, overload

from blinker import NamedSignal

from waybell_bus._call import Middleware
from waybell_bus._errors import BusClosedError
from waybell_bus._loops import Loops
from waybell_bus._plan import Plans
from waybell_bus._queue import OVERFLOWS, Overflow, Subscription
from waybell_bus._registry import DEFAULTS, Registry, Settings, awaits, name_of


F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class Desk:
    """The registering half of a bus.

    Args:
        loops: Where its handlers run.
    """

    __slots__ = ("__weakref__", "_closed", "_loops", "_plans")

    def __init__(self, loops: Loops) -> None:
        self._closed: Literal["", "closing", "closed"] = ""
        self._loops = loops
        self._plans = Plans(loops)

    @overload
    def on(
        self,
        topic: str,
        fn: F,
        /,
        *,
        priority: int = 0,
        timeout: float | None = None,
        concurrency: int | None = None,
        thread: bool = False,
        weak: bool = False,
    ) -> F: ...

    @overload
    def on(
        self,
        topic: str,
        /,
        *,
        priority: int = 0,
        timeout: float | None = None,
        concurrency: int | None = None,
        thread: bool = False,
        weak: bool = False,
    ) -> Callable[[F], F]: ...

    def on(
        self,
        topic: str,
        fn: F | None = None,
        /,
        *,
        priority: int = 0,
        timeout: float | None = None,
        concurrency: int | None = None,
        thread: bool = False,
        weak: bool = False,
    ) -> F | Callable[[F], F]:
        """Register a handler: what it returns is its answer.

        Once more for the same topic replaces its settings and keeps its turn.

        Args:
            topic: A topic, or a pattern in which `*` is one segment and a final `**`
                one or more.
            fn: Called with the event; sync or async. Without it, a decorator.
            priority: The higher, the earlier.
            timeout: Seconds it may run (not counting the wait for its turn) before
                it is cancelled with a `TimeoutError`.
            concurrency: How many may run at once on a loop; the others wait in turn.
            thread: Whether a sync handler runs in a thread, in the sender's context.
            weak: Whether to let it go once nobody else holds it.

        Returns:
            `fn`, unchanged.

        Raises:
            TopicError: If the topic is not a valid pattern.
            TypeError: If it cannot be called, or is async and for a thread.
            ValueError: If a setting makes no sense.
        """
        settings = Settings(priority, timeout, concurrency, thread)
        return self._register(self._plans.handlers, topic, fn, settings, weak=weak)

    @overload
    def once(self, topic: str, fn: F, /, **settings: Any) -> F: ...

    @overload
    def once(self, topic: str, /, **settings: Any) -> Callable[[F], F]: ...

    def once(
        self,
        topic: str,
        fn: F | None = None,
        /,
        *,
        priority: int = 0,
        timeout: float | None = None,
        thread: bool = False,
        weak: bool = False,
    ) -> F | Callable[[F], F]:
        """Register a handler that answers one event, and is gone before it does.

        Args:
            topic: As for `on`, like the rest.
            fn: The handler. Without it, a decorator.
            priority: The higher, the earlier.
            timeout: Seconds it may run.
            thread: Whether it runs in a thread.
            weak: Whether to let it go once nobody else holds it.

        Returns:
            `fn`, unchanged.
        """
        settings = Settings(priority, timeout, None, thread, once=True)
        return self._register(self._plans.handlers, topic, fn, settings, weak=weak)

    @overload
    def observe(
        self, pattern: str, fn: F, /, *, settled: bool = False, weak: bool = False
    ) -> F: ...

    @overload
    def observe(
        self, pattern: str, /, *, settled: bool = False, weak: bool = False
    ) -> Callable[[F], F]: ...

    def observe(
        self,
        pattern: str,
        fn: F | None = None,
        /,
        *,
        settled: bool = False,
        weak: bool = False,
    ) -> F | Callable[[F], F]:
        """Register a watcher, which can neither change an answer nor fail it.

        A sync one runs before the handlers do and should be brief; an async one runs
        beside them.

        Args:
            pattern: A topic or pattern.
            fn: Called with the event as it is sent. Without it, a decorator.
            settled: Whether it is called with the event and an `Outcome` instead, for
                each answer once it is known.
            weak: Whether to let it go once nobody else holds it.

        Returns:
            `fn`, unchanged.
        """
        plans = self._plans
        registry = plans.settlers if settled else plans.watchers
        return self._register(registry, pattern, fn, DEFAULTS, weak=weak)

    def _register(
        self,
        registry: Registry,
        pattern: str,
        fn: F | None,
        settings: Settings,
        *,
        weak: bool,
    ) -> F | Callable[[F], F]:
        _check(settings)

        def register(fn: F) -> F:
            _suits(fn, settings)
            registry.add(pattern, fn, settings, weak=weak)
            return fn

        if fn is not None:
            return register(fn)
        registry.signal(pattern)  # A bad pattern is refused before the decorator runs.
        return register

    def off(self, topic: str, fn: Callable[..., Any], /) -> bool:
        """Unregister a handler or watcher; say whether it was there.

        Args:
            topic: What it was registered for.
            fn: The handler or watcher.
        """
        plans = self._plans
        registries = (plans.handlers, plans.watchers, plans.settlers)
        # A list, so that each is asked.
        return any([registry.remove(topic, fn) for registry in registries])

    @contextmanager
    def subscribed(self, topic: str, fn: F, /, **settings: Any) -> Iterator[F]:
        """Have a handler registered inside a `with` block.

        Args:
            topic: A topic or pattern.
            fn: The handler.
            settings: As for `on`.
        """
        self.on(topic, fn, **settings)
        try:
            yield fn
        finally:
            self._plans.handlers.remove(topic, fn)

    def subscribe(
        self, pattern: str, /, *, maxsize: int = 256, overflow: Overflow = "block"
    ) -> Subscription:
        """A bounded queue of matching events, filled inside its `async with` block.

        Args:
            pattern: A topic or pattern.
            maxsize: How many events it holds.
            overflow: What happens to one more. `block`: `publish` waits, the other
                verbs drop it. `drop_oldest` and `drop_newest` drop one. `error`: the
                sender gets a `QueueFullError` before anybody gets the event.
                What is dropped is counted in `dropped`.

        Raises:
            TopicError: If the pattern is not well formed.
            ValueError: If there is no such policy, or no room for one event.
        """
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow is one of {OVERFLOWS}, not {overflow!r}")
        if maxsize < 1:
            raise ValueError(f"a queue holds at least one event, not {maxsize}")
        queues = self._plans.queues
        queues.signal(pattern)
        return Subscription(
            pattern,
            maxsize,
            overflow,
            self._join,
            lambda queue: queues.remove(pattern, queue),
        )

    def _join(self, queue: Subscription) -> None:
        if self._closed:
            raise BusClosedError(queue.pattern)
        self._plans.queues.add(queue.pattern, queue, DEFAULTS, weak=False)

    def use(self, middleware: M, /) -> M:
        """Wrap every delivery to a handler from now on; the first added is outermost.

        Args:
            middleware: `async def m(event, call_next)`, which returns the answer, as
                a rule that of `await call_next(event)`. `call_next.handler` is the
                handler's qualified name.

        Returns:
            It, unchanged.
        """
        if not callable(middleware):
            raise TypeError(f"{middleware!r} cannot be called")
        self._plans.wrap(middleware)
        return middleware

    def signal(self, topic: str, /) -> NamedSignal:
        """The blinker signal behind a topic or pattern.

        What is connected to it is called with the event, and muting it silences its
        handlers. It has no other senders than the bus: `sender=` is refused.

        Args:
            topic: A topic or pattern.
        """
        return self._plans.handlers.signal(topic)

    def describe(self) -> dict[str, dict[str, list[str]]]:
        """Who answers what: for each topic or pattern the names of its receivers.

        Returns:
            By topic, then by `handlers`, `observers`, `settled` and `queues`.
        """
        plans = self._plans
        found: dict[str, dict[str, list[str]]] = {}
        with plans.lock:
            for role, registry in (
                ("handlers", plans.handlers),
                ("observers", plans.watchers),
                ("settled", plans.settlers),
                ("queues", plans.queues),
            ):
                for name, routes in registry.all():
                    found.setdefault(name, {})[role] = [route.name for route in routes]
        return dict(sorted(found.items()))


def _check(settings: Settings) -> None:
    timeout, concurrency = settings.timeout, settings.concurrency
    if timeout is not None and not timeout > 0:
        raise ValueError(f"a timeout is a number of seconds above 0, not {timeout}")
    if concurrency is not None and concurrency < 1:
        raise ValueError(f"a concurrency is at least 1, not {concurrency}")


def _suits(fn: Callable[..., Any], settings: Settings) -> None:
    waits = awaits(fn)
    if settings.thread and waits:
        raise TypeError(f"{name_of(fn)} is async: only sync handlers run in a thread")
    if settings.timeout is not None and not waits and not settings.thread:
        raise ValueError(
            f"{name_of(fn)} is sync, so nothing can interrupt it: a timeout needs an "
            "async handler, or thread=True"
        )
