"""Sums over spans of any number, in memory that grows with what runs at one moment."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from math import ceil, exp, log
from typing import Any, Final

from waybell_report._facets import KINDS, agent_of, kind_of, model_of, tool_of, usage_of
from waybell_trace import SpanRecord, SpanUsage


Names = list[str | None]  # by kind of group
Key = tuple[str, str]  # of a trace, and of a span in it
Namer = Callable[[SpanRecord], str | None]
Call = tuple[bool, bool, float | None]  # failed, never ended, seconds
_NONE: Final = SpanUsage()
_CALLS: Final = 1_000  # right below one span, that wait to be counted
_EXACT: Final = 4_096  # durations of a group that are kept as they are
_STEP: Final = log(1.01)  # beyond that, to within a hundredth
_AGENT, _MODEL, _TOOL, _TOPIC = map(KINDS.index, ("agent", "model", "tool", "topic"))


class Latencies:
    """Durations in seconds: exact while they are few, then within half a hundredth."""

    __slots__ = ("_buckets", "_few", "count", "total")

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self._few: list[float] = []
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.total += seconds
        self._few.append(seconds)
        if self._buckets or len(self._few) > _EXACT:
            for each in self._few:
                place = ceil(log(each) / _STEP) if each > 0 else -(10**6)
                self._buckets[place] = self._buckets.get(place, 0) + 1
            self._few.clear()

    def percentile(self, percent: float) -> float | None:
        """The duration that `percent` of 100 do not exceed; None of nothing."""
        rank = max(0, ceil(self.count * percent / 100) - 1)
        if not self._buckets:
            return sorted(self._few)[rank] if self._few else None
        for place, count in sorted(self._buckets.items()):
            rank -= count
            if rank < 0:
                return exp((place - 0.5) * _STEP) if place > -(10**6) else 0.0
        return None


@dataclass(slots=True)
class Sums:
    """The spans of one agent, model or tool together."""

    calls: int = 0
    failed: int = 0
    unfinished: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    usage: SpanUsage = field(default_factory=SpanUsage)

    def count(self, call: Call) -> None:
        """Count one call."""
        failed, unfinished, seconds = call
        self.calls += 1
        self.failed += failed
        self.unfinished += unfinished
        if seconds is not None:
            self.latencies.add(seconds)


def agent_named(span: SpanRecord) -> str | None:
    """Names the agent of an agent's span."""
    return agent_of(span) if kind_of(span) not in (_TOOL, _MODEL, _TOPIC) else None


def topic_named(span: SpanRecord) -> str | None:
    """Names the topic of a delivery."""
    return span.name if kind_of(span) == _TOPIC else None


def model_named(span: SpanRecord) -> str | None:
    """Names the model of a model call."""
    if (kind := kind_of(span)) == _MODEL:
        return model_of(span) or span.name
    return model_of(span) if kind != _AGENT and any(usage_of(span)) else None


def tool_named(span: SpanRecord) -> str | None:
    """Names the tool of a tool call."""
    return tool_of(span) or (span.name if kind_of(span) == _TOOL else None)


@dataclass(slots=True)
class _Seen:
    """A span that was counted, for those below it that come late."""

    names: Names
    above: Key | None
    counted: SpanUsage  # its own, where nothing below it said so


@dataclass(slots=True)
class _Below:
    """What came of the spans below one that is yet to come."""

    loose: list[SpanUsage]  # by kind of group: what is in none of it yet
    known: SpanUsage  # what is known at all
    calls: list[tuple[Names, "Call"]] = field(default_factory=list[Any])


class Tally:
    """Groups of spans, with usage that is counted once, where it is recorded deepest.

    A span is written when it ends, so after those below it: what they used waits for it.
    Of one that comes later than its parent, what that one has told already is left out.
    A span right inside one of its group is the same call, told by two.

    Args:
        keys: By kind of group, what names the group of a span; None for a span that only
            adds its usage to the group of the nearest span above it.
        recall: How many spans are remembered for those that come late.
    """

    __slots__ = ("_groups", "_keys", "_recall", "_seen", "_waiting", "every")

    def __init__(self, keys: Mapping[str, Namer], recall: int = 50_000) -> None:
        self._keys, self._recall = keys, recall
        self._groups: list[dict[str, Sums]] = [{} for _ in keys]
        self._waiting: dict[Key, _Below] = {}
        self._seen: OrderedDict[Key | None, _Seen] = OrderedDict()
        self.every = Sums()

    def add(self, span: SpanRecord) -> None:
        """Count a span."""
        mine = span.trace_id, span.span_id
        above = (span.trace_id, span.parent_id) if span.parent_id else None
        counted = known = usage_of(span)
        loose = [counted] * len(self._keys)
        if (below := self._waiting.pop(mine, None)) is not None:
            known = SpanUsage(*map(_either, counted, below.known))
            counted = SpanUsage(*map(_unless, counted, below.known))
            loose = [_plus(counted, each) for each in below.loose]
        names = self._named(span, above, below)
        if known != _NONE or loose.count(_NONE) != len(loose):
            place = self._settle(names, above, loose)
            if place is not None:
                waits = self._waits(place)
                waits.loose = list(map(_plus, waits.loose, loose))
                waits.known = _plus(waits.known, known)
        self._seen[mine] = _Seen(names, above, counted)
        if len(self._seen) > self._recall:
            self._seen.popitem(last=False)

    def _named(self, span: SpanRecord, over: Key | None, below: _Below | None) -> Names:
        """Name a span's groups; count it, or have it wait for what it is right in."""
        names = [key(span) for key in self._keys.values()]
        for inner, call in below.calls if below else ():
            self._count(inner, call, names)
        call = span.failed, span.end_ns is None, span.seconds
        self.every.count(call)
        seen = self._seen.get(over)
        outer = seen.names if seen else None
        if over and not seen and len((waits := self._waits(over)).calls) < _CALLS:
            waits.calls.append((names, call))
        else:
            self._count(names, call, outer)
        return names

    def _waits(self, place: Key) -> _Below:
        none = [_NONE] * len(self._keys)
        return self._waiting.setdefault(place, _Below(none, _NONE))

    def _count(self, names: Names, call: Call, outer: Names | None = None) -> None:
        for name, above, groups in zip_longest(names, outer or (), self._groups):
            if name is not None and name != above:
                _of(groups, name).count(call)

    def _settle(
        self, names: list[str | None], place: Key | None, loose: list[SpanUsage]
    ) -> Key | None:
        """Book what has found its group; returns which span the rest waits for.

        Goes past the parents that came before their child, and leaves out what they told.
        """
        owners, place = self._climbed(names, place, loose)
        for kind, owner in enumerate(owners):
            if loose[kind] != _NONE and (owner is not None or place is None):
                sums = _of(self._groups[kind], owner or "")
                sums.usage = _plus(sums.usage, loose[kind])
                loose[kind] = _NONE
        return place

    def _climbed(
        self, names: list[str | None], place: Key | None, loose: list[SpanUsage]
    ) -> tuple[list[str | None], Key | None]:
        owners = names[:]
        for _ in range(1_000):  # ids of foreign files may form a circle
            seen = self._seen.get(place) if place else None
            if seen is None:
                break
            owners = list(map(_either, seen.names, owners))
            loose[:] = [SpanUsage(*map(_unless, each, seen.counted)) for each in loose]
            place = seen.above
        return owners, place

    def finish(self) -> dict[str, dict[str, Sums]]:
        """The groups by kind: those that failed first, then what took longest.

        What is in no group is in "".
        """
        for below in self._waiting.values():
            for names, call in below.calls:
                self._count(names, call)
            for groups, loose in zip(self._groups, below.loose, strict=True):
                if loose != _NONE:
                    sums = _of(groups, "")
                    sums.usage = _plus(sums.usage, loose)
        self._waiting.clear()
        return {
            kind: dict(sorted(groups.items(), key=_first))
            for kind, groups in zip(self._keys, self._groups, strict=True)
        }


def _of(groups: dict[str, Sums], name: str) -> Sums:
    sums = groups.get(name)
    if sums is None:
        sums = groups[name] = Sums()
    return sums


def _first(group: tuple[str, Sums]) -> tuple[int, float, str]:
    name, sums = group
    return -sums.failed, -sums.latencies.total, name


def _plus(one: SpanUsage, other: SpanUsage) -> SpanUsage:
    if other == _NONE:
        return one
    return other if one == _NONE else one.plus(other)


def _unless(own: int | None, below: int | None) -> int | None:
    return own if below is None else None


def _either(own: Any, below: Any) -> Any:
    return own if below is None else below


def tallies(spans: Iterable[SpanRecord]) -> tuple[dict[str, dict[str, Sums]], Sums]:
    """The groups of agents, topics, models and tools, and everything together."""
    tally = Tally({
        "agents": agent_named, "topics": topic_named, "models": model_named,
        "tools": tool_named, "": lambda _: None,
    })  # fmt: skip
    for span in spans:
        tally.add(span)
    groups = tally.finish()
    tally.every.usage = groups.pop("").get("", Sums()).usage
    return groups, tally.every
