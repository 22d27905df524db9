"""Which spans of a long file the page shows: the newest, and the failed ones."""

from collections import deque

from waybell_report._node import Node


class Newest:
    """Keeps the last `limit` spans, and a tenth as many that failed before them.

    A span is written when it ends, so after those below it: the newest have their
    parents with them, and the parents of a failed one can still be kept when they come.
    """

    __slots__ = ("_awaited", "_failed", "_last", "_limit", "failed", "seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: deque[Node] = deque()
        self._failed: list[Node] = []
        self._awaited: set[tuple[str, str]] = set()
        self.seen = self.failed = 0

    def add(self, node: Node) -> Node | None:
        """Keep `node`; returns the one that is left out in its place, if one is."""
        self.seen += 1
        self.failed += node.failed
        self._last.append(node)
        if len(self._last) <= self._limit:
            return None
        oldest = self._last.popleft()
        wanted = oldest.failed or oldest.key in self._awaited
        self._awaited.discard(oldest.key)
        if not wanted or len(self._failed) >= self._limit // 10:
            return oldest
        self._failed.append(oldest)
        if oldest.parent:
            self._awaited.add(oldest.parent)
        return None

    def nodes(self) -> list[Node]:
        """The spans that are kept, in the order they came."""
        return [*self._failed, *self._last]
