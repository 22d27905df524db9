"""Two runs beside each other: what is different, where, and of what kind."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from waybell_snap._changes import TOKENS, Change, Comparison, Kind, allowed, limit_of
from waybell_snap._diff import differences, said_by, told_of, types_of
from waybell_snap._match import Matcher, Matchers, canonical, without_numbers
from waybell_snap._nested import each, lanes_of
from waybell_snap._tree import Snapshot, label
from waybell_snap._values import dumps, mark


_PARTS: dict[str, Kind] = {"cost": "cost", "usage": "tokens"}  # of a reply
_UNSEEN = ("message",)  # of a reply: what is sent back follows from the rest
Tree: TypeAlias = Mapping[str, Any]
_Pair: TypeAlias = tuple[Tree | None, Tree | None, str]


def compare(
    old: Snapshot, new: Snapshot, *,
    matchers: Mapping[str, Matcher] | None = None, allow: Iterable[str] = ("latency",),
    max_usd: Decimal | str | float | None = None, max_tokens: int | None = None,
) -> Comparison:  # fmt: skip
    r"""Compare two runs as trees.

    What one task did is in order, what several did at once is in none; order counts where
    both runs have one.

    Args:
        old: The run that was.
        new: The run that is.
        matchers: What may vary, by patterns of paths: `{"*.got.text": Regex(r"\d+ s")}`.
            Types of errors are beyond them.
        allow: Kinds of changes that may be; never "error" or "budget".
        max_usd: US dollars that the new run may have cost; an unknown cost is too much.
        max_tokens: Tokens that it may have taken.

    Raises:
        ValueError: A kind is unknown or may not be allowed.
    """
    may = allowed(allow)
    found = _Comparing(Matchers(matchers))
    if old is not new:
        found.run(old.root, new.root)
    changes = [*found.changes, *_spent(new, max_usd, max_tokens)]
    return Comparison(tuple(changes), may)


def _spent(run: Snapshot, max_usd: Any, max_tokens: int | None) -> Iterator[Change]:
    most = limit_of(max_usd)
    if most is not None and (run.usd is None or run.usd > most):
        cost = "unknown" if run.usd is None else str(run.usd)
        yield Change("budget", "run.usd", f"at most {most}", cost)
    top = limit_of(max_tokens, TOKENS)
    if top is not None and run.tokens > top:
        yield Change("budget", "run.tokens", f"at most {max_tokens}", run.tokens)


class _Place(NamedTuple):
    """A node, and where among its siblings it is."""

    lane: int
    at: int
    node: Tree


class _Comparing:
    """A comparison under way."""

    __slots__ = ("_forms", "_matchers", "changes")

    def __init__(self, matchers: Matchers) -> None:
        self._matchers = matchers
        self._forms: dict[int, str] = {}
        self.changes: list[Change] = []

    def run(self, old: Tree, new: Tree) -> None:
        """Compare two runs."""
        self._learn([old, new])
        rest: list[_Pair] = [(old, new, "")]
        while rest:
            one, two, path = rest.pop()
            if one is None or two is None:
                self._alone(one or two or {}, path, gone=two is None)
            elif self._forms[id(one)] != self._forms[id(two)]:
                rest.extend(reversed([*self._pair(one, two, path)]))

    def _learn(self, roots: list[Tree]) -> None:
        """Find the forms of all nodes, from the innermost outwards."""
        order = [(root, "") for root in roots]
        for node, path in order:  # which grows meanwhile
            order += [(one, self._bare(path, one)) for one in chain(*lanes_of(node))]
        for node, path in reversed(order):
            self._forms[id(node)] = mark(dumps(self._form(node, path)))

    def _pair(self, old: Tree, new: Tree, path: str) -> Iterator[_Pair]:
        """Compare two nodes that belong together; give what is inside them, in pairs."""
        where = path or "run"
        self._values("input", f"{where}.given", _given(old), _given(new))
        self._outcome(old, new, where)
        classes = old.get("latency"), new.get("latency")
        if classes[0] != classes[1]:
            self._note("latency", f"{where}.latency", *classes)
        yield from self._children(old, new, path)

    def _outcome(self, old: Tree, new: Tree, where: str) -> None:
        one, two = old.get("error"), new.get("error")
        if types_of(one) != types_of(two):
            self._note("error", where, told_of(one), told_of(two))
            return
        self._values("output", f"{where}.error.message", said_by(one), said_by(two))
        call = new["kind"] == "call"
        self._values("output", f"{where}.got", _got(old), _got(new), call=call)

    def _values(self, kind: Kind, path: str, *pair: Any, call: bool = False) -> None:
        bare = without_numbers(path)
        one, two = (self._matchers.normal(bare, side) for side in pair)
        for found in differences(one, two, path):
            bare = without_numbers(found.path)
            if not self._matchers.same(bare, found.old, found.new):
                part = found.path.removeprefix(path).split(".")[1:2]
                told = _PARTS.get("".join(part), kind) if call else kind
                self._note(told, found.path, found.old, found.new)

    def _bare(self, path: str, node: Tree) -> str:
        """Where a node is for matchers, if there are any."""
        return without_numbers(_join(path, node)) if self._matchers else ""

    def _note(self, kind: Kind, path: str, old: Any, new: Any) -> None:
        self.changes.append(Change(kind, path, old, new))

    def _children(self, old: Tree, new: Tree, path: str) -> Iterator[_Pair]:
        one, two = self._unequal(old, new)
        pairs = list[tuple[_Place, _Place]]()
        for by in (self._form_of, partial(self._asked, path=path), _sort):
            one, two = _matched(one, two, by, pairs)
        self._order(pairs, path)
        numbers = {**_numbers(old), **_numbers(new)}
        found: list[tuple[Tree | None, Tree | None]]
        found = [(left.node, right.node) for left, right in pairs]
        found += [(place.node, None) for place in one]
        found += [(None, place.node) for place in two]
        for left, right in found:
            node: Tree = right or left or {}
            yield left, right, _join(path, node, numbers[id(node)])

    def _unequal(self, old: Tree, new: Tree) -> tuple[list[_Place], list[_Place]]:
        """The nodes of the lanes that have no equal lane in the other run."""
        sides = [
            [("\n".join(map(self._form_of, lane)), lane) for lane in lanes_of(tree)]
            for tree in (old, new)
        ]
        counts = [Counter(key for key, _ in side) for side in sides]
        one, two = (_left(side, counts[0] & counts[1]) for side in sides)
        return one, two

    def _alone(self, node: Tree, path: str, *, gone: bool) -> None:
        """Note a node that is in one of the runs only, and what fails in it."""
        kind: Kind = "tool set" if node["kind"] == "tool" else "calls"
        failed = [one["error"] for one in each(node, lanes_of) if "error" in one]
        found: list[tuple[Kind, Any]] = [("error", told_of(error)) for error in failed]
        found.insert(0, (kind, _summary(node)))
        for what, told in found:
            self._note(what, path, *((told, None) if gone else (None, told)))

    def _order(self, pairs: Sequence[tuple[_Place, _Place]], path: str) -> None:
        """Note the lanes in which nodes of both runs are in another order."""
        lanes = defaultdict[tuple[int, int], list[tuple[_Place, _Place]]](list)
        for one, two in pairs:
            lanes[one.lane, two.lane].append((one, two))
        for found in lanes.values():
            was, now = (
                [pair[0] for pair in sorted(found, key=lambda pair: pair[side].at)]
                for side in (0, 1)
            )
            tools = [*map(_tools, (was, now))]
            where = path or "run"
            if _moved(*tools):
                self._note("tool order", where, *map(_names, tools))
            if _moved(was, now) - {"tool"}:
                self._note("order", where, _names(was), _names(now))

    def _form_of(self, node: Tree) -> str:
        """One text for nodes between which nothing is different."""
        return self._forms[id(node)]

    def _form(self, node: Tree, path: str) -> list[Any]:
        where, error, normal = path or "run", node.get("error"), self._matchers.normal
        inner = sorted("\n".join(map(self._form_of, lane)) for lane in lanes_of(node))
        said = normal(f"{where}.error.message", said_by(error))
        given = normal(f"{where}.given", _given(node))
        got = normal(f"{where}.got", _got(node))
        failed = [types_of(error), said]
        return [_sort(node), given, got, failed, node.get("latency"), inner]

    def _asked(self, node: Tree, path: str) -> str:
        """One text for nodes that were given the same."""
        where = f"{self._bare(path, node)}.given"
        asked = self._matchers.normal(where, _given(node), key=True)
        return dumps([_sort(node), asked])


def _tools(places: Sequence[_Place]) -> list[_Place]:
    return [one for one in places if one.node["kind"] == "tool"]


def _matched(
    one: list[_Place], two: list[_Place], by: Callable[[Tree], str],
    pairs: list[tuple[_Place, _Place]],
) -> tuple[list[_Place], list[_Place]]:  # fmt: skip
    """Put the nodes that are the same by something into pairs; give those left over."""
    groups = defaultdict[str, tuple[list[_Place], list[_Place]]](lambda: ([], []))
    for side, places in enumerate((one, two)):
        for place in places:
            groups[by(place.node)][side].append(place)
    rest: tuple[list[_Place], list[_Place]] = ([], [])
    for pair in groups.values():
        pairs.extend(zip(*pair, strict=False))
        for left, places in zip(rest, pair, strict=True):
            left.extend(places[min(map(len, pair)) :])
    return sorted(rest[0]), sorted(rest[1])


def _moved(was: Sequence[_Place], now: Sequence[_Place]) -> set[str]:
    """The kinds of what is not where it was."""
    pairs = zip(was, now, strict=True)
    return {one.node["kind"] for one, two in pairs if one is not two}


def _left(side: Sequence[tuple[str, Any]], equal: Counter[str]) -> list[_Place]:
    """The nodes of the lanes that are not among the equal ones."""
    found = list[_Place]()
    for number, (key, lane) in enumerate(side):
        if equal[key]:
            equal[key] -= 1
        else:
            found += [_Place(number, at, node) for at, node in enumerate(lane)]
    return found


def _numbers(tree: Tree) -> dict[int, str]:
    """What sets apart the nodes of one label inside of one node."""
    nodes = [*chain(*lanes_of(tree))]
    many = Counter(map(_label, nodes))
    seen = Counter[str]()
    found: dict[int, str] = {}
    for node in nodes:
        seen[_label(node)] += 1
        found[id(node)] = f"#{seen[_label(node)]}" if many[_label(node)] > 1 else ""
    return found


def _join(path: str, node: Tree, number: str = "") -> str:
    own = f"{_label(node)}{number}"
    return f"{path}/{own}" if path else own


def _label(node: Tree) -> str:
    return label(node["kind"], node["name"], node.get("op", ""))


def _sort(node: Tree) -> str:
    return f"{node['kind']} {_label(node)}"


def _names(places: Iterable[_Place]) -> list[str]:
    return [_label(place.node) for place in places]


def _given(node: Tree) -> Any:
    return canonical(node.get("given"), ids=node["kind"] == "call")


def _got(node: Tree) -> Any:
    got, call = node.get("got"), node["kind"] == "call"
    if call and got:
        got = {name: part for name, part in got.items() if name not in _UNSEEN}
        if got.get("cost"):
            got["cost"] = f"{Decimal(got['cost']).normalize():f}"
    return canonical(got, ids=call)


def _summary(node: Tree) -> Any:
    """What a node that is in one run only was about."""
    parts = ("given", "got")
    return {name: node[name] for name in parts if name in node} or _label(node)
