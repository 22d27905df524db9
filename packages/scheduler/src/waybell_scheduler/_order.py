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


def hops(succ: Sequence[Successors]) -> list[int]:
    """For each task, the length of the longest chain of tasks after it."""
    found = [0] * len(succ)
    for i in reversed(in_order(succ)):
        after = succ[i]
        if after is not None:
            found[i] = 1 + max(found[j] for j in following(after))
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
    """

    __slots__ = ("_heap", "_levels", "_ranks", "_size")

    def __init__(self, ranks: list[int]) -> None:
        self._ranks = ranks
        self._heap: list[int] = []  # of negated ranks that have a level
        self._levels: dict[int, deque[int]] = {}
        self._size = 0

    def append(self, i: int) -> None:
        """Add a task by its number."""
        key = -self._ranks[i]
        level = self._levels.get(key)
        if level is None:
            self._levels[key] = deque((i,))
            heappush(self._heap, key)
        else:
            level.append(i)
        self._size += 1

    def popleft(self) -> int:
        """Take the first task of the highest rank.

        Raises:
            IndexError: There is none.
        """
        key = self._heap[0]
        level = self._levels[key]
        i = level.popleft()
        if not level:
            heappop(self._heap)
            del self._levels[key]
        self._size -= 1
        return i

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        for key in sorted(self._heap):
            yield from self._levels[key]
