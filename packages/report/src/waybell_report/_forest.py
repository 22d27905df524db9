"""Spans as trees, without recursion: thousands of levels and circles are met in files."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from waybell_report._node import CIRCLE, CRITICAL, ORPHAN, SKEWED, TIMELESS, Node
from waybell_trace import SpanUsage


class Forest:
    """The trees of a run, each span below its parent, in order of start.

    `nodes` has parents first. Of two spans with one id the later one holds; `twice`
    counts the others. `first` and `last` are the moments the run spans.

    Args:
        spans: The spans.
        moments: Other times that the run spans, in nanoseconds since 1970.
    """

    __slots__ = ("first", "known", "last", "nodes", "roots", "twice")

    def __init__(self, spans: Iterable[Node], moments: Iterable[int] = ()) -> None:
        each = list(spans)
        self.known = {node.key: node for node in each}
        self.twice = len(each) - len(self.known)
        starts = [node.start for node in self.known.values() if node.start]
        times = [*starts, *(time for time in moments if time)]
        ends = [node.end for node in self.known.values() if node.end is not None]
        self.first = min(times, default=min(ends, default=0))
        self.last = max(*times, *ends, self.first, 0)
        self.roots = self._planted()
        self.nodes = self._ordered()
        self._critical()

    def _planted(self) -> list[Node]:
        roots = [node for node in self.known.values() if self._is_root(node)]
        reached = {node.key for root in roots for node in _walk(root)}
        for node in self.known.values():
            if node.key not in reached:
                circle = self._cut(node)
                roots.append(circle)
                reached.update(below.key for below in _walk(circle))
        return sorted(roots, key=_start)

    def _is_root(self, node: Node) -> bool:
        """Whether `node` has no parent; else it is put below it."""
        above = self.known.get(node.parent) if node.parent else None
        if above is None:
            node.flags |= ORPHAN * (node.parent is not None)
            return True
        above.below.append(node)
        return False

    def _cut(self, node: Node) -> Node:
        """Open the circle of parents above `node`; its root from now on is returned."""
        climbed: set[tuple[str, str]] = set()
        while node.key not in climbed:
            climbed.add(node.key)
            node = self.known[node.parent or node.key]
        self.known[node.parent or node.key].below.remove(node)
        node.flags |= CIRCLE
        return node

    def _ordered(self) -> list[Node]:
        order: list[Node] = []
        ahead = [(root, 0, self.first) for root in reversed(self.roots)]
        while ahead:
            node, depth, above = ahead.pop()
            node.depth = depth
            if node.flags & TIMELESS:
                node.start = above
            node.below.sort(key=_start)
            over = node.over(self.last)
            for child in reversed(node.below):
                early = 0 < child.start < node.start
                child.flags |= SKEWED * (early or child.over(self.last) > over)
                ahead.append((child, depth + 1, node.start))
            order.append(node)
        return order

    def _critical(self) -> None:
        """Flag what the end of each tree waited for, from its end backwards."""
        ahead = [(root, root.over(self.last)) for root in self.roots]
        while ahead:
            node, until = ahead.pop()
            node.flags |= CRITICAL
            now = until
            for child in sorted(node.below, key=self._end, reverse=True):
                ended = min(child.over(self.last), until)
                if now <= node.start:
                    break
                # One that ended after the next began has not held that up.
                if child.start < ended <= now:
                    ahead.append((child, ended))
                    now = max(child.start, node.start)

    def _end(self, node: Node) -> int:
        return node.over(self.last)


def used(nodes: list[Node]) -> dict[tuple[str, str], SpanUsage]:
    """What each span used beyond what the spans below it say: each thing counted once.

    Args:
        nodes: Spans, parents first.
    """
    once: dict[tuple[str, str], SpanUsage] = {}
    below: dict[tuple[str, str] | None, SpanUsage] = defaultdict(SpanUsage)
    for node in reversed(nodes):
        deeper = below[node.key]
        pairs = zip(node.usage, deeper, strict=True)
        once[node.key] = SpanUsage(*(a if b is None else None for a, b in pairs))
        above = None if node.flags & CIRCLE else node.parent
        below[above] = below[above].plus(node.usage).plus(deeper)
    return once


def _walk(root: Node) -> Iterator[Node]:
    ahead = [root]
    while ahead:
        node = ahead.pop()
        yield node
        ahead += node.below


def _start(node: Node) -> int:
    return node.start
