"""A run as a tree: agents, their calls, and the tools that the calls asked for."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from waybell_snap._file import read, write
from waybell_snap._values import dumps


UNFINISHED = "unfinished"
_PARTS = ("op", "given", "got", "error", "latency", "pieces")


class Lane:
    """What one task or thread did inside a node, in its order.

    `twin` is, in a replay, the same lane in the other of the two runs.

    Args:
        task: What the task is called.
    """

    __slots__ = ("nodes", "task", "twin")

    def __init__(self, task: str = "") -> None:
        self.task = task
        self.nodes: list[Node] = []
        self.twin: Lane | None = None

    def alike(self, other: "Lane") -> int:
        """Whether this might be the same as another one."""
        return bool(self.task) and self.task == other.task

    def to_dict(self, *, alone: bool) -> dict[str, Any]:
        """As JSON; its task is called as in the recording."""
        task = self.task if self.twin is None else self.twin.task
        named = {} if alone or not task else {"task": task}
        return {**named, "nodes": [node.to_dict() for node in self.nodes]}


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
        "asked", "error", "given", "got", "kind", "lane", "lanes", "latency", "name", "op",
        "parent", "pieces", "tasks", "twin",
    )  # fmt: skip

    def __init__(
        self, kind: str, name: str, op: str = "", given: Any = None, parent: "Node | None" = None
    ) -> None:  # fmt: skip
        self.kind, self.name, self.op, self.given = kind, name, op, given
        self.parent = parent
        self.lane: Lane | None = None
        self.lanes: dict[Hashable, Lane] = {}
        self.got: Any = None
        self.error: dict[str, Any] | None = None
        self.latency: str | None = None
        self.pieces: Any = None
        self.asked: list[tuple[str, str]] = []
        self.tasks: dict[str, set[int]] = {}
        self.twin: Node | None = None

    def put(self, token: Hashable, node: "Node", task: str = "") -> None:
        """Let a node be the next that a task or thread does in this one."""
        node.lane = self.lanes.setdefault(token, Lane(task))
        node.lane.nodes.append(node)

    def alike(self, other: "Node") -> int:
        """Whether this might be the same as another one."""
        return (self.op, self.given) == (other.op, other.given)

    def path(self) -> tuple[str, ...]:
        """The names of the agents and tools around it, outermost first."""
        around = [one for one in self.line() if isinstance(one, Node)]
        names = [one.name for one in around if one.kind in ("agent", "tool")]
        return tuple(reversed(names))

    def where(self) -> str:
        """Its path, as differences show it but for the numbers."""
        around = [one for one in self.line() if isinstance(one, Node) and one.parent]
        names = [label(one.kind, one.name, one.op) for one in (self, *around)]
        return "/".join(reversed(names))

    def line(self) -> Iterator["Node | Lane"]:
        """The lanes and nodes around it, innermost first."""
        node: Node | None = self
        while node is not None:
            if node.lane is not None:
                yield node.lane
            node = node.parent
            if node is not None:
                yield node

    def to_dict(self) -> dict[str, Any]:
        """As JSON, the unordered lanes in the order of what is in them."""
        lanes = self.lanes.values()
        inner = [lane.to_dict(alone=len(lanes) == 1) for lane in lanes]
        found: dict[str, Any] = {"kind": self.kind, "name": self.name}
        found |= {name: getattr(self, name) for name in _PARTS}
        found["lanes"] = sorted(
            inner, key=lambda one: (dumps(one["nodes"]), dumps(one))
        )
        if self.kind in ("call", "tool") and self.latency is None:
            found["error"] = {"type": UNFINISHED, "message": "it was still running"}
        kept = ("name", "given", "got")  # an empty answer is an answer
        return {k: v for k, v in found.items() if v or (k in kept and v is not None)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], parent: "Node | None" = None) -> Self:
        """What `to_dict` described."""
        op, given = data.get("op", ""), data.get("given")
        node = cls(data["kind"], data["name"], op, given, parent)
        node.got, node.error = data.get("got"), data.get("error")
        node.latency, node.pieces = data.get("latency"), data.get("pieces")
        for number, lane in enumerate(data.get("lanes", ())):
            for inner in lane["nodes"]:
                node.put(number, cls.from_dict(inner, node), lane.get("task", ""))
        return node


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole run as a tree that can be kept and compared.

    Args:
        root: A node: its `kind` (run, agent, call, tool), `name`, `op`, what it was
            `given` and `got`, its `error` (type, message), its `latency` class, the
            sizes of its `pieces`, and its `lanes`: what each
            task inside it did, `nodes` in their order, the lanes in none.
    """

    root: Mapping[str, Any]

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
        rest: list[Mapping[str, Any]] = [self.root]
        while rest:
            node = rest.pop()
            yield node
            inner = [one for lane in node.get("lanes", ()) for one in lane["nodes"]]
            rest.extend(reversed(inner))

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
        return "\n".join(_outline(self.root, ""))


def _outline(node: Mapping[str, Any], indent: str) -> Iterator[str]:
    failed = f"  failed: {node['error']['type']}" if "error" in node else ""
    yield f"{indent}{label(node['kind'], node['name'], node.get('op', ''))}{failed}"
    lanes = node.get("lanes", ())
    for lane in lanes:
        mark = "- " if len(lanes) > 1 else ""
        for inner in lane["nodes"]:
            for line in _outline(inner, ""):
                yield f"{indent}  {mark}{line}"
                mark = mark and "  "


def label(kind: str, name: str, op: str) -> str:
    """How a node is called in paths."""
    ends = {"call": f".{op}()", "tool": "()"}
    return f"{name}{ends.get(kind, '')}"
