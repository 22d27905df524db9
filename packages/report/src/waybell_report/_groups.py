"""Calls, failures, latency, tokens and cost by agent, model and tool; who called whom."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from waybell_report._facets import KINDS
from waybell_report._forest import Forest, used
from waybell_report._node import UNFINISHED, Node
from waybell_trace import SpanUsage


AGENT, MODEL, TOOL, TOPIC = map(KINDS.index, ("agent", "model", "tool", "topic"))
_SHOWN: Final = 300  # groups of a kind; the rest is one
_OTHERS: Final = "(others)"


@dataclass(slots=True, eq=False)
class Group:
    """The spans of one agent, model or tool together."""

    name: str
    failed: int = 0
    unfinished: int = 0
    calls: int = 0
    times: list[int] = field(default_factory=list[int])  # nanoseconds
    usage: SpanUsage = field(default_factory=SpanUsage)

    def add(self, node: Node) -> None:
        """Count one call."""
        self.calls += 1
        self.failed += node.failed
        self.unfinished += bool(node.flags & UNFINISHED)
        if node.end is not None:
            self.times.append(node.over(0) - node.start)

    def join(self, other: "Group") -> None:
        """Count all of `other` too."""
        self.calls += other.calls
        self.failed += other.failed
        self.unfinished += other.unfinished
        self.times += other.times
        self.usage = self.usage.plus(other.usage)

    def row(self) -> list[Any]:
        """Name, calls, failed, unfinished, p50, p90, p99, longest, sum, tokens, cost."""
        times = sorted(self.times)
        ranks = (max(0, ceil(len(times) * p / 100) - 1) for p in (50, 90, 99, 100))
        spread = [times[rank] if times else None for rank in ranks]
        tokens, cost = self.usage[:2], self.usage.nano_usd
        counts = self.calls, self.failed, self.unfinished
        return [self.name, *counts, *spread, sum(times), *tokens, cost]


class Groups:
    """The groups of a run.

    Args:
        forest: The spans.
    """

    __slots__ = ("agents", "calls", "models", "owner", "tools", "usage", "used")

    def __init__(self, forest: Forest) -> None:
        self.used = used(forest.nodes)
        self.usage = SpanUsage()
        self.owner: dict[tuple[str, str], str] = {}  # the agent that each span is of
        self.calls: Counter[tuple[str, str, str, bool]] = Counter()
        self.agents: dict[str, Group] = {}
        self.models: dict[str, Group] = {}
        self.tools: dict[str, Group] = {}
        models: dict[tuple[str, str], str] = {}
        for node in forest.nodes:
            above = forest.known.get(node.parent) if node.parent else None
            above = above if node.depth else None
            self._agent(node, above)
            self._tool(node)
            called = models.get(above.key, "") if above else ""
            models[node.key] = self._model(node, called)
            self.usage = self.usage.plus(self.used[node.key])

    def _agent(self, node: Node, above: Node | None) -> None:
        caller = self.owner[above.key] if above else ""
        mine = node.agent if node.agent and _is_agent(node, above) else None
        owner = self.owner[node.key] = caller if mine is None else mine
        if mine is not None:
            _of(self.agents, mine).add(node)
            self.calls[caller, "agent", mine, node.failed] += 1
        if owner or self.used[node.key] != SpanUsage():
            group = _of(self.agents, owner)
            group.usage = group.usage.plus(self.used[node.key])

    def _tool(self, node: Node) -> None:
        name = node.tool or (node.name if node.kind == TOOL else None)
        if name:
            _of(self.tools, name).add(node)
            self.calls[self.owner[node.key], "tool", name, node.failed] += 1

    def _model(self, node: Node, called: str) -> str:
        spent = self.used[node.key]
        name = node.model or (node.name if node.kind == MODEL else called)
        if node.kind == MODEL or (node.model and spent != SpanUsage()):
            _of(self.models, name).add(node)
        if name and spent != SpanUsage():
            group = _of(self.models, name)
            group.usage = group.usage.plus(spent)
        return name

    def rows(self) -> dict[str, list[list[Any]]]:
        """The groups of each kind: those that failed first, then what took longest."""
        kinds = {"agents": self.agents, "models": self.models, "tools": self.tools}
        return {kind: [g.row() for g in _folded(of)] for kind, of in kinds.items()}

    def edges(self) -> list[list[Any]]:
        """Caller, kind and name of the called, calls, failed; in the order of first calls."""
        found: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for (caller, kind, name, failed), count in self.calls.items():
            pair = found[caller, kind, name]
            pair[0] += count
            pair[1] += count * failed
        most = sorted(found, key=lambda edge: found[edge][::-1], reverse=True)
        shown = set(most[: 4 * _SHOWN])
        return [[*edge, *found[edge]] for edge in found if edge in shown]


def _is_agent(node: Node, above: Node | None) -> bool:
    """A delivery right above or below an agent's span is that agent's."""
    if node.kind != TOPIC:  # right inside one of its name it is that one, told by two
        return not (above and above.kind != TOPIC and above.agent == node.agent)
    near = [above, *node.below] if above else node.below
    return all(other.kind != AGENT for other in near)


def _of(groups: dict[str, Group], name: str) -> Group:
    group = groups.get(name)
    if group is None:
        group = groups[name] = Group(name)
    return group


def _folded(groups: dict[str, Group]) -> Iterator[Group]:
    order = sorted(groups.values(), key=lambda g: (-g.failed, -sum(g.times), g.name))
    yield from order[:_SHOWN]
    if len(order) > _SHOWN:
        others = Group(_OTHERS)
        for group in order[_SHOWN:]:
            others.join(group)
        yield others
