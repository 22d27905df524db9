"""Spans as Chrome trace events.

See https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
"""

from typing import TYPE_CHECKING, Any, Final

import orjson

from waybell_trace._record import SpanRecord
from waybell_trace._values import text


if TYPE_CHECKING:
    from waybell_trace._traces import Traces

_MICRO: Final = 1000


def chrome(traces: "Traces") -> bytes:
    """A JSON array of events: each trace is a process, each lane of it a thread."""
    events: list[dict[str, Any]] = []
    processes: dict[str, int] = {}
    lanes: dict[int, list[list[SpanRecord]]] = {}
    for span in sorted(traces.spans, key=lambda s: (s.start_ns, -(s.end_ns or 2**63))):
        process = processes.setdefault(span.trace_id, len(processes) + 1)
        if process not in lanes:
            lanes[process] = []
            about = {"name": "process_name", "ph": "M", "pid": process}
            events.append(
                about | {"args": {"name": f"{span.name} {span.trace_id[:8]}"}}
            )
        events += _events(span, process, _lane(span, lanes[process]))
    return orjson.dumps(events, default=text, option=orjson.OPT_NON_STR_KEYS)


def _lane(span: SpanRecord, lanes: list[list[SpanRecord]]) -> int:
    """The first lane where `span` lies inside its parent or beside everything."""
    for number, open_spans in enumerate(lanes):
        while open_spans and (open_spans[-1].end_ns or 2**63) <= span.start_ns:
            open_spans.pop()
        around = open_spans[-1] if open_spans else None
        if around is None or (
            around.span_id == span.parent_id
            and (span.end_ns or 2**63) <= (around.end_ns or 2**63)
        ):
            open_spans.append(span)
            return number
    lanes.append([span])
    return len(lanes) - 1


def _events(span: SpanRecord, process: int, lane: int) -> list[dict[str, Any]]:
    place = {"pid": process, "tid": lane, "cat": "failed" if span.failed else "span"}
    shown = place | {
        "name": span.name,
        "ts": span.start_ns / _MICRO,
        "args": span.attributes,
    }
    if span.seconds is None:
        shown["ph"] = "B"  # begun, never ended
    else:
        shown |= {"ph": "X", "dur": span.seconds * 1e6}
    return [shown] + [
        place
        | {"name": name, "ph": "i", "s": "t", "ts": ns / _MICRO, "args": attributes}
        for ns, name, attributes in span.events
    ]
