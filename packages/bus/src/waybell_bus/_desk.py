"""How receivers come to a bus and leave it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from blinker import NamedSignal

from waybell_bus._call import Middleware
from waybell_bus._errors import BusClosedError
from waybell_bus._loops import Loops
from waybell_bus._plan import Plans
from waybell_bus._queue import Overflow, Subscription
from waybell_bus._registry import DEFAULTS, Registry, Settings
from waybell_bus._topics import canonical, check_topic


F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class On(TypedDict, total=False):
    """What `on` and `once` take."""

    priority: int
    timeout: float | None
    concurrency: int | None
    thread: bool
    weak: bool


class Watch(TypedDict, total=False):
    """What `observe` takes."""

    settled: bool
    weak: bool


class Desk:
    """The half of a bus that registers."""

    __slots__ = ("__weakref__", "_closed", "_loops", "_plans", "_solos")

    def __init__(self, loops: Loops, *, plain: bool) -> None:
        self._closed: Literal["", "closing", "closed"] = ""
        self._loops = loops
        self._plans = Plans(loops, plain=plain)
        self._solos = self._plans.solos

    @overload
    def on(self, topic: str, fn: F, /, **settings: Unpack[On]) -> F: ...
    @overload
    def on(self, topic: str, /, **settings: Unpack[On]) -> Callable[[F], F]: ...
    def on(self, topic: str, fn: Any = None, /, **settings: Any) -> Any:
        """Register a handler: what it returns is its answer.

        Once more for the same topic replaces its settings and keeps its turn.

        Args:
            topic: A topic, or a pattern in which `*` is one segment and a final `**`
                one or more. `:` and `.` separate segments alike.
            fn: Called with the event; sync or async. Without it, `on` is a decorator.
            settings: `priority=0`, the higher the earlier; `timeout=None`, the seconds
                it may run, its wait for a place not counted; `concurrency=None`, how
                many may run at once on a loop, while others wait in turn;
                `thread=False`, whether a sync handler runs in a thread, in the
                sender's context; `weak=False`, whether it goes when nobody else
                holds it.

        Returns:
            `fn`, unchanged.

        Raises:
            TopicError: If the topic is not a valid pattern.
            TypeError: If it cannot be called, or not like this.
            ValueError: If a setting makes no sense.
        """
        return self._register(self._plans.handlers, topic, fn, settings)

    @overload
    def once(self, topic: str, fn: F, /, **settings: Unpack[On]) -> F: ...
    @overload
    def once(self, topic: str, /, **settings: Unpack[On]) -> Callable[[F], F]: ...
    def once(self, topic: str, fn: Any = None, /, **settings: Any) -> Any:
        """Register a handler, as `on` does, for one event: it is gone before it runs."""
        settings["once"] = True
        return self._register(self._plans.handlers, topic, fn, settings)

    @overload
    def observe(self, pattern: str, fn: F, /, **how: Unpack[Watch]) -> F: ...
    @overload
    def observe(self, pattern: str, /, **how: Unpack[Watch]) -> Callable[[F], F]: ...
    def observe(self, pattern: str, fn: Any = None, /, **how: Any) -> Any:
        """Register a watcher, which can neither change an answer nor fail it.

        A sync one runs before the handlers do, so let it be brief; an async one beside.

        Args:
            pattern: A topic or pattern.
            fn: Called with each event as it is sent. Without it, a decorator.
            how: `settled=False`, whether it is called with the event and an `Outcome`
                instead, for each answer once it is known; `weak=False`, as for `on`.

        Returns:
            `fn`, unchanged.
        """
        settled = how.pop("settled", False)
        registry = self._plans.settlers if settled else self._plans.watchers
        return self._register(registry, pattern, fn, how)

    def _register(
        self, registry: Registry, pattern: str, fn: Any, given: dict[str, Any]
    ) -> Any:
        weak = given.pop("weak", False)
        settings = Settings(**given)
        check_topic(pattern, wild=True)  # Before there is anything to decorate.

        def register(fn: F) -> F:
            settings.check(fn)
            registry.add(pattern, fn, settings, weak=weak)
            return fn

        return register if fn is None else register(fn)

    def off(self, topic: str, fn: Callable[..., Any], /) -> bool:
        """Unregister a handler or watcher; say whether it was there."""
        plans = self._plans
        registries = (plans.handlers, plans.watchers, plans.settlers)
        # A sum, since each is to be asked.
        return sum(registry.remove(topic, fn) for registry in registries) > 0

    @contextmanager
    def subscribed(self, topic: str, fn: F, /, **settings: Unpack[On]) -> Generator[F]:
        """Have a handler registered, as `on` does, inside a `with` block."""
        self.on(topic, fn, **settings)
        try:
            yield fn
        finally:
            self._plans.handlers.remove(topic, fn)

    def subscribe(
        self, pattern: str, /, *, maxsize: int = 256, overflow: Overflow = "block"
    ) -> Subscription:
        """A bounded queue of matching events.

        It listens only inside its `async with` block: not entered, it receives nothing.

        Args:
            pattern: A topic or pattern.
            maxsize: How many events it holds.
            overflow: What happens to one more: with `block`, `publish` waits and the
                other verbs drop it; `drop_oldest` and `drop_newest` drop one; with
                `error` the sender gets a `QueueFullError`, and nobody the event.

        Raises:
            TopicError: If the pattern is not well formed.
            ValueError: If a setting makes no sense.
        """
        check_topic(pattern, wild=True)
        queues = self._plans.queues

        def join(queue: Subscription) -> None:
            if self._closed:
                raise BusClosedError(pattern)
            queues.add(pattern, queue, DEFAULTS, weak=False)

        leave = partial(queues.remove, pattern)
        return Subscription(pattern, maxsize, overflow, join, leave)

    def use(self, middleware: M, /) -> M:
        """Wrap every delivery to a handler from now on; the first added is outermost.

        Args:
            middleware: `async def m(event, call_next)`, which returns the answer, as
                a rule that of `await call_next(event)`. `call_next.handler` is the
                handler's qualified name.

        Returns:
            It, unchanged.
        """
        with self._plans.lock:
            self._plans.around = (*self._plans.around, middleware)
            self._plans.clear()
        return middleware

    def signal(self, topic: str, /) -> NamedSignal:
        """The blinker signal behind a topic or pattern.

        What is connected to it is called with the event, and muting it silences its
        handlers. It hears nobody but the bus: `sender=` is refused.
        """
        return self._plans.handlers.signal(topic)

    def describe(self) -> dict[str, dict[str, list[str]]]:
        """Who is there: by topic or pattern, then by role, the names in order.

        A topic is spelled as it was first registered.

        Roles are `handlers`, `observers`, `settled` and `queues`.
        """
        plans, found = self._plans, dict[str, dict[str, list[str]]]()
        spellings = dict[str, str]()
        registries = plans.handlers, plans.watchers, plans.settlers, plans.queues
        roles = "handlers", "observers", "settled", "queues"
        for role, registry in zip(roles, registries, strict=True):
            for name, routes in registry.all():
                shown = spellings.setdefault(canonical(name), name)
                found.setdefault(shown, {})[role] = [route.name for route in routes]
        return dict(sorted(found.items()))

    def __repr__(self) -> str:
        many = len(self.describe())
        topics = "topic" if many == 1 else "topics"
        return f"<{type(self).__name__} {many} {topics}, {self._closed or 'open'}>"
