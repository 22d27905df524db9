"""Spans in the Chrome trace event format: a JSON array of objects with a phase."""

from typing import Any

import orjson

from waybell_trace._otlp import dumps
from waybell_trace._record import SpanRecord
from waybell_trace._values import text


def chrome(spans: list[SpanRecord]) -> bytes:
    """A JSON array of events: each trace is a process, each lane of it a thread."""
    events: list[dict[str, Any]] = []
    processes: dict[str, int] = {}
    lanes: dict[int, list[list[SpanRecord]]] = {}
    for span in sorted(spans, key=lambda s: (s.start_ns, -_end(s))):
        pid = processes.setdefault(span.trace_id, len(processes) + 1)
        if pid not in lanes:
            lanes[pid] = []
            args = {"name": f"{span.name} {span.trace_id[:8]}"}
            events.append({"name": "process_name", "ph": "M", "pid": pid, "args": args})
        events += _events(span, pid, _lane(span, lanes[pid]))
    return orjson.dumps(events)


def _lane(span: SpanRecord, lanes: list[list[SpanRecord]]) -> int:
    """The first lane where `span` lies inside its parent or beside everything."""
    for number, lane in enumerate(lanes):
        while lane and _end(lane[-1]) <= span.start_ns:
            lane.pop()
        inside = not lane or _end(span) <= _end(lane[-1])
        if inside and (not lane or lane[-1].span_id == span.parent_id):
            lane.append(span)
            return number
    lanes.append([span])
    return len(lanes) - 1


def _end(span: SpanRecord) -> int:
    return span.end_ns or 2**63


def _events(span: SpanRecord, process: int, lane: int) -> list[dict[str, Any]]:
    place = {"pid": process, "tid": lane, "cat": "failed" if span.failed else "span"}
    # An "X" is a whole span; a "B" one that has begun; an "i" a moment in its thread.
    lasts = {"ph": "B"} if (s := span.seconds) is None else {"ph": "X", "dur": s * 1e6}
    shown = [(span.start_ns, span.name, span.attributes, lasts)]
    shown += [(*event, {"ph": "i", "s": "t"}) for event in span.events]
    return [
        {"name": name, "ts": ns / 1000, "args": _args(attributes)} | place | about
        for ns, name, attributes, about in shown
    ]


def _args(attributes: dict[str, Any]) -> orjson.Fragment:
    try:
        shown = orjson.dumps(attributes, default=text, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers beyond 64 bits, deep nesting
        shown = dumps({text(key): text(value) for key, value in attributes.items()})
    return orjson.Fragment(shown)
