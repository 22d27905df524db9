"""Two runs beside each other: what is different, where, and of what kind."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeAlias, get_args

from waybell_snap._changes import Change, Comparison, Kind, limit_of
from waybell_snap._diff import differences, said_by, told_of, types_of
from waybell_snap._match import Matcher, Matchers, canonical
from waybell_snap._tree import Snapshot, label
from waybell_snap._values import dumps


_NUMBER = re.compile(r"#\d+(?=[./]|$)")
_NEVER = {"error", "budget"}  # allowed by nobody
_PARTS: dict[str, Kind] = {"cost": "cost", "usage": "tokens"}  # of a reply
_UNSEEN = ("message",)  # of a reply: what is sent back follows from the rest
Tree: TypeAlias = Mapping[str, Any]


def compare(
    old: Snapshot,
    new: Snapshot,
    *,
    matchers: Mapping[str, Matcher] | None = None,
    allow: Iterable[str] = ("latency",),
    max_usd: Decimal | str | float | None = None,
    max_tokens: int | None = None,
) -> Comparison:
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
    allowed = frozenset(allow)
    if wrong := sorted(allowed - (set(get_args(Kind)) - _NEVER)):
        raise ValueError(f"allow has {wrong[0]!r}, which is no change or never allowed")
    found = _Comparing(Matchers(matchers))
    found.pair(old.root, new.root, "")
    changes = [*found.changes, *_spent(new, max_usd, max_tokens)]
    return Comparison(tuple(changes), allowed)


def _spent(run: Snapshot, max_usd: Any, max_tokens: int | None) -> Iterator[Change]:
    most = limit_of(max_usd)
    if most is not None and (run.usd is None or run.usd > most):
        cost = "unknown" if run.usd is None else str(run.usd)
        yield Change("budget", "run.usd", f"at most {most}", cost)
    if max_tokens is not None and run.tokens > max_tokens:
        yield Change("budget", "run.tokens", f"at most {max_tokens}", run.tokens)


class _Place(NamedTuple):
    """A node, and where among its siblings it is."""

    lane: int
    at: int
    node: Tree


class _Comparing:
    """A comparison under way.

    Args:
        matchers: What may vary.
    """

    __slots__ = ("_matchers", "changes")

    def __init__(self, matchers: Matchers) -> None:
        self._matchers = matchers
        self.changes: list[Change] = []

    def pair(self, old: Tree, new: Tree, path: str) -> None:
        """Compare two nodes that belong together, and all that is inside them."""
        if dumps(old) == dumps(new):  # to Python, True is 1
            return
        where = path or "run"
        self._values("input", f"{where}.given", _given(old), _given(new))
        self._outcome(old, new, where)
        classes = old.get("latency"), new.get("latency")
        if classes[0] != classes[1]:
            self._note("latency", f"{where}.latency", *classes)
        self._children(old, new, path)

    def _outcome(self, old: Tree, new: Tree, where: str) -> None:
        one, two = old.get("error"), new.get("error")
        if types_of(one) != types_of(two):
            self._note("error", where, told_of(one), told_of(two))
            return
        self._values("output", f"{where}.error.message", said_by(one), said_by(two))
        call = new["kind"] == "call"
        self._values("output", f"{where}.got", _got(old), _got(new), call=call)

    def _values(
        self, kind: Kind, path: str, old: Any, new: Any, *, call: bool = False
    ) -> None:
        bare = _bare(path)
        one, two = (self._matchers.normal(bare, side) for side in (old, new))
        for found in differences(one, two, path):
            if not self._matchers.same(_bare(found.path), found.old, found.new):
                part = found.path.removeprefix(path).split(".")[1:2]
                told = _PARTS.get("".join(part), kind) if call else kind
                self._note(told, found.path, found.old, found.new)

    def _note(self, kind: Kind, path: str, old: Any, new: Any) -> None:
        self.changes.append(Change(kind, path, old, new))

    def _children(self, old: Tree, new: Tree, path: str) -> None:
        one, two = self._unequal(old, new, path)
        pairs = list[tuple[_Place, _Place]]()
        for by in (self._key, self._asked, _label):
            one, two = _matched(one, two, partial(by, path=path), pairs)
        self._order(pairs, path)
        numbers = {**_numbers(old), **_numbers(new)}
        for left, right in pairs:
            where = _join(path, right.node, numbers[id(right.node)])
            self.pair(left.node, right.node, where)
        for gone, places in ((True, one), (False, two)):
            for node in (place.node for place in places):
                self._alone(node, _join(path, node, numbers[id(node)]), gone=gone)

    def _unequal(
        self, old: Tree, new: Tree, path: str
    ) -> tuple[list[_Place], list[_Place]]:
        """The nodes of the lanes that have no equal lane in the other run."""
        sides = [
            [
                ("".join(self._key(one, path) for one in lane["nodes"]), lane)
                for lane in tree.get("lanes", ())
            ]
            for tree in (old, new)
        ]
        counts = [Counter(key for key, _ in side) for side in sides]
        one, two = (_left(side, counts[0] & counts[1]) for side in sides)
        return one, two

    def _alone(self, node: Tree, path: str, *, gone: bool) -> None:
        """Note a node that is in one of the runs only, and what fails in it."""
        kind: Kind = "tool set" if node["kind"] == "tool" else "calls"
        failed = [one["error"] for one in Snapshot(node).nodes() if "error" in one]
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
            was = sorted((one for one, _ in found), key=_at)
            now = [one for one, _ in sorted(found, key=lambda pair: pair[1].at)]
            tools = list(map(_tools, (was, now)))
            where = path or "run"
            if _moved(*tools):
                self._note("tool order", where, *map(_names, tools))
            if _moved(was, now) - {"tool"}:
                self._note("order", where, _names(was), _names(now))

    def _key(self, node: Tree, path: str) -> str:
        """One text for nodes between which nothing is different."""
        return dumps(self._form(node, path))

    def _form(self, node: Tree, path: str) -> list[Any]:
        where = _bare(_join(path, node))
        error: Tree = node.get("error") or {}
        normal = self._matchers.normal
        inner = [
            [self._form(one, where) for one in lane["nodes"]]
            for lane in node.get("lanes", ())
        ]
        return [
            _label(node),
            normal(f"{where}.given", _given(node)),
            normal(f"{where}.got", _got(node)),
            [types_of(error), normal(f"{where}.error.message", said_by(error))],
            node.get("latency"),
            sorted(inner, key=dumps),
        ]

    def _asked(self, node: Tree, path: str) -> str:
        """One text for nodes that were given the same."""
        where = f"{_bare(_join(path, node))}.given"
        return dumps([where, self._matchers.normal(where, _given(node), key=True)])


def _at(place: _Place) -> Any:
    return place.at


def _tools(places: Sequence[_Place]) -> list[_Place]:
    return [one for one in places if one.node["kind"] == "tool"]


def _matched(
    one: list[_Place],
    two: list[_Place],
    by: Callable[[Tree], str],
    pairs: list[tuple[_Place, _Place]],
) -> tuple[list[_Place], list[_Place]]:
    """Put the nodes that are the same by something into pairs; give those left over."""
    groups = defaultdict[str, tuple[list[_Place], list[_Place]]](lambda: ([], []))
    for side, places in enumerate((one, two)):
        for place in places:
            groups[by(place.node)][side].append(place)
    for left, right in groups.values():
        pairs.extend(zip(left, right, strict=False))
    several = [(pair, min(map(len, pair))) for pair in groups.values()]
    left, right = (
        sorted(place for pair, size in several for place in pair[side][size:])
        for side in (0, 1)
    )
    return left, right


def _moved(was: Sequence[_Place], now: Sequence[_Place]) -> set[str]:
    """The kinds of what is not where it was."""
    pairs = zip(was, now, strict=True)
    return {one.node["kind"] for one, two in pairs if one is not two}


def _left(side: Sequence[tuple[str, Tree]], equal: Counter[str]) -> list[_Place]:
    """The nodes of the lanes that are not among the equal ones."""
    found = list[_Place]()
    for number, (key, lane) in enumerate(side):
        if equal[key]:
            equal[key] -= 1
        else:
            found += [_Place(number, at, node) for at, node in enumerate(lane["nodes"])]
    return found


def _numbers(tree: Tree) -> dict[int, str]:
    """What sets apart the nodes of one label inside of one node."""
    nodes = [node for lane in tree.get("lanes", ()) for node in lane["nodes"]]
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


def _bare(path: str) -> str:
    return _NUMBER.sub("", path)


def _label(node: Tree, path: str = "") -> str:
    del path
    return label(node["kind"], node["name"], node.get("op", ""))


def _names(places: Iterable[_Place]) -> list[str]:
    return [_label(place.node) for place in places]


def _given(node: Tree) -> Any:
    return canonical(node.get("given"), ids=node["kind"] == "call")


def _got(node: Tree) -> Any:
    got, call = node.get("got"), node["kind"] == "call"
    if call and got:
        got = {name: part for name, part in got.items() if name not in _UNSEEN}
    return canonical(got, ids=call)


def _summary(node: Tree) -> Any:
    """What a node that is in one run only was about."""
    parts = ("given", "got")
    return {name: node[name] for name in parts if name in node} or _label(node)
