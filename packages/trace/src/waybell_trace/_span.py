"""A span: a named piece of work, from its start to its end."""

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, cast

from opentelemetry.context import attach, detach
from opentelemetry.trace import (
    Span as OtelSpan,
)
from opentelemetry.trace import (
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)

from waybell_trace import _semconv as names
from waybell_trace._capture import Capture, captured
from waybell_trace._ids import process
from waybell_trace._money import nano_dollars, whole
from waybell_trace._values import SIMPLE, clean, plain, text


if TYPE_CHECKING:
    from contextvars import Token
    from decimal import Decimal

    from opentelemetry.context import Context


P = ParamSpec("P")
R = TypeVar("R")


class _NotStarted:
    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "this span has not started: enter it, `with tracer.span(...) as span`"
        )


_NOT_STARTED: Final = cast("Any", _NotStarted())


class Source:
    """What a tracer lends to its spans.

    Args:
        start: Starts a span of the SDK.
        stamp: The nanoseconds since 1970; None lets the SDK look.
        lose: Counts a span that could not be written.
        capture: How much of texts is kept.
    """

    __slots__ = ("capture", "lose", "stamp", "start")

    def __init__(
        self,
        *,
        start: Callable[..., OtelSpan],
        stamp: Callable[[], int] | None,
        lose: Callable[[Exception], None],
        capture: Capture,
    ) -> None:
        self.start = start
        self.stamp = stamp
        self.lose = lose
        self.capture: Capture = capture


class Span:
    """One span: a context manager (sync and async) and a decorator.

    Made by `Tracer.span` and its shorthands; starts when entered, is the current span
    of OpenTelemetry inside the block, and is on file when the block is left. An
    exception that leaves the block, cancellation included, is recorded and goes on.

    Args:
        source: What its tracer lends it.
        name: What the work is.
        attributes: What is known at the start.
        kind: OpenTelemetry's kind.
        context: The parent's context; None for the current one.
    """

    __slots__ = (
        "_attributes",
        "_context",
        "_kind",
        "_name",
        "_otel",
        "_process",
        "_source",
        "_token",
        "_usage",
    )

    _token: "Token[Context]"
    _process: int

    def __init__(
        self,
        source: "Source",
        name: str,
        attributes: Mapping[str, object],
        kind: SpanKind = SpanKind.INTERNAL,
        context: "Context | None" = None,
    ) -> None:
        self._source = source
        self._name = name
        self._attributes = attributes
        self._kind = kind
        self._context = context
        self._otel: OtelSpan = _NOT_STARTED
        self._usage: dict[str, int] | None = None

    @property
    def otel(self) -> OtelSpan:
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
        usd: "int | str | float | Decimal | None" = None,
    ) -> None:
        """Add what the work used; calls add up.

        Record usage where it arises, on the span of the model call: reading rolls it up
        and leaves out what an enclosing span repeats.

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
        added = {
            names.INPUT_TOKENS: input_tokens,
            names.OUTPUT_TOKENS: output_tokens,
            names.CACHE_READ_TOKENS: cache_read_tokens,
            names.CACHE_WRITE_TOKENS: cache_write_tokens,
        }
        checked = {key: whole(key, n) for key, n in added.items() if n is not None}
        if usd is not None:
            checked[names.COST] = nano_dollars(usd)
        usage = self._usage = self._usage or {}
        for key, amount in checked.items():
            usage[key] = usage.get(key, 0) + amount
            self._otel.set_attribute(key, usage[key])
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
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        message = text(error)
        try:
            trace = "".join(traceback.format_exception(error))
        except Exception as second:  # an exception may fail to show itself
            trace = f"{name}, whose traceback cannot be shown: {type(second).__name__}"
        self._otel.set_attribute(names.ERROR_TYPE, name)
        self.add_event(
            names.EXCEPTION,
            **{
                names.EXCEPTION_TYPE: name,
                names.EXCEPTION_MESSAGE: message,
                names.EXCEPTION_STACKTRACE: trace,
            },
        )
        description = f"{name}: {message}" if message else name
        self._otel.set_status(Status(StatusCode.ERROR, description))

    def __enter__(self) -> Self:
        if self._otel is not _NOT_STARTED:
            raise RuntimeError(
                f"span {self._name!r} was entered before: make another one"
            )
        source = self._source
        otel = self._otel = source.start(
            self._name,
            self._context,
            self._kind,
            _checked(self._attributes),
            start_time=source.stamp and source.stamp(),
        )
        self._process = process()
        self._token = attach(set_span_in_context(otel))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        detach(self._token)
        if self._process != process():
            return  # a forked child left the block: the span is its parent's
        try:
            if error is not None and not _leaves(error):
                self.fail(error)
            stamp = self._source.stamp
            self._otel.end(stamp and stamp())
        except Exception as failure:
            self._source.lose(failure)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate `function`, sync or async: each call is a new span.

        Raises:
            TypeError: It is a generator function, whose body runs in turns with others.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
            function
        ):
            raise TypeError(
                f"{function!r} is a generator function: open the span inside it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def traced_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", traced_async)

        @functools.wraps(function)
        def traced(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._again():
                return function(*args, **kwargs)

        return traced

    def _again(self) -> "Span":
        return Span(
            self._source, self._name, self._attributes, self._kind, self._context
        )


def _checked(attributes: Mapping[str, object]) -> Any:
    for value in attributes.values():
        if type(value) not in SIMPLE:
            return clean(attributes)
    return attributes


def _leaves(error: BaseException) -> bool:
    # A generator that is closed and a program that ends well have not failed.
    if isinstance(error, SystemExit):
        return error.code in (None, 0)
    return isinstance(error, GeneratorExit)
