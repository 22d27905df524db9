"""Makes spans and puts them on file."""

import contextvars
import functools
import os
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, Self, TypeVar, get_args

from opentelemetry import trace as otel
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from waybell_trace import _semconv as names
from waybell_trace._capture import Capture
from waybell_trace._ids import FreshIds
from waybell_trace._money import NANO
from waybell_trace._span import Source, Span
from waybell_trace._values import text
from waybell_trace._writer import FileProcessor


P = ParamSpec("P")
R = TypeVar("R")


class Tracer:
    """Makes spans and puts each on file, one OTLP/JSON line, in the call that ends it.

    Threads, tasks and forked children share one tracer; processes may share one file.

    Args:
        export_path: The file, made with its folders for its owner only. Starts of spans
            go beside it: `traces.jsonl` has `traces.starts.jsonl`.
        provider: An SDK provider whose processors shall see the spans too, and whose
            spans of other libraries shall be on file too. Its sampler and limits then
            hold. By default a private one that keeps everything, whatever the
            environment says.
        capture: How much of prompts, replies and events is kept: "none", "digest"
            (length and hash) or "text".
        service_name: The resource's `service.name`; by default OTEL_SERVICE_NAME.
        now: A clock giving the seconds since 1970; by default the system's.
    """

    __slots__ = ("_files", "_source")

    def __init__(
        self,
        export_path: str | os.PathLike[str],
        *,
        provider: TracerProvider | None = None,
        capture: Capture = "digest",
        service_name: str | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        if capture not in (known := get_args(Capture)):
            raise ValueError(f"capture must be one of {known}, not {capture!r}")
        if provider is not None and not isinstance(provider, TracerProvider):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"provider must be an SDK TracerProvider, not {provider!r}")
        self._files = files = FileProcessor(export_path)
        if provider is None:
            start = _private(service_name, files).get_tracer("waybell_trace").start_span
        else:
            provider.add_span_processor(files)
            start = _counting(provider.get_tracer("waybell_trace").start_span, files)
        stamp = None if now is None else lambda: round(now() * NANO)
        self._source = Source(start, stamp, files.spans.lose, capture)

    @property
    def path(self) -> str:
        """The file ended spans go to."""
        return self._files.spans.path

    @property
    def lost(self) -> int:
        """Ended spans that could not be written, in this process."""
        return self._files.spans.lost

    @property
    def lost_starts(self) -> int:
        """Starts that could not be written: those spans would not show after a crash."""
        return self._files.starts.lost

    @property
    def sealed(self) -> bool:
        """Whether a line cut short, by a crash, was found and ended when opening."""
        return self._files.spans.sealed or self._files.starts.sealed

    def span(self, name: str, /, **attributes: object) -> Span:
        """A span of any work: `with`, `async with`, or a decorator."""
        return Span(self._source, text(name), attributes)

    def agent(self, name: str, /, **attributes: object) -> Span:
        """A span of an agent's turn."""
        return _known(self._source, "AGENT", name, attributes)

    def llm(
        self, model: str, /, provider: str | None = None, **attributes: object
    ) -> Span:
        """A span of a call to a model, where usage belongs."""
        if provider is not None:
            attributes[names.PROVIDER] = provider
        return _known(self._source, "LLM", model, attributes)

    def tool(self, name: str, /, **attributes: object) -> Span:
        """A span of a tool's run."""
        return _known(self._source, "TOOL", name, attributes)

    def workflow(self, name: str, /, **attributes: object) -> Span:
        """A span of several agents' joint work."""
        return _known(self._source, "CHAIN", name, attributes)

    async def around(self, event: Any, call_next: Callable[..., Awaitable[R]], /) -> R:
        """A bus middleware: each delivery is a span, nested as the events are."""
        attributes = {
            names.KIND: "CHAIN",
            names.TOPIC: event.topic,
            names.EVENT_ID: event.id,
            names.EVENT_ROOT: event.root,
            names.HANDLER: getattr(call_next, "handler", None),
        }
        if event.parent is not None:
            attributes[names.EVENT_PARENT] = event.parent
        with Span(self._source, event.topic, attributes) as span:
            span.record_text(prompt={**event})
            answer = await call_next(event)
            span.record_text(reply=answer)
            return answer

    def close(self) -> None:
        """Close the files; spans that end later are counted as lost."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def propagate(function: Callable[P, R], /) -> Callable[P, R]:
    """`function`, run wherever it is called as if called here, under the current span.

    Tasks and `asyncio.to_thread` inherit the current span; executors do not:
    `executor.submit(propagate(work), item)`.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def propagated(*args: P.args, **kwargs: P.kwargs) -> R:
        # A copy each, since one context cannot be entered by two threads at once.
        return context.copy().run(function, *args, **kwargs)

    return propagated


def _known(source: Source, kind: str, name: str, given: dict[str, Any]) -> Span:
    operation, key, leaves = names.OPERATIONS[kind]
    given = {names.OPERATION: operation, names.KIND: kind, key: name} | given
    way = otel.SpanKind.CLIENT if leaves else otel.SpanKind.INTERNAL
    return Span(source, f"{operation} {name}", given, way)


def _private(service_name: str | None, files: FileProcessor) -> TracerProvider:
    about = {"service.name": service_name} if service_name else {}
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource.create(about),
        shutdown_on_exit=False,
        active_span_processor=files,  # type: ignore[arg-type]  # the only one: no fan-out
        id_generator=FreshIds(),
        span_limits=SpanLimits(*[SpanLimits.UNSET] * 8),
        meter_provider=NoOpMeterProvider(),  # or OTEL_PYTHON_METER_PROVIDER says
    )
    # What OTEL_SDK_DISABLED sets; no argument overrules it. A test holds this line.
    provider._disabled = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return provider


def _counting(start: Callable[..., Any], files: FileProcessor) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        span = start(*args)
        if not span.is_recording():
            files.spans.lose("its provider does not record it (sampler, or disabled)")
        return span

    return counted
