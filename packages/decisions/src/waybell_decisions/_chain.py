"""The structlog pipeline: a record is gathered, passed on, cleaned, stamped, encoded."""

import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Self

from orjson import dumps
from structlog import BoundLoggerBase
from structlog.typing import Processor

from waybell_decisions._encode import MARK, encode
from waybell_decisions._redact import Redactor
from waybell_decisions._writer import Writer


_STAMP = frozenset({"v", "id", "time", "pid", "seq"})
_SPAN = ("trace_id", "span_id")
_LINKS = (*_SPAN, "of")
_RESERVED = _STAMP.union(_LINKS, ("fields", "outcomes"))
_LINE = MARK + b'%b","time":%b,"pid":%d,"seq":%d,%b'
_EMPTY = {"decision": None}
Fields = MutableMapping[str, Any]


class Pipeline(BoundLoggerBase):
    """A structlog logger whose fields may have any name."""

    send: Callable[..., Any] = BoundLoggerBase._proxy_to_logger  # noqa: SLF001 - structlog's door for wrapper classes

    def bound(self, fields: dict[str, object]) -> Self:
        """Return a logger with these fields too."""
        return self.bind(bound={**self._context.get("bound", {}), **fields})


def active_span() -> Mapping[str, object] | None:
    """Return the ids of OpenTelemetry's current span, if there is one."""
    # Whoever has a span has imported it; a log does not make anyone load it.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not span.trace_id:
        return None
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


@dataclass(frozen=True, slots=True)
class Chain:
    """Our own processors: gather a record, clean it if need be, make it a line."""

    writer: Writer
    context: Callable[[], Mapping[str, object] | None]
    redactor: Redactor | None
    now: Callable[[], float]

    def pipeline(self, processors: Iterable[Processor]) -> Pipeline:
        """Return the logger that runs the user's processors between ours."""
        steps: list[Processor] = [self.gather, *processors]
        if len(steps) > 1:
            steps.append(lambda _logger, _name, fields: _aside(fields, _STAMP))
        if self.redactor is not None:
            steps.append(self.clean)
        return Pipeline(self.writer, (*steps, self.render), {})

    def gather(self, _logger: object, _name: str, event: Fields) -> Fields:
        """Merge what is around, what was bound and what was given, in this order."""
        # structlog sees our fields as one value, so that no name can collide with
        # a parameter of its own: self, event, method_name.
        fields: Fields = event["event"]
        links: dict[str, Any] = {}
        if "bound" in event:
            fields = {**event["bound"], **fields}
        try:
            around = self.context()
            if around:
                rest = dict(around)
                links = {key: rest.pop(key) for key in _SPAN if key in rest}
                fields = {**rest, **fields}
        except Exception as exc:  # the record matters more than its surroundings
            fields["context_error"] = exc
        if "of" in event:
            links["of"] = event["of"]
        if not _RESERVED.isdisjoint(fields):
            fields = _aside(fields, _RESERVED)
        return {**links, **fields} if links else fields

    def clean(self, _logger: object, _name: str, fields: Fields) -> Fields:
        """Redact all but what links the record to others."""
        assert self.redactor is not None
        links = {key: fields.pop(key) for key in _LINKS if key in fields}
        return {**links, **self.redactor(fields)}

    def render(
        self, _logger: object, _name: str, fields: Fields
    ) -> tuple[tuple[bytes, str], dict[str, object]]:
        """Stamp a record and encode it."""
        prefix, pid, seqs = self.writer.stamp
        seq = next(seqs)
        name = f"{prefix}{seq}"
        # Put together by hand: one dict less, and a beginning that only we write.
        body = encode(fields or _EMPTY)[1:]
        line = _LINE % (name.encode(), dumps(self.now()), pid, seq, body)
        return (line, name), {}


def _aside(fields: Fields, taken: frozenset[str]) -> Fields:
    """Return the fields with those whose names are taken moved under `fields`."""
    if taken.isdisjoint(fields):
        return fields
    kept = {key: value for key, value in fields.items() if key not in taken}
    moved = {key: value for key, value in fields.items() if key in taken}
    return {**kept, "fields": {**kept.get("fields", {}), **moved}}
