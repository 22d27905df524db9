"""The data of a page: columns of small numbers, tables of texts, one JSON line a span."""

import gzip
import re
from base64 import b64encode
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import orjson

from waybell_report._details import dumped
from waybell_report._forest import Forest
from waybell_report._groups import Groups
from waybell_report._node import CRITICAL, Decision
from waybell_trace import SpanUsage


_LONG: Final = 48  # characters from which a text is stored once for all spans
_MANY: Final = 20_000  # spans from which every byte of each counts
_DIGEST: Final = re.compile(r"[0-9a-f]{32,128}")
_USAGE: Final = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "waybell.cost.nano_usd",
)  # fmt: skip
_ID: Final = re.compile(r"[0-9a-f]{16}")


class Table:
    """Texts by number, each once."""

    __slots__ = ("places",)

    def __init__(self) -> None:
        self.places: dict[Any, int] = {}

    def place(self, text: Any) -> int:
        """The number of `text`."""
        return self.places.setdefault(text, len(self.places))

    def one(self, text: str | None) -> int:
        """The same plus one; 0 for none."""
        return 0 if text is None else self.place(text) + 1


def varints(numbers: Iterable[int]) -> bytes:
    """LEB128 of whole numbers, 0 or more."""
    out = bytearray()
    for number in numbers:
        left = number
        while left > 127:
            out.append(left & 127 | 128)
            left >>= 7
        out.append(left)
    return bytes(out)


def signed(numbers: Iterable[int]) -> Iterable[int]:
    """Zigzag: small numbers of either sign become small ones without."""
    return (2 * n if n >= 0 else -2 * n - 1 for n in numbers)


def core(  # budget: a table of the columns
    forest: Forest, groups: Groups, log: list[Decision], more: Any
) -> bytes:
    """What the first view needs: a JSON head, its length before it, then columns.

    Args:
        forest: The spans.
        groups: Their groups.
        log: The decisions, in order of time.
        more: Further fields of the head.
    """
    names, owners, errors, kinds = Table(), Table(), Table(), Table()
    nodes, place = forest.nodes, _places(forest)
    spent = [groups.used[node.key] for node in nodes]
    columns = {
        "depth": (node.depth for node in nodes),
        "start": signed(_from_parent(forest)),
        "length": (node.over(forest.last) - node.start for node in nodes),
        "kind": (node.kind for node in nodes),
        "flags": (node.flags & ~CRITICAL for node in nodes),
        "name": (names.place(node.name) for node in nodes),
        "owner": (owners.place(groups.owner[node.key]) for node in nodes),
        "model": (names.one(node.model) for node in nodes),
        "tool": (names.one(node.tool) for node in nodes),
        "error": (errors.one(node.error or None) for node in nodes),
        "input": (_known(used.input_tokens) for used in spent),
        "output": (_known(used.output_tokens) for used in spent),
        "cost": (_known(used.nano_usd) for used in spent),
        "marks": (len(node.marks) for node in nodes),
        "mark": signed(mark for node in nodes for mark in node.marks),
        "dtime": signed(_steps([d.time - forest.first for d in log])),
        "dspan": (place.get(d.key, -1) + 1 for d in log),
        "dname": (kinds.place(d.name) for d in log),
        "dagent": (owners.one(d.agent) for d in log),
        "dof": _answered(log),
    }
    packed = {name: varints(numbers) for name, numbers in columns.items()}
    ids = "".join(node.key[1] for node in nodes if _ID.fullmatch(node.key[1]))
    if regular := len(ids) == 16 * len(nodes):
        packed["id"] = bytes.fromhex(ids)
    tables = {"names": names, "owners": owners, "errors": errors, "kinds": kinds}
    head = {
        **more,
        "first": str(forest.first),
        "length": forest.last - forest.first,
        "spans": len(nodes),
        "ids": None if regular else [node.key[1] for node in nodes],
        "tables": {name: [*table.places] for name, table in tables.items()},
        "columns": [[name, len(column)] for name, column in packed.items()],
    }
    written = orjson.dumps(head)
    return b"".join([len(written).to_bytes(4, "little"), written, *packed.values()])


def detail(forest: Forest, groups: Groups, log: list[Decision]) -> bytes:
    """What is shown of one span at a time: a head, then a JSON line for each of them.

    Attributes become the number of their list of names, then the values; a long text
    becomes `{"t": its number}`, and `[]` stands for what is in a column of the core.
    Of very many spans, digests keep 16 digits, and say so.

    Args:
        forest: The spans.
        groups: Their groups.
        log: The decisions, in order of time.
    """
    lines = _Lines(brief=len(forest.nodes) > _MANY)
    rows = [lines.line(node.detail, groups.used[node.key]) for node in forest.nodes]
    rows += [lines.line(made.detail) for made in log]
    traces = Table()
    head = {
        "traces": [traces.place(node.key[0]) for node in forest.roots],
        "trace": [*traces.places],
        "shapes": [*lines.shapes.places],
        "texts": [orjson.Fragment(text) for text in lines.texts.places],
    }
    return b"\n".join([orjson.dumps(head), *rows])


def embedded(data: bytes) -> str:
    """`data` compressed, as text that no parser of HTML takes for markup."""
    return b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _places(forest: Forest) -> dict[tuple[str, str], int]:
    return {node.key: place for place, node in enumerate(forest.nodes)}


def _from_parent(forest: Forest) -> Iterable[int]:
    """How long after its parent each span began; a root, after the run."""
    above: list[int] = []
    for node in forest.nodes:
        del above[node.depth :]
        yield node.start - (above[-1] if above else forest.first)
        above.append(node.start)


def _steps(numbers: list[int]) -> Iterable[int]:
    return (after - before for before, after in pairwise([0, *numbers]))


def _answered(log: list[Decision]) -> Iterable[int]:
    """Which decision an outcome is of, plus one."""
    places = {d.id: place for place, d in enumerate(log)}
    return (places.get(d.of or "", -1) + 1 for d in log)


def _known(number: int | None) -> int:
    return 0 if number is None else number + 1


class _Lines:
    """Makes a line of JSON of each record; `brief` keeps of digests what tells them apart."""

    __slots__ = ("brief", "shapes", "texts")

    def __init__(self, *, brief: bool) -> None:
        self.brief = brief
        self.shapes, self.texts = Table(), Table()

    def line(self, packed: bytes, spent: SpanUsage | None = None) -> bytes:
        found = orjson.loads(packed)
        if spent is not None:
            _spare(found.get("a", {}), spent)
        if "a" in found:
            found["a"] = self._shaped(found["a"])
        if "r" in found:
            found["r"] = self.texts.place(dumped(found["r"]))
        for event in found.get("e", ()):
            event[2] = self._shaped(event[2])
        return dumped(found)

    def _shaped(self, found: dict[str, Any]) -> list[Any]:
        return [self.shapes.place(tuple(found)), *map(self._value, found.values())]

    def _value(self, value: Any) -> Any:
        if self.brief and isinstance(value, str) and _DIGEST.fullmatch(value):
            return f"{value[:16]}\u2026 ({len(value)} digits)"
        return {"t": self.texts.place(dumped(value))} if _long(value) else value


def _spare(attributes: dict[str, Any], spent: SpanUsage) -> None:
    columns = zip(_USAGE, (*spent[:2], spent.nano_usd), strict=True)
    for name, number in columns:
        if number is not None and attributes.get(name) == number:
            attributes[name] = []


def _long(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, str) and len(value) > _LONG)
