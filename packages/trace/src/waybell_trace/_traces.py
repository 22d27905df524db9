"""What a file of spans amounts to: trees, agents, cost."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from math import ceil
from pathlib import Path
from typing import TypeAlias

from waybell_trace._chrome import chrome
from waybell_trace._reader import SpanReader
from waybell_trace._record import SpanRecord, SpanUsage
from waybell_trace._writer import starts_path


Id: TypeAlias = tuple[str, str]  # of a trace, and of a span in it


@dataclass(frozen=True, slots=True)
class Stats:
    """The spans of one agent (or of another group) together."""

    name: str
    calls: int
    failed: int
    unfinished: int  # never ended
    durations: tuple[float, ...]  # seconds of those that ended, sorted
    usage: SpanUsage  # of them and the spans below them, counted once

    def percentile(self, percent: float) -> float | None:
        """The duration that `percent`, 0 to 100, of the calls do not exceed."""
        if not 0 <= percent <= 100:
            raise ValueError(f"percent must be within 0 and 100, not {percent!r}")
        if not self.durations:
            return None
        return self.durations[max(0, ceil(len(self.durations) * percent / 100) - 1)]


class Traces:
    """All spans of a file, with those that never ended, as trees.

    SpanUsage counts where it is recorded deepest: what an enclosing span repeats of the
    spans below it is left out, for tokens of each kind and cost separately.
    Of two spans with one id the later one holds. `foreign` and `torn` count the lines
    that were something else, and that were cut short.
    """

    __slots__ = ("_below", "_order", "_used", "foreign", "roots", "spans", "torn")

    def __init__(
        self, spans: Iterable[SpanRecord], *, foreign: int = 0, torn: int = 0
    ) -> None:
        known = {_id(span): span for span in spans}
        self.spans = sorted(known.values(), key=lambda span: span.start_ns)
        self.foreign, self.torn = foreign, torn
        self.roots = [span for span in self.spans if _above(span) not in known]
        self._below: dict[Id, list[SpanRecord]] = defaultdict(list)
        for span in self.spans:
            self._below[_above(span)].append(span)
        self._order = self._parents_first(known)
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
        found, seen, ahead = list[SpanRecord](), set[Id](), [span]
        while ahead:
            here = ahead.pop()
            if _id(here) not in seen:
                seen.add(_id(here))
                found.append(here)
                ahead += reversed(self._below.get(_id(here), ()))
        return found

    def usage(self, span: SpanRecord | None = None) -> SpanUsage:
        """What `span` and all below it used, or the whole file; counted once."""
        spans = self.spans if span is None else self.walk(span)
        used = (self._used[_id(each)] for each in spans)
        return reduce(SpanUsage.plus, used, SpanUsage())

    def agents(self) -> dict[str, Stats]:
        """Calls, failures, latency, tokens and cost of each agent."""
        return self.by(lambda span: span.agent)

    def by(self, key: Callable[[SpanRecord], str | None]) -> dict[str, Stats]:
        """The same for groups of another kind, say models.

        A span right inside one of its group is the same call, told by two: an agent that
        has a span of its own, in a pattern that gives it one.

        Args:
            key: Names the group of a span; None for a span that only adds its usage to
                the group of the nearest span above it, or to "" if there is none.
        """
        calls: dict[str, list[SpanRecord]] = defaultdict(list)
        used: dict[str, SpanUsage] = defaultdict(SpanUsage)
        owner: dict[Id, str] = {}
        said: dict[Id, str | None] = {}
        for span in self._order:
            name = said[_id(span)] = key(span)
            if name is not None and name != said.get(_above(span)):
                calls[name].append(span)
            mine = owner[_id(span)] = name or owner.get(_above(span), "")
            used[mine] = used[mine].plus(self._used[_id(span)])
        return {
            name: _stats(name, calls[name], usage)
            for name, usage in used.items()
            if name or usage != SpanUsage()
        }

    def to_chrome(self, path: str | os.PathLike[str]) -> None:
        """Write a file that chrome://tracing and ui.perfetto.dev show."""
        Path(path).write_bytes(chrome(self.spans))

    def _parents_first(self, known: dict[Id, SpanRecord]) -> list[SpanRecord]:
        order = [span for root in self.roots for span in self.walk(root)]
        reached = {_id(span) for span in order}
        for span in self.spans:
            if _id(span) not in reached:
                # Ids of foreign files may form a circle, which no root reaches.
                self.roots.append(circle := _circle(span, known))
                order += (found := self.walk(circle))
                reached.update(_id(below) for below in found)
        return order

    def _once(self) -> dict[Id, SpanUsage]:
        used: dict[Id, SpanUsage] = {}
        below: dict[Id, SpanUsage] = defaultdict(SpanUsage)
        for span in reversed(self._order):
            own, deeper = span.usage, below[_id(span)]
            pairs = zip(own, deeper, strict=True)
            used[_id(span)] = SpanUsage(*(a if b is None else None for a, b in pairs))
            below[_above(span)] = below[_above(span)].plus(own).plus(deeper)
        return used


def read_traces(path: str | os.PathLike[str]) -> Traces:
    """All spans of a file, and those its side file says have started but not ended."""
    beside = Path(starts_path(path))
    known = beside if beside.exists() else os.devnull
    with SpanReader(path) as ends, SpanReader(known) as starts:
        spans = [*starts, *ends]  # in this order an end replaces its start
    torn = starts.torn + ends.torn
    return Traces(spans, foreign=starts.foreign + ends.foreign, torn=torn)


def _id(span: SpanRecord) -> Id:
    return span.trace_id, span.span_id


def _above(span: SpanRecord) -> Id:
    return span.trace_id, span.parent_id or ""


def _circle(span: SpanRecord, known: dict[Id, SpanRecord]) -> SpanRecord:
    climbed = set[Id]()
    while _id(span) not in climbed:
        climbed.add(_id(span))
        span = known[_above(span)]
    return span


def _stats(name: str, calls: list[SpanRecord], usage: SpanUsage) -> Stats:
    failed = sum(span.failed for span in calls)
    unfinished = sum(span.end_ns is None for span in calls)
    durations = sorted(span.seconds for span in calls if span.seconds is not None)
    return Stats(name, len(calls), failed, unfinished, tuple(durations), usage)
