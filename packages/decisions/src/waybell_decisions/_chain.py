"""The structlog pipeline: a record is gathered, passed on, cleaned, stamped, encoded."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orjson import dumps
from structlog import BoundLoggerBase
from structlog.typing import Processor

from waybell_decisions._encode import MARK, encode
from waybell_decisions._redact import LINKS, Fields
from waybell_decisions._writer import Writer


_STAMP = frozenset({"v", "id", "time", "pid", "seq"})
_RESERVED = _STAMP.union(LINKS, ("fields", "outcomes"))
_LINE = MARK + b'%b","time":%b,"pid":%d,"seq":%d,%b'


class Pipeline(BoundLoggerBase):
    """A structlog logger whose fields may have any name."""

    send: Callable[..., Any] = BoundLoggerBase._proxy_to_logger  # noqa: SLF001 - structlog's door for wrapper classes


def active_span() -> Mapping[str, object] | None:
    """Return the ids of OpenTelemetry's current span, if there is one."""
    # Whoever has a span has imported it; a log does not make anyone load it.
    trace = sys.modules.get("opentelemetry.trace")
    span = trace and trace.get_current_span().get_span_context()
    if not span or not span.trace_id:
        return None
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


@dataclass(frozen=True, slots=True)
class Chain:
    """Our own processors: the first gathers a record, the last makes it a line."""

    writer: Writer
    context: Callable[[], Mapping[str, object] | None]
    now: Callable[[], float]

    def pipeline(self, processors: list[Processor]) -> Pipeline:
        """Return the logger that runs the user's processors between ours."""
        if processors:  # they may give a field the name of one of ours
            processors.append(lambda _log, _name, fields: _aside(fields, _STAMP))
        return Pipeline(self.writer, (self.gather, *processors, self.render), {})

    def gather(self, _logger: object, _name: str, event: Fields) -> Fields:
        """Merge what is around, what was bound and what was given, in this order."""
        # structlog sees our fields as one value, so that no name can collide with
        # a parameter of its own: self, event, method_name.
        fields: Fields = event["event"]
        links: Fields = {}
        if "bound" in event:
            fields = {**event["bound"], **fields}
        try:
            around = self.context()
            if around:
                rest = dict(around)
                links = {key: rest.pop(key) for key in LINKS[:2] if key in rest}
                fields = {**rest, **fields}
        except Exception as exc:  # the record matters more than its surroundings
            fields["context_error"] = exc
        if not _RESERVED.isdisjoint(fields):
            fields = _aside(fields, _RESERVED)
        if "of" in event:
            links["of"] = event["of"]
        return {**links, **fields} if links else fields

    def render(self, _logger: object, _name: str, fields: Fields) -> Any:
        """Stamp a record and encode it."""
        prefix, pid, seqs = self.writer.stamp
        seq = next(seqs)
        name = f"{prefix}{seq}"
        # Put together by hand: one dict less, and a beginning that only we write.
        body = encode(fields or {"decision": None})[1:]
        line = _LINE % (name.encode(), dumps(self.now()), pid, seq, body)
        return (line, name), {}


def _aside(fields: Fields, taken: frozenset[str]) -> Fields:
    """Return the fields with those whose names are taken moved under `fields`."""
    moved = {key: value for key, value in fields.items() if key in taken}
    if not moved:
        return fields
    kept = {key: value for key, value in fields.items() if key not in taken}
    return {**kept, "fields": {**kept.get("fields", {}), **moved}}
