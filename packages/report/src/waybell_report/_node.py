"""One span or decision as the page holds it."""

import re
from dataclasses import dataclass, field
from typing import Any, Final, cast

from waybell_report._details import BRIEF, Details
from waybell_report._facets import agent_of, kind_of, model_of, tool_of, usage_of
from waybell_trace import SpanRecord, SpanUsage


FAILED, UNFINISHED, ORPHAN, CIRCLE, SKEWED, TIMELESS, CRITICAL, INCOMPLETE = (
    1 << bit for bit in range(8)
)
_LAST: Final = 2**63 - 1  # nanoseconds since 1970
_MARKS = 64  # events of one span that the waterfall marks
# How a wall cancels what runs inside it.
_LATE = re.compile(r"(?:\w+\.)*CancelledError: <Deadline (\S+ s), \S+ s left> passed")


@dataclass(slots=True, eq=False)
class Node:
    """A span, reduced to what the page needs; its details are JSON already."""

    key: tuple[str, str]  # trace and span id
    parent: tuple[str, str] | None
    name: str
    start: int
    end: int | None
    flags: int
    kind: int
    agent: str | None
    model: str | None
    tool: str | None
    usage: SpanUsage
    error: str
    marks: tuple[int, ...]  # offsets of its events from its start
    detail: bytes
    run: str  # the journaled run it is the span of, the same when that goes on; or ""
    depth: int = 0
    below: list["Node"] = field(default_factory=list["Node"])

    @property
    def failed(self) -> bool:
        """It ended in an error."""
        return bool(self.flags & FAILED)

    def over(self, last: int) -> int:
        """When it ended, or the run's `last` moment if it never did."""
        return last if self.end is None else max(self.end, self.start)


@dataclass(slots=True, eq=False)
class Decision:
    """A record of the decision log; its details are JSON already."""

    id: str
    of: str | None
    key: tuple[str, str]  # trace and span id, "" if it has none
    name: str
    agent: str | None
    time: int
    detail: bytes
    lack: str  # what it was incomplete for, or ""


def node(span: SpanRecord, details: Details) -> Node:
    """`span` as the page holds it."""
    start, end = _moment(span.start_ns), span.end_ns
    events = [(_moment(t) - start, name, found) for t, name, found in span.events]
    unfinished, error = end is None, _error(span)
    bad = span.failed or unfinished
    flags = FAILED * span.failed | UNFINISHED * unfinished | TIMELESS * (not start)
    return Node(
        key=(span.trace_id, span.span_id),
        parent=(span.trace_id, span.parent_id) if span.parent_id else None,
        name=str(span.name)[:200],
        start=start,
        end=None if end is None else _moment(end),
        flags=flags,
        kind=kind_of(span),
        agent=agent_of(span),
        model=model_of(span),
        tool=tool_of(span),
        usage=usage_of(span),
        error=details.error(error),
        marks=tuple(t for t, name, _ in events[:_MARKS] if name != "exception"),
        detail=details.packed(_said(span, events, error), failed=bad),
        run=str(span.attributes.get("run.id") or ""),
    )


def _said(span: SpanRecord, events: list[Any], error: str) -> dict[str, Any]:
    """What is shown of a span on demand; in files of others any field may be anything."""
    name = str(span.name)
    about = [(str(k)[:200], str(v)[:200]) for k, v in span.resource.items()]
    own = (pair for pair in about if not pair[0].startswith("telemetry."))
    return {
        "a": span.attributes,
        "e": events,
        "l": [[str(part)[:64] for part in link] for link in span.links[:100]],
        "n": name if len(name) > 200 else "",
        "s": error if len(error) > BRIEF else "",
        "r": sorted(own)[:50],
    }


def decision(record: dict[str, Any], details: Details) -> Decision:
    """A record of the decision log as the page holds it."""
    fields = {k: v for k, v in record.items() if k not in _OWN}
    time, of = record.get("time"), record.get("of")
    seconds = time if isinstance(time, int | float) else 0
    trace, span = (str(record.get(k) or "").lower() for k in ("trace_id", "span_id"))
    agent = record.get("agent")
    failed = record.get("outcome") in ("error", "failed")
    return Decision(
        id=str(record["id"]),
        of=str(of) if of else None,
        key=(trace, span),
        name=str(record.get("decision", ""))[:200],
        agent=agent[:200] if isinstance(agent, str) else None,
        time=_moment(round(min(max(seconds, 0), 2**33) * 1e9)),
        detail=details.packed({"a": fields}, failed=failed),
        lack=lack_of(record),
    )


def lack_of(record: dict[str, Any]) -> str:
    """What a record says is missing; "" where it tells of nothing incomplete."""
    if record.get("outcome") != "incomplete":
        return ""
    why: Any = record.get("error")
    told: dict[str, Any] = {"type": why, **record}  # as older files have it
    if isinstance(why, dict):
        told = cast("dict[str, Any]", why)
    parts = (str(told.get(name) or "") for name in ("type", "message"))
    return ": ".join(filter(None, parts))[:1000] or "incomplete, and says not why"


_OWN: Final = {"v", "time", "seq", "trace_id", "span_id", "decision"}


def caused(error: str) -> str:
    """An error, or the passed deadline if it is the cancellation that this caused."""
    return _LATE.sub(r"waybell_deadline.DeadlineExceeded: deadline of \1 passed", error)


def _moment(ns: int) -> int:
    return min(max(ns, 0), _LAST)


def _error(span: SpanRecord) -> str:
    if not span.failed:
        return ""
    if span.error:
        return caused(str(span.error))
    for _, name, found in reversed(span.events):
        if name == "exception":
            kind, text = (found.get(f"exception.{k}") for k in ("type", "message"))
            return ": ".join(str(part) for part in (kind, text) if part)
    return str(span.attributes.get("error.type") or "failed, and says not why")
