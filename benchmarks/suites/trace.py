"""The tracer: the SDK, the official exporters, logfire and ours."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import os
import tempfile
from itertools import repeat
from pathlib import Path

from benchmarks._cases import Case, Suite, Target


SPAN = Case(
    "span",
    "One span of four attributes and one event",
    note="To a local file, but for the SDK without an exporter. The batch exporter "
    "is made to write all it holds before the time is taken.",
)
GROWTH = Case(
    "growth",
    "Cost against spans written before",
    kind="growth",
    note="One span more of the same kind.",
)

LIMIT = "OpenTelemetry SDK without an exporter"
OURS = "waybell_trace"
OFFICIAL = "OpenTelemetry SDK, simple processor, official JSON file exporter"
SDK = {"env": "own", "package": "opentelemetry-sdk"}
EXPORTER = {
    "env": "own",
    "package": "opentelemetry-sdk opentelemetry-exporter-otlp-json-file",
}
ATTRIBUTES = {"agent": "router", "model": "small-1", "tokens": 812, "share": 0.93}


def folder():
    """A folder on the disk of the repository, not in memory."""
    return tempfile.TemporaryDirectory(prefix="trace-")


def provider(*processors):
    from opentelemetry.sdk.trace import TracerProvider

    made = TracerProvider()
    for processor in processors:
        made.add_span_processor(processor)
    return made


def span_with(tracer):
    """Spans by the SDK's own names."""
    start = tracer.start_as_current_span

    def run(times):
        for _ in repeat(None, times):
            with start("step", attributes=dict(ATTRIBUTES)) as span:
                span.add_event("read", {"line": 3})

    return run


@SPAN.limit(LIMIT, package="opentelemetry-sdk")
def _sdk():
    yield span_with(provider().get_tracer("bench"))


@SPAN.peer("a dict and orjson, one `os.write`", env="own")
def _by_hand():
    import time

    import orjson

    with folder() as where:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(Path(where, "spans.jsonl"), flags, 0o600)

        def run(times):
            for _ in repeat(None, times):
                began = time.time_ns()
                event = {"name": "read", "time": time.time_ns(), "line": 3}
                span = {
                    "traceId": os.urandom(16).hex(),
                    "spanId": os.urandom(8).hex(),
                    "name": "step",
                    "start": began,
                    "attributes": dict(ATTRIBUTES),
                    "events": [event],
                    "end": time.time_ns(),
                }
                os.write(file, orjson.dumps(span) + b"\n")

        yield run
        os.close(file)


def new_tracer(path):
    from waybell_trace import Tracer

    return Tracer(export_path=path)


def our_spans(tracer):
    def run(times):
        for _ in repeat(None, times):
            with tracer.span(
                "step", agent="router", model="small-1", tokens=812, share=0.93
            ) as span:
                span.add_event("read", line=3)

    return run


@SPAN.ours(OURS)
def _ours():
    with folder() as where:
        yield our_spans(new_tracer(Path(where, "spans.jsonl")))


@SPAN.peer("OpenTelemetry SDK, official encoder, one `os.write`", **EXPORTER)
def _encoder():
    import orjson
    from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace import SpanProcessor

    with folder() as where:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(Path(where, "spans.jsonl"), flags, 0o600)

        class Writer(SpanProcessor):
            def on_end(self, span):
                line = orjson.dumps(encode_spans([span]).to_dict())
                os.write(file, line + b"\n")

        yield span_with(provider(Writer()).get_tracer("bench"))
        os.close(file)


@SPAN.peer(OFFICIAL, **EXPORTER)
def _simple():
    from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    with folder() as where:
        exporter = FileSpanExporter(Path(where, "spans.jsonl"))
        made = provider(SimpleSpanProcessor(exporter))
        yield span_with(made.get_tracer("bench"))
        made.shutdown()


@SPAN.peer(
    "OpenTelemetry SDK, batch processor, official JSON file exporter (not durable)",
    **EXPORTER,
)
def _batch():
    from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    with folder() as where:
        exporter = FileSpanExporter(Path(where, "spans.jsonl"))
        made = provider(BatchSpanProcessor(exporter, max_queue_size=1_000_000))
        spans = span_with(made.get_tracer("bench"))

        def run(times):
            spans(times)
            made.force_flush()

        yield run
        made.shutdown()


def _logfire(**settings):
    import logfire

    return logfire.configure(
        local=True,
        send_to_logfire=False,
        console=False,
        metrics=False,
        inspect_arguments=False,
        **settings,
    )


def logfire_spans(instance):
    def run(times):
        for _ in repeat(None, times):
            with instance.span("step", **ATTRIBUTES) as span:
                span.add_event("read", {"line": 3})

    return run


@SPAN.peer("logfire, local, no exporter", env="logfire", package="logfire")
def _logfire_local():
    yield logfire_spans(_logfire())


@SPAN.peer(
    "logfire, simple processor, console exporter to a file",
    env="logfire",
    package="logfire",
)
def _logfire_file():
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    with folder() as where, Path(where, "spans.jsonl").open("w") as file:
        processor = SimpleSpanProcessor(ConsoleSpanExporter(out=file))
        yield logfire_spans(_logfire(additional_span_processors=[processor]))


def _growing(size):
    @GROWTH.ours("one span more", size=size)
    def _one_more():
        with folder() as where:
            spans = our_spans(new_tracer(Path(where, "spans.jsonl")))
            spans(size)
            yield spans


for _size in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
    _growing(_size)


SUITE = Suite(
    "trace",
    "Trace",
    (SPAN, GROWTH),
    (
        Target(
            "one span of four attributes and one event, against the SDK "
            "without an exporter",
            SPAN,
            OURS,
            LIMIT,
            2.2,
            1.8,
        ),
        Target(
            "the same, against the official JSON file exporter",
            SPAN,
            OURS,
            OFFICIAL,
            0.5,
        ),
    ),
)
