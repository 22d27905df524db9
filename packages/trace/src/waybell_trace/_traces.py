"""What a file of spans amounts to: trees, agents, cost."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from waybell_trace._reader import SpanReader
from waybell_trace._record import SpanRecord, Usage, started
from waybell_trace._writer import starts_path


@dataclass(frozen=True, slots=True)
class Stats:
    """The spans of one agent (or of another group) together.

    Args:
        name: Whose they are.
        calls: How many there are.
        failed: How many of them failed.
        unfinished: How many of them never ended.
        durations: Seconds of those that ended, sorted.
        usage: What they and the spans below them used, counted once.
    """

    name: str
    calls: int
    failed: int
    unfinished: int
    durations: tuple[float, ...]
    usage: Usage

    def percentile(self, percent: float) -> float | None:
        """The duration that `percent` of the calls do not exceed (nearest rank)."""
        if not self.durations:
            return None
        return self.durations[max(0, ceil(len(self.durations) * percent / 100) - 1)]


class Traces:
    """All spans of a file, with those that never ended, as trees.

    Usage counts where it is recorded deepest: what an enclosing span repeats of the
    spans below it is left out, for tokens of each kind and cost separately.

    Args:
        spans: In any order; of two with one id the later one holds.
        foreign: Lines that were something else.
        torn: Lines that were cut short.
    """

    __slots__ = ("_below", "_used", "foreign", "roots", "spans", "torn")

    def __init__(
        self, spans: Iterable[SpanRecord], *, foreign: int = 0, torn: int = 0
    ) -> None:
        known = {_id(span): span for span in spans}
        self.spans = sorted(known.values(), key=lambda span: span.start_ns)
        self.foreign = foreign
        self.torn = torn
        self.roots: list[SpanRecord] = []
        self._below: dict[tuple[str, str], list[SpanRecord]] = defaultdict(list)
        for span in self.spans:
            parent = (span.trace_id, span.parent_id or "")
            (self._below[parent] if parent in known else self.roots).append(span)
        reached = {_id(span) for root in self.roots for span in self.walk(root)}
        for span in self.spans:
            if _id(span) not in reached:
                # Ids of foreign files may form a circle, which no root reaches.
                self.roots.append(circle := _circle(span, known))
                reached.update(_id(below) for below in self.walk(circle))
        self._used = self._once()

    @property
    def failed(self) -> list[SpanRecord]:
        """The spans that ended in an error."""
        return [span for span in self.spans if span.failed]

    @property
    def unfinished(self) -> list[SpanRecord]:
        """The spans that have started and not ended: running, or cut off by a crash."""
        return [span for span in self.spans if span.end_ns is None]

    def children(self, span: SpanRecord) -> list[SpanRecord]:
        """The spans right below `span`, in order of their start."""
        return list(self._below.get(_id(span), ()))

    def walk(self, span: SpanRecord) -> list[SpanRecord]:
        """`span` and all below it, parents first."""
        found, seen, ahead = list[SpanRecord](), set[tuple[str, str]](), [span]
        while ahead:
            here = ahead.pop()
            if _id(here) not in seen:
                seen.add(_id(here))
                found.append(here)
                ahead += reversed(self._below.get(_id(here), ()))
        return found

    def usage(self, span: SpanRecord | None = None) -> Usage:
        """What `span` and all below it used, or the whole file; counted once."""
        spans = self.spans if span is None else self.walk(span)
        return _total(self._used[_id(below)] for below in spans)

    def agents(self) -> dict[str, Stats]:
        """Calls, failures, latency, tokens and cost of each agent."""
        return self.by(lambda span: span.agent)

    def by(self, key: Callable[[SpanRecord], str | None]) -> dict[str, Stats]:
        """The same for groups of another kind, say models.

        Args:
            key: Names the group of a span; None for a span that only adds its usage to
                the group of the nearest span above it, or to "" if there is none.
        """
        calls: dict[str, list[SpanRecord]] = defaultdict(list)
        used: dict[str, list[Usage]] = defaultdict(list)
        owner: dict[tuple[str, str], str] = {}
        for span in (span for root in self.roots for span in self.walk(root)):
            name = key(span)
            if name is not None:
                calls[name].append(span)
            owner[_id(span)] = name or owner.get(
                (span.trace_id, span.parent_id or ""), ""
            )
            if any(n is not None for n in self._used[_id(span)]):
                used[owner[_id(span)]].append(self._used[_id(span)])
        return {
            name: Stats(
                name=name,
                calls=len(spans := calls[name]),
                failed=sum(span.failed for span in spans),
                unfinished=sum(span.end_ns is None for span in spans),
                durations=tuple(
                    sorted(s.seconds for s in spans if s.seconds is not None)
                ),
                usage=_total(used[name]),
            )
            for name in {**calls, **used}
        }

    def to_chrome(self, path: str | os.PathLike[str]) -> None:
        """Write a file that chrome://tracing and ui.perfetto.dev show."""
        from waybell_trace._chrome import chrome  # noqa: PLC0415 - seldom needed

        Path(path).write_bytes(chrome(self))

    def _once(self) -> dict[tuple[str, str], Usage]:
        used: dict[tuple[str, str], Usage] = {}
        below: dict[tuple[str, str], Usage] = defaultdict(Usage)
        for root in self.roots:
            for span in reversed(self.walk(root)):
                own, deeper = span.usage, below[_id(span)]
                pairs = zip(own, deeper, strict=True)
                used[_id(span)] = Usage(*(a if b is None else None for a, b in pairs))
                parent = (span.trace_id, span.parent_id or "")
                below[parent] = below[parent].plus(own).plus(deeper)
        return used


def read_traces(path: str | os.PathLike[str]) -> Traces:
    """All spans of a file, and those its side file says have started but not ended."""
    spans: list[SpanRecord] = []
    readers = [SpanReader(path)]
    if Path(starts := starts_path(path)).exists():
        readers.insert(0, SpanReader(starts, _convert=started, _mark=b'{"traceId":'))
    for reader in readers:
        with reader:
            spans += reader  # an end replaces its start
    foreign, torn = (sum(getattr(r, n) for r in readers) for n in ("foreign", "torn"))
    return Traces(spans, foreign=foreign, torn=torn)


def _id(span: SpanRecord) -> tuple[str, str]:
    return span.trace_id, span.span_id


def _circle(span: SpanRecord, known: dict[tuple[str, str], SpanRecord]) -> SpanRecord:
    climbed = set[tuple[str, str]]()
    while _id(span) not in climbed:
        climbed.add(_id(span))
        span = known[span.trace_id, span.parent_id or ""]
    return span


def _total(usages: Iterable[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        total = total.plus(usage)
    return total
