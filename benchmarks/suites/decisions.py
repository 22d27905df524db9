"""The decision log: orjson and one write, other loggers, and ours."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import json
import logging
import os
import tempfile
import time
from itertools import repeat
from pathlib import Path

from benchmarks._cases import Case, Suite, Target


RECORD = Case(
    "record",
    "One record of six fields",
    note="To a local file. Durable against `kill -9`: what writes each record with "
    "its own system call before it returns.",
)
GROWTH = Case(
    "growth",
    "Cost against records written before",
    kind="growth",
    note="One record more, opening the file again, and counting by a field.",
)

LIMIT = "orjson and one `os.write`"
OURS = "waybell_decisions"
FIELDS = {
    "decision": "route",
    "agent": "router",
    "model": "small-1",
    "confidence": 0.93,
    "tokens": 812,
    "reason": "the question names a file and a line",
}


def record_with(write):
    """Call `write(**fields)` over and over, with the fields as literals."""

    def run(times):
        for _ in repeat(None, times):
            write(
                decision="route",
                agent="router",
                model="small-1",
                confidence=0.93,
                tokens=812,
                reason="the question names a file and a line",
            )

    return run


def folder():
    """A folder on the disk of the repository, not in memory."""
    return tempfile.TemporaryDirectory(prefix="decisions-")


def appending(path):
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@RECORD.limit(LIMIT, package="orjson")
def _os_write():
    import orjson

    with folder() as where:
        file = appending(Path(where, "log.jsonl"))

        def write(**fields):
            os.write(file, orjson.dumps(fields) + b"\n")

        yield record_with(write)
        os.close(file)


@RECORD.peer("orjson, buffered (not durable)", env="own")
def _buffered():
    import orjson

    with folder() as where, Path(where, "log.jsonl").open("ab") as file:

        def write(**fields):
            file.write(orjson.dumps(fields) + b"\n")

        yield record_with(write)


def new_log(path, **settings):
    from waybell_decisions import DecisionLog

    return DecisionLog(path=path, **settings)


@RECORD.ours(OURS)
def _ours():
    with folder() as where:
        yield record_with(new_log(Path(where, "log.jsonl")).record)


@RECORD.ours("waybell_decisions, inside a span")
def _ours_in_span():
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("bench")
    with folder() as where, tracer.start_as_current_span("step"):
        yield record_with(new_log(Path(where, "log.jsonl")).record)


@RECORD.peer(
    "structlog, BytesLogger and orjson, flushed", env="own", package="structlog"
)
def _structlog_bytes():
    import orjson
    import structlog

    with folder() as where, Path(where, "log.jsonl").open("ab") as file:
        log = structlog.wrap_logger(
            structlog.BytesLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            wrapper_class=structlog.BoundLogger,
            cache_logger_on_first_use=True,
        ).bind()
        yield record_with(lambda **fields: log.info("decided", **fields))


@RECORD.peer("structlog, its defaults with JSON", env="own", package="structlog")
def _structlog_default():
    import structlog

    with folder() as where, Path(where, "log.jsonl").open("a") as file:
        log = structlog.wrap_logger(
            structlog.PrintLogger(file),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.JSONRenderer(),
            ],
        )
        yield record_with(lambda **fields: log.info("decided", **fields))


def _stdlib(logging_module, path, dumps):
    """A logger of the standard library, or of picologging, one line a record."""
    handler = logging_module.FileHandler(path)
    handler.setFormatter(logging_module.Formatter("%(message)s"))
    logger = logging_module.Logger("bench", logging_module.INFO)
    logger.addHandler(handler)

    def write(**fields):
        fields["time"] = time.time()
        logger.info(dumps(fields))

    return write, handler


def orjson_text():
    import orjson

    dumps = orjson.dumps
    return lambda fields: dumps(fields).decode()


@RECORD.peer("logging FileHandler and orjson", env="own")
def _logging_orjson():
    with folder() as where:
        write, handler = _stdlib(logging, Path(where, "log.jsonl"), orjson_text())
        yield record_with(write)
        handler.close()


@RECORD.peer("logging FileHandler and json", env="own")
def _logging_json():
    with folder() as where:
        write, handler = _stdlib(logging, Path(where, "log.jsonl"), json.dumps)
        yield record_with(write)
        handler.close()


@RECORD.peer("picologging FileHandler and orjson", package="picologging")
def _picologging():
    import picologging

    with folder() as where:
        path = str(Path(where, "log.jsonl"))
        write, handler = _stdlib(picologging, path, orjson_text())
        yield record_with(write)
        handler.close()


@RECORD.peer("eliot, to a file", package="eliot")
def _eliot():
    import eliot

    with folder() as where, Path(where, "log.jsonl").open("ab") as file:
        eliot.to_file(file)

        def write(**fields):
            eliot.log_message(message_type="decided", **fields)

        yield record_with(write)


@RECORD.peer("loguru, serialised", package="loguru")
def _loguru():
    from loguru import logger

    with folder() as where:
        logger.remove()
        sink = logger.add(Path(where, "log.jsonl"), serialize=True)
        yield record_with(lambda **fields: logger.info("decided", **fields))
        logger.remove(sink)


def filled(where, size):
    """A log with so many records, written through the log itself."""
    path = Path(where, "log.jsonl")
    log = new_log(path)
    for _ in range(size):
        log.record(**FIELDS)
    return path, log


def _growing(size):
    @GROWTH.ours("one record more", size=size)
    def _one_more():
        with folder() as where:
            yield record_with(filled(where, size)[1].record)

    @GROWTH.ours("opening the file", size=size)
    def _opening():
        with folder() as where:
            path, _ = filled(where, size)

            def run(times):
                for _ in repeat(None, times):
                    new_log(path).close()

            yield run

    @GROWTH.ours("`count(by=...)` of the whole file", size=size)
    def _counting():
        with folder() as where:
            _, log = filled(where, size)

            def run(times):
                for _ in repeat(None, times):
                    log.count(by="agent")

            yield run


for _size in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
    _growing(_size)


SUITE = Suite(
    "decisions",
    "Decisions",
    (RECORD, GROWTH),
    (
        Target(
            "one record of six fields, against orjson and one `os.write`",
            RECORD,
            OURS,
            LIMIT,
            3.0,
            2.2,
        ),
        Target(
            "the same, against loguru serialised",
            RECORD,
            OURS,
            "loguru, serialised",
            0.25,
        ),
    ),
)
