"""In which order: after what is needed, and the most urgent first."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush


Successors = int | list[int] | None
"""The tasks that depend on one: most often none or one, so that no list is made."""


def following(after: Successors) -> Iterable[int]:
    """Successors, however many there are."""
    return () if after is None else (after,) if isinstance(after, int) else after


def in_order(succ: Sequence[Successors]) -> list[int]:
    """Tasks after their dependencies; those in or after a cycle are left out."""
    left = [0] * len(succ)
    for after in succ:
        for j in following(after):
            left[j] += 1
    order = [i for i, count in enumerate(left) if not count]
    for i in order:  # which grows
        for j in following(succ[i]):
            left[j] -= 1
            if not left[j]:
                order.append(j)
    return order


def hops(succ: Sequence[Successors], ordered: bool) -> list[int]:
    """For each task, the length of the longest chain of tasks after it.

    Args:
        succ: What depends on each.
        ordered: All of that has higher numbers.
    """
    found = [0] * len(succ)
    for i in reversed(range(len(succ)) if ordered else in_order(succ)):
        after = succ[i]
        if isinstance(after, int):
            found[i] = found[after] + 1
        elif after is not None:
            found[i] = max([found[j] for j in after]) + 1
    return found


def cycle(needs: Mapping[int, Iterable[int]]) -> list[int]:
    """A closed path, in running order, among tasks that each need one of the others."""
    path: dict[int, None] = {}
    i = min(needs)
    while i not in path:
        path[i] = None
        i = next(j for j in needs[i] if j in needs)
    ring = list(path)
    ring = ring[ring.index(i) :]
    return [i, *reversed(ring)]


class Ranked:
    """A drop-in for the queue's `deque` that gives the highest rank first.

    Within one rank it is first in, first out. Ranks in use are few at any moment, so
    a heap of ranks with a deque each costs less than a heap of tasks.

    Args:
        ranks: The rank of each task, by its number; a reference is kept.
        tasks: Those to begin with.
    """

    __slots__ = ("_heap", "_levels", "_ranks", "_top")

    def __init__(self, ranks: list[int], tasks: Iterable[int] = ()) -> None:
        self._ranks = ranks
        self._heap: list[int] = []  # of negated ranks that have a level
        self._levels: dict[int, deque[int]] = {}
        self._top: deque[int] = deque()  # the level to take from, while it lasts
        for i in tasks:
            self.append(i)

    def append(self, i: int) -> None:
        """Add a task by its number."""
        key = -self._ranks[i]
        level = self._levels.get(key)
        if level is not None:
            level.append(i)
            return
        self._levels[key] = level = deque((i,))
        heap = self._heap
        heappush(heap, key)
        if heap[0] == key:
            self._top = level

    def popleft(self) -> int:
        """Take the first task of the highest rank.

        Raises:
            IndexError: There is none.
        """
        top = self._top
        i = top.popleft()
        if not top:
            del self._levels[heappop(self._heap)]
            if self._heap:
                self._top = self._levels[self._heap[0]]
        return i

    def __len__(self) -> int:
        return sum(map(len, self._levels.values()))

    def __bool__(self) -> bool:
        return bool(self._heap)

    def __iter__(self) -> Iterator[int]:
        for key in sorted(self._heap):
            yield from self._levels[key]
