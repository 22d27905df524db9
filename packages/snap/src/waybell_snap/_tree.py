"""A run as a tree: agents, their calls, and the tools that the calls asked for."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

from waybell_snap._file import read, write
from waybell_snap._nested import Tree, each, lanes_of
from waybell_snap._values import dumps, mark


UNFINISHED = "unfinished"
CANCELLED = ("asyncio.exceptions.CancelledError", UNFINISHED)
_NAMED = ("agent", "tool")  # whose names calls are known by
_PARTS = ("kind", "name", "op", "given", "got", "error", "latency", "pieces")
_Told: TypeAlias = tuple[str, dict[str, Any]]  # a text to sort it by, and as JSON
_ASKED = ("call", "tool")
_KEPT = ("name", "given", "got")  # an empty answer is an answer


class Lane:
    """What one task or thread did inside a node, in its order.

    `twin` is, in a replay, the same lane in the other of the two runs.
    """

    __slots__ = ("nodes", "task", "twin")

    def __init__(self, task: str = "") -> None:
        self.task = task
        self.nodes: list[Node] = []
        self.twin: Lane | None = None

    def told(self, inner: "Mapping[Node, _Told]", *, alone: bool) -> "_Told":
        """As JSON; its task is called as in the recording."""
        task = self.task if self.twin is None else self.twin.task
        named = {} if alone or not task else {"task": task}
        texts, nodes = zip(*(inner[one] for one in self.nodes), strict=True)
        return mark(dumps([texts, named])), {**named, "nodes": [*nodes]}


class Node:
    """A run, an agent's turn, a model call or a tool call, while it is recorded.

    Args:
        kind: "run", "agent", "call" or "tool".
        name: Of the agent, the model or the tool.
        op: How it was asked: the handler, the operation.
        given: What it was given, as JSON.
        parent: Inside what it happened, None for a run.
    """

    __slots__ = (
        "around", "asked", "depth", "error", "given", "got", "kind", "lane", "lanes",
        "latency", "name", "op", "parent", "pieces", "tasks", "twin", "unread",
    )  # fmt: skip

    def __init__(
        self, kind: str, name: str, op: str = "", given: Any = None, parent: "Node | None" = None
    ) -> None:  # fmt: skip
        self.kind, self.name, self.op, self.given = kind, name, op, given
        self.parent, self.depth, self.around = parent, 0, 0
        if parent is not None:
            self.depth, self.around = parent.depth + 1, parent.around
            if parent.kind in _NAMED:  # One number for all the names of `path`.
                self.around = hash((parent.around, parent.name))
        self.lane: Lane | None = None
        self.lanes: dict[Hashable, Lane] = {}
        self.got: Any = None
        self.error: dict[str, Any] | None = None
        self.latency: str | None = None
        self.pieces: Any = None
        self.unread = False  # A stream that was opened, for which nothing was sent yet.
        self.asked: list[tuple[str, str]] = []
        self.tasks: dict[str, list[int]] = {}
        self.twin: Node | None = None

    def put(self, token: Hashable, node: "Node", task: str = "") -> None:
        """Let a node be the next that a task or thread does in this one."""
        node.lane = self.lanes.setdefault(token, Lane(task))
        node.lane.nodes.append(node)

    def path(self) -> tuple[str, ...]:
        """The names of the agents and tools around it, outermost first."""
        around = [one for one in self.line() if isinstance(one, Node)]
        names = [one.name for one in around if one.kind in _NAMED]
        return tuple(reversed(names))

    def where(self) -> str:
        """Its path, as differences show it but for the numbers."""
        around = [one for one in self.line() if isinstance(one, Node) and one.parent]
        names = [label(one.kind, one.name, one.op) for one in (self, *around)]
        return "/".join(reversed(names))

    def line(self) -> Iterator["Node | Lane"]:
        """The lanes and nodes around it, innermost first."""
        node: Node = self
        while node.lane is not None and node.parent is not None:
            yield node.lane
            node = node.parent
            yield node

    def nodes(self) -> Iterator["Node"]:
        """This one and all inside it, in order, each before those inside it."""
        return each(self, _lanes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, the unordered lanes in the order of what is in them."""
        told: dict[Node, _Told] = {}
        for node in reversed([*self.nodes()]):
            told[node] = node.told(told)
        return told[self][1]

    def told(self, inner: "Mapping[Node, _Told]") -> "_Told":
        """As JSON, with what is inside of it as it was told."""
        alone = len(self.lanes) == 1
        told = [lane.told(inner, alone=alone) for lane in self.lanes.values()]
        told.sort(key=itemgetter(0))
        found: dict[str, Any] = {name: getattr(self, name) for name in _PARTS}
        if self.kind in _ASKED and (self.latency, self.unread) == (None, False):
            found["error"] = {"type": UNFINISHED, "message": "it was still running"}
        found["lanes"] = [*map(itemgetter(1), told)]
        found = {k: v for k, v in found.items() if v or (k in _KEPT and v is not None)}
        return mark(dumps(found | {"lanes": [*map(itemgetter(0), told)]})), found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], parent: "Node | None" = None) -> "Node":
        """What `to_dict` described."""
        op, given = data.get("op", ""), data.get("given")
        node = cls(data["kind"], data["name"], op, given, parent)
        node.got, node.error = data.get("got"), data.get("error")
        node.latency, node.pieces = data.get("latency"), data.get("pieces")
        rest: list[tuple[Any, Node]] = [] if parent else [(data, node)]
        for told, outer in rest:  # which grows meanwhile
            for number, lane in enumerate(told.get("lanes", ())):
                for inner in lane["nodes"]:
                    rest.append((inner, cls.from_dict(inner, outer)))
                    outer.put(number, rest[-1][1], lane.get("task", ""))
        return node


def _lanes(node: Node) -> list[list[Node]]:
    return [lane.nodes for lane in node.lanes.values()]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole run as a tree that can be kept and compared.

    Args:
        root: A node: its `kind` (run, agent, call, tool), `name`, `op`, what it was
            `given` and `got`, its `error` (type, message), its `latency` class, the
            sizes of its `pieces`, and its `lanes`: what each
            task inside it did, `nodes` in their order, the lanes in none. A call that
            has neither `got` nor `error` is a stream that nobody began to read.
    """

    root: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Tree(self.root))

    @classmethod
    def load(cls, path: str | Path) -> "Snapshot":
        """The run in a recording.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no recording, or one of a newer schema.
        """
        return cls(read(Path(path)))

    def save(self, path: str | Path) -> None:
        """Write a recording, wholly or not at all; its folders are made."""
        write(Path(path), self.root)

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        """Every node, from the root down, each before those inside it."""
        return each(self.root, lanes_of)

    @property
    def usd(self) -> Decimal | None:
        """US dollars of all model calls, None if one's cost is unknown."""
        costs = [got.get("cost") for got in self._replies()]
        return None if None in costs else sum(map(Decimal, costs), Decimal(0))

    @property
    def tokens(self) -> int:
        """Tokens of all model calls, in and out."""
        parts = (value for got in self._replies() for value in got["usage"].items())
        return sum(count for name, count in parts if name != "estimated")

    def _replies(self) -> list[Any]:
        calls = (node for node in self.nodes() if node["kind"] == "call")
        return [got for node in calls if (got := node.get("got"))]

    def __str__(self) -> str:
        """The run in lines: who did what inside what, and what failed."""
        return "\n".join(_outline(self.root))


def _outline(root: Mapping[str, Any]) -> Iterator[str]:
    rest = [(root, "", "")]  # a node, what is before its line, and before those below
    while rest:
        node, first, more = rest.pop()
        failed = f"  failed: {node['error']['type']}" if "error" in node else ""
        yield f"{first}{label(node['kind'], node['name'], node.get('op', ''))}{failed}"
        lanes = lanes_of(node)
        head, tail = ("- ", "  ") if len(lanes) > 1 else ("", "")
        for lane in reversed(lanes):
            marks = [head, *[tail] * len(lane)]
            found = [
                (one, f"{more}  {now}", f"{more}  {tail}")
                for one, now in zip(lane, marks, strict=False)
            ]
            rest.extend(reversed(found))


def label(kind: str, name: str, op: str) -> str:
    """How a node is called in paths."""
    ends = {"call": f".{op}()", "tool": "()"}
    return f"{name}{ends.get(kind, '')}"
