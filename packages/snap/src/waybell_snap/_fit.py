"""Which recorded call a replayed one is: the one around which most agrees."""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from functools import cache
from itertools import count, islice
from typing import Any, TypeAlias, cast

from waybell_snap._tree import Lane, Node


_Index: TypeAlias = defaultdict[Hashable, deque[tuple[Any, Node]]]
_Of: TypeAlias = Callable[[Node], Any]
# What two places agree in, best first: in all, in what was given, in names of tasks, in
# nothing.
_Marks: TypeAlias = tuple[int, ...]
_START: _Marks = (0, 0, 0, 0)
_UP = 64  # places around a call in which others like it are looked for


class Fits:
    """The recorded calls, of which each is given once.

    What is around a call is walked only as far as something that both runs are known to
    have in common, and what is found there is kept: many equals cost no more than many.
    `key` is what a call is known by, `text` what a node was given.
    """

    __slots__ = ("_free", "_indices", "_key", "_text", "known")

    def __init__(self, root: Node, known: Node, key: _Of, text: _Of) -> None:
        self._key, self._text = key, cache(text)
        self.known = defaultdict[Hashable, list[Node]](list)
        for node in known.nodes():
            if node.kind in ("call", "tool"):
                self.known[key(node)].append(node)
        root.twin, known.twin = known, root
        self._free = {key: deque(nodes) for key, nodes in self.known.items()}
        self._indices: dict[Hashable, _Index] = {}

    def take(self, node: Node) -> Node | None:
        """The recorded call that fits best, which nobody had yet; None if there is none.

        Of those that fit equally well it is the first, as they were recorded.
        """
        key = self._key(node)
        free = self._free.get(key, deque())
        while free and free[0].twin is not None:
            free.popleft()
        if not free:
            return None
        found = free[0] if len(free) == 1 else self._fitting(key, node) or free[0]
        _bind(node, found)
        return found

    def _fitting(self, key: Hashable, node: Node) -> Node | None:
        """A free call inside the nearest place that is known to be in both runs."""
        marks, up = _START, 0
        for steps, place in enumerate(node.line()):
            if place.twin is not None and (up := up + 1) <= _UP:
                index = self._inside(key, steps)
                queues = (index[place.twin, mark] for mark in dict.fromkeys(marks))
                if (found := next(filter(None, map(_first, queues)), None)) is not None:
                    return found
            marks = self._marked(marks, place)
        return None

    def _inside(self, key: Hashable, steps: int) -> _Index:
        """The free calls by the place that is so many steps around, and by marks."""
        if (key, steps) not in self._indices:
            index: _Index = defaultdict(deque)
            for one in self._free[key]:
                marks, below = _START, cast("Lane | Node", one)
                for place in islice(one.line(), steps):
                    marks, below = self._marked(marks, place), place
                for place in islice(one.line(), steps, steps + 1):
                    for mark in dict.fromkeys(marks):
                        index[place, mark].append((below, one))
            self._indices[key, steps] = index
        return self._indices[key, steps]

    def _marked(self, marks: _Marks, place: Lane | Node) -> _Marks:
        """The marks of what is inside a place, and of the place: equal for equal ones."""
        lane = isinstance(place, Lane)
        text = place.task if isinstance(place, Lane) else (place.op, self._text(place))
        counts = True, not lane, lane, False
        grown = zip(count(), marks, counts, strict=False)
        return tuple(hash((n, one, text)) if more else one for n, one, more in grown)


def _first(queue: deque[tuple[Any, Node]]) -> Node | None:
    """The first call that is free, in a place that is."""
    while queue and any(one.twin is not None for one in queue[0]):
        queue.popleft()
    return queue[0][1] if queue else None


def _bind(node: Node, known: Node) -> None:
    """From now on a call belongs to a recorded one, and so does what is around them."""
    node.twin, known.twin = known, node
    lines = [
        islice(one.line(), 2 * max(0, one.depth - two.depth), None)
        for one, two in ((node, known), (known, node))
    ]
    for one, two in zip(*lines, strict=True):
        if one.twin is two:
            break  # And so is all that is around.
        if one.twin is None and two.twin is None:
            one.twin, two.twin = two, one
