"""Sums over spans of any number, in memory that grows with what runs at one moment."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil, exp, log
from typing import Final

from waybell_report._facets import KINDS, agent_of, kind_of, model_of, tool_of, usage_of
from waybell_trace import SpanRecord, SpanUsage


Key = tuple[str, str]  # of a trace, and of a span in it
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

    def count(self, span: SpanRecord) -> None:
        """Count one call."""
        self.calls += 1
        self.failed += span.failed
        self.unfinished += span.end_ns is None
        if (seconds := span.seconds) is not None:
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

    name: str | None
    above: Key | None
    counted: SpanUsage  # its own, where nothing below it said so


class Tally:
    """Groups of spans, with usage that is counted once, where it is recorded deepest.

    A span is written when it ends, so after those below it: what they used waits for it.
    Of one that comes later than its parent, what that one has told already is left out.

    Args:
        key: Names the group of a span; None for a span that only adds its usage to the
            group of the nearest span above it.
        recall: How many spans are remembered for those that come late.
    """

    __slots__ = ("_key", "_recall", "_seen", "_waiting", "groups")

    def __init__(
        self, key: Callable[[SpanRecord], str | None], recall: int = 50_000
    ) -> None:
        self._key, self._recall = key, recall
        self.groups: dict[str, Sums] = {}
        # By the parent that is awaited: what is in no group yet, and what is known below.
        self._waiting: dict[Key, tuple[SpanUsage, SpanUsage]] = {}
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()

    def add(self, span: SpanRecord) -> None:
        """Count a span."""
        mine = span.trace_id, span.span_id
        above = (span.trace_id, span.parent_id) if span.parent_id else None
        loose, below = self._waiting.pop(mine, (SpanUsage(), SpanUsage()))
        own = usage_of(span)
        counted = SpanUsage(*map(_unless, own, below))
        loose, known = loose.plus(counted), SpanUsage(*map(_either, own, below))
        name = self._key(span)
        if name is not None:
            self._of(name).count(span)
        owner, place, loose = self._climb(name, above, loose)
        self._seen[mine] = _Seen(name, above, counted)
        if len(self._seen) > self._recall:
            self._seen.popitem(last=False)
        if owner is not None or place is None:
            self._book(owner or "", loose)
            loose = SpanUsage()
        if place is not None:
            before = self._waiting.get(place, (SpanUsage(), SpanUsage()))
            self._waiting[place] = before[0].plus(loose), before[1].plus(known)

    def _climb(
        self, owner: str | None, place: Key | None, loose: SpanUsage
    ) -> tuple[str | None, Key | None, SpanUsage]:
        """Go past the parents that came before their child, and leave out what they told."""
        for _ in range(1_000):  # ids of foreign files may form a circle
            seen = self._seen.get(place) if place else None
            if seen is None:
                break
            owner = seen.name if owner is None else owner
            loose = SpanUsage(*map(_unless, loose, seen.counted))
            place = seen.above
        return owner, place, loose

    def _of(self, name: str) -> Sums:
        return self.groups.setdefault(name, Sums())

    def _book(self, name: str, usage: SpanUsage) -> None:
        if usage != SpanUsage():
            sums = self._of(name)
            sums.usage = sums.usage.plus(usage)

    def finish(self) -> dict[str, Sums]:
        """The groups, those that failed first, then what took longest; "" has no group."""
        for loose, _ in self._waiting.values():
            self._book("", loose)
        self._waiting.clear()
        order = sorted(
            self.groups.items(),
            key=lambda item: (-item[1].failed, -item[1].latencies.total, item[0]),
        )
        return dict(order)


def _unless(own: int | None, below: int | None) -> int | None:
    return own if below is None else None


def _either(own: int | None, below: int | None) -> int | None:
    return own if below is None else below


def tallies(spans: Iterable[SpanRecord]) -> tuple[dict[str, Tally], Sums]:
    """The tallies of agents, topics, models and tools, and of everything together."""
    kinds = {
        "agents": Tally(agent_named),
        "topics": Tally(topic_named),
        "models": Tally(model_named),
        "tools": Tally(tool_named),
    }
    whole = Tally(lambda _span: None)
    every = Sums()
    for span in spans:
        every.count(span)
        whole.add(span)
        for tally in kinds.values():
            tally.add(span)
    every.usage = whole.finish().get("", Sums()).usage
    return kinds, every
