"""Trees of JSON that are deeper than Python calls may be inside of each other."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar


_T = TypeVar("_T")


class Tree(dict[str, Any]):
    """The root of a run: a mapping that is compared, shown and copied however deep it is."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        try:
            return super().__eq__(other)
        except RecursionError:
            pairs = zip_longest(_rows(self), _rows(other))
            return all(one == two for one, two in pairs)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        try:
            return super().__repr__()
        except RecursionError:
            return f"<{len([*_rows(self)])} nodes, too deep to be shown: print the run>"

    def __reduce__(self) -> Any:
        return _whole, ([*_rows(self)],)


def _rows(root: Any) -> Iterator[Any]:
    """Each node with how many nodes its lanes have instead of the nodes."""
    for node in each(root, lanes_of):
        lanes = node.get("lanes", ())
        counts = [{**lane, "nodes": len(lane["nodes"])} for lane in lanes]
        yield {**node, "lanes": counts} if lanes else {**node}


def _whole(rows: list[Any]) -> Tree:
    """The tree that was taken apart."""
    done: list[Any] = []  # with what comes first in the run at the end
    for row in reversed(rows):
        for lane in row.get("lanes", ()):
            lane["nodes"] = [done.pop() for _ in range(lane["nodes"])]
        done.append(row)
    return Tree(done[0])


def each(root: _T, inner: Callable[[_T], Iterable[Sequence[_T]]]) -> Iterator[_T]:
    """All nodes of a tree, each before those inside it; `inner` gives the lanes of one."""
    rest = [root]
    while rest:
        node = rest.pop()
        yield node
        rest.extend(reversed([one for lane in inner(node) for one in lane]))


def lanes_of(node: Mapping[str, Any]) -> list[Any]:
    """The nodes of each lane inside of a node of JSON."""
    return [lane["nodes"] for lane in node.get("lanes", ())]
