"""Which recorded call a replayed one is: the one around which most agrees."""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from functools import cache
from itertools import chain, count, islice
from typing import Any, TypeAlias, cast

from waybell_snap._tree import Lane, Node


_Place: TypeAlias = Lane | Node
_Index: TypeAlias = defaultdict[Hashable, deque[tuple[Any, Node]]]
_Of: TypeAlias = Callable[[Node], Any]
# What two places agree in, best first: in all, in what was given, in names of tasks, in
# nothing. Of each there may be several, of which one has to be the same.
_Marks: TypeAlias = tuple[list[int], ...]
_START: _Marks = ([0], [0], [0], [0])
_SEVERAL = 16
_UP = 64  # places around a call in which others like it are looked for


class Fits:
    """The recorded calls, of which each is given once.

    What is around a call is walked only as far as something that both runs are known to
    have in common, and what is found there is kept: many equals cost no more than many.

    Args:
        root: The run that is replayed.
        known: The run that was recorded.
        key: What a call is known by.
        text: What a node was given, as a text.
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
            if place.twin is not None:
                index = self._inside(key, steps)
                for mark in dict.fromkeys(chain(*marks)):
                    queue = index.get((place.twin, mark))
                    if queue and (found := _first(queue)) is not None:
                        return found
                if (up := up + 1) == _UP:
                    break
            marks = self._marked(marks, place, live=True)
        return None

    def _inside(self, key: Hashable, steps: int) -> _Index:
        """The free calls by the place that is so many steps around, and by marks."""
        if (key, steps) not in self._indices:
            index: _Index = defaultdict(deque)
            for one in self._free[key]:
                marks, below = _START, cast("_Place", one)
                for place in islice(one.line(), steps):
                    marks, below = self._marked(marks, place), place
                for place in islice(one.line(), steps, steps + 1):
                    for mark in dict.fromkeys(chain(*marks)):
                        index[place, mark].append((below, one))
            self._indices[key, steps] = index
        return self._indices[key, steps]

    def _marked(self, marks: _Marks, place: _Place, *, live: bool = False) -> _Marks:
        """The marks of what is inside a place, and of the place: equal for equal ones."""
        lane = isinstance(place, Lane)
        texts = self._texts(place, doubtful=live and len(marks[0]) < _SEVERAL)
        counts = True, not lane, lane, False
        return tuple(
            [hash((n, one, text)) for text in texts for one in several]
            if more
            else several
            for n, several, more in zip(count(), marks, counts, strict=False)
        )

    def _texts(self, place: _Place, *, doubtful: bool) -> list[Any]:
        """What a place is known by.

        A lane that was alone in its node is on file without its task. Whether a live one
        will be is not known yet: its task is `doubtful`.
        """
        if not isinstance(place, Lane):
            return [(place.op, self._text(place))]
        return [place.task, ""] if doubtful and place.task else [place.task]


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
