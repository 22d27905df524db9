"""A span: a named piece of work, from its start to its end."""

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from contextvars import Token
from decimal import Decimal
from threading import Lock
from typing import Any, Final, NamedTuple, ParamSpec, Self, TypeVar, cast

from opentelemetry import trace as otel
from opentelemetry.context import Context, attach, detach

from waybell_trace import _semconv as names
from waybell_trace._capture import Capture, captured
from waybell_trace._ids import forks
from waybell_trace._money import nano_dollars, whole
from waybell_trace._values import SIMPLE, clean, plain, text


P = ParamSpec("P")
R = TypeVar("R")


class _NotStarted:
    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("the span has not started: enter it with `with`")


_NOT_STARTED: Final = cast("Any", _NotStarted())


class Source(NamedTuple):
    """What a tracer lends to its spans."""

    start: Callable[..., otel.Span]
    stamp: Callable[[], int] | None  # nanoseconds since 1970; None lets the SDK look
    lose: Callable[[Exception], None]
    capture: Capture


class Span:
    """One span: a context manager (sync and async) and a decorator.

    Made by a `Tracer`; starts when entered, is OpenTelemetry's current span inside the
    block, and is on file when the block is left. An exception that leaves the block,
    cancellation included, is recorded and goes on.
    """

    __slots__ = ("_forks", "_how", "_lock", "_otel", "_source", "_token", "_usage")

    _forks: int
    _token: Token[Context]

    def __init__(
        self,
        source: Source,
        name: str,
        attributes: Mapping[str, object],
        kind: otel.SpanKind = otel.SpanKind.INTERNAL,
    ) -> None:
        self._source = source
        self._how = (name, kind, attributes)
        self._otel: otel.Span = _NOT_STARTED
        self._lock = Lock()
        self._usage: dict[str, int] = {}

    @property
    def otel(self) -> otel.Span:
        """OpenTelemetry's own span, for links and whatever else it can do."""
        self._otel.is_recording()  # raises if not started
        return self._otel

    def add_event(self, name: str, /, **attributes: object) -> None:
        """Note that something happened now."""
        stamp = self._source.stamp
        self._otel.add_event(name, _checked(attributes), stamp and stamp())

    def set_attribute(self, key: str, value: object, /) -> None:
        """Set, or replace, one attribute."""
        self._otel.set_attribute(key, plain(value))

    def record_usage(
        self,
        *,
        model: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        usd: str | float | Decimal | None = None,
    ) -> None:
        """Add what the work used, on the span of the model call; calls add up.

        Args:
            model: The model that answered.
            input_tokens: Tokens read, cached ones included.
            output_tokens: Tokens written.
            cache_read_tokens: Input tokens that came from a cache.
            cache_write_tokens: Input tokens that were put into a cache.
            usd: US dollars; None for unknown, 0 for free.

        Raises:
            ValueError: A number is negative, not finite, or no number.
        """
        nano = None if usd is None else nano_dollars(usd)
        tokens = (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
        added = zip(names.USAGE, (*tokens, nano), strict=True)
        checked = {key: whole(key, n) for key, n in added if n is not None}
        with self._lock:  # threads of one call may all add to it
            for key, amount in checked.items():
                self._usage[key] = self._usage.get(key, 0) + amount
                self._otel.set_attribute(key, self._usage[key])
        if model is not None:
            self._otel.set_attribute(names.RESPONSE_MODEL, text(model))

    def record_text(self, *, prompt: object = None, reply: object = None) -> None:
        """Keep what was asked and answered, as far as the tracer's `capture` says.

        Args:
            prompt: What went in: a text, or anything JSON can show.
            reply: What came out, likewise.
        """
        capture = self._source.capture
        if prompt is not None:
            self._otel.set_attributes(captured(capture, "prompt", prompt))
        if reply is not None:
            self._otel.set_attributes(captured(capture, "reply", reply))

    def fail(self, error: BaseException, /) -> None:
        """Mark the work as failed with `error`, for one that is handled inside."""
        kind = type(error)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        message = text(error)
        try:
            trace = "".join(traceback.format_exception(error, limit=-50))  # innermost
        except Exception as second:  # an exception may fail to show itself
            trace = f"{name}, which cannot be shown: {type(second).__name__}"
        shown = zip(names.EXCEPTION_SHOWN, (name, message, trace), strict=True)
        self._otel.set_attribute(names.ERROR_TYPE, name)
        self.add_event(names.EXCEPTION, **dict(shown))
        description = f"{name}: {message}" if message else name
        self._otel.set_status(otel.Status(otel.StatusCode.ERROR, description))

    def __enter__(self) -> Self:
        name, kind, attributes = self._how
        if self._otel is not _NOT_STARTED:
            raise RuntimeError(f"span {name!r} was entered before: make another one")
        start, stamp, _, _ = self._source
        now = stamp and stamp()
        self._otel = start(name, None, kind, _checked(attributes), (), now)
        self._forks = forks[0]
        self._token = attach(otel.set_span_in_context(self._otel))
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        detach(self._token)
        if self._forks != forks[0]:
            return  # a forked child left the block: the span is its parent's
        _, stamp, lose, _ = self._source
        try:
            try:
                if error is not None and not _leaves(error):
                    self.fail(error)
            finally:
                self._otel.end(stamp and stamp())
        except Exception as failure:
            lose(failure)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *left: Any) -> None:  # noqa: PYI036 - passed on
        self.__exit__(*left)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate `function`, sync or async: each call is a new span.

        Raises:
            TypeError: It is a generator function, whose body runs in turns with others.
        """
        yields = inspect.isgeneratorfunction, inspect.isasyncgenfunction
        if any(check(function) for check in yields):
            raise TypeError(f"{function!r} is a generator: open the span inside it")
        name, kind, attributes = self._how
        again = functools.partial(Span, self._source, name, attributes, kind)
        call: Any = function
        waits = inspect.iscoroutinefunction
        if waits(call) or waits(type(call).__call__):

            @functools.wraps(function)
            async def traced_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with again():
                    return await call(*args, **kwargs)

            return cast("Callable[P, R]", traced_async)

        @functools.wraps(function)
        def traced(*args: P.args, **kwargs: P.kwargs) -> R:
            with again():
                return function(*args, **kwargs)

        return traced


def _checked(attributes: Mapping[str, object]) -> Any:
    known = SIMPLE.issuperset(map(type, attributes.values()))
    return attributes if known else clean(attributes)


def _leaves(error: BaseException) -> bool:
    # A generator that is closed and a program that ends well have not failed.
    ends = isinstance(error, SystemExit) and error.code in (None, 0)
    return ends or isinstance(error, GeneratorExit)
