"""Spans in the Chrome trace event format: a JSON array of objects with a phase."""

from typing import Any

import orjson

from waybell_trace._record import SpanRecord
from waybell_trace._values import text


def chrome(spans: list[SpanRecord]) -> bytes:
    """A JSON array of events: each trace is a process, each lane of it a thread."""
    events: list[dict[str, Any]] = []
    processes: dict[str, int] = {}
    lanes: dict[int, list[list[SpanRecord]]] = {}
    for span in sorted(spans, key=lambda s: (s.start_ns, -(s.end_ns or 2**63))):
        process = processes.setdefault(span.trace_id, len(processes) + 1)
        if process not in lanes:
            lanes[process] = []
            args = {"name": f"{span.name} {span.trace_id[:8]}"}
            events.append(
                {"name": "process_name", "ph": "M", "pid": process, "args": args}
            )
        events += _events(span, process, _lane(span, lanes[process]))
    return orjson.dumps(events, default=text, option=orjson.OPT_NON_STR_KEYS)


def _lane(span: SpanRecord, lanes: list[list[SpanRecord]]) -> int:
    """The first lane where `span` lies inside its parent or beside everything."""
    for number, open_spans in enumerate(lanes):
        while open_spans and (open_spans[-1].end_ns or 2**63) <= span.start_ns:
            open_spans.pop()
        if not open_spans or _inside(span, open_spans[-1]):
            open_spans.append(span)
            return number
    lanes.append([span])
    return len(lanes) - 1


def _inside(span: SpanRecord, parent: SpanRecord) -> bool:
    ends = (span.end_ns or 2**63) <= (parent.end_ns or 2**63)
    return ends and parent.span_id == span.parent_id


def _events(span: SpanRecord, process: int, lane: int) -> list[dict[str, Any]]:
    place = {"pid": process, "tid": lane, "cat": "failed" if span.failed else "span"}
    # An "X" is a whole span; a "B" one that has begun.
    about = (
        {"ph": "B"} if span.seconds is None else {"ph": "X", "dur": span.seconds * 1e6}
    )
    about |= {"name": span.name, "ts": span.start_ns / 1000, "args": span.attributes}
    return [place | about] + [
        place | {"name": name, "ph": "i", "s": "t", "ts": ns / 1000, "args": attributes}
        for ns, name, attributes in span.events
    ]
