"""What to say of a call that was not recorded."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import islice

from waybell_snap._diff import differences, shown
from waybell_snap._errors import RecordingMissing
from waybell_snap._match import canonical
from waybell_snap._tree import Node
from waybell_snap._values import dumps


_LOOKED_AT = 200  # recorded requests, and characters of each
_LONG = 4_000


def missing(
    node: Node, known: Sequence[Node], every: Iterable[Node], why: str
) -> RecordingMissing:
    """An error: who asked what, and what of `every` is nearest, if none is `known`."""
    near = None if known else _nearest(node, every)
    lines = [
        f"{node.kind} {node.where()} {_reason(node, known, why)}",
        f"  asked by: {' / '.join(node.path()) or 'the run itself'}",
        *_difference(node, near),
        "  record the run again (pytest --waybell-update) if it is meant to ask this",
    ]
    return RecordingMissing(
        "\n".join(lines), agent=node.path(), request=node.given,
        operation=f"{node.kind} {node.name} {node.op}".rstrip(), nearest=near and near.given,
    )  # fmt: skip


def _reason(node: Node, known: Sequence[Node], why: str) -> str:
    taken = [one for one in known if one.twin is not node]
    if not taken:
        return f"was not recorded: {why}"
    times = "once" if len(taken) == 1 else f"{len(taken)} times"
    return f"was recorded {times}, and this is one more"


def _difference(node: Node, near: Node | None) -> list[str]:
    if near is None:
        return [f"  asked: {shown(dumps(node.given))}"]
    forms = (canonical(one.given, ids=node.kind == "call") for one in (near, node))
    found = (line for one in differences(*forms) for line in one.lines())
    head = f"  nearest: {near.kind} {near.where()}, from which it differs in"
    return [head, *(f"    {line}" for line in found)]


def _nearest(node: Node, every: Iterable[Node]) -> Node | None:
    """The recorded call of the same kind that is most like it."""
    text = dumps(node.given)[:_LONG]

    def likeness(one: Node) -> tuple[bool, bool, float]:
        pair = SequenceMatcher(None, dumps(one.given)[:_LONG], text, autojunk=False)
        same = one.name == node.name and one.op == node.op
        return one.path() == node.path(), same, pair.quick_ratio()

    alike = (one for one in every if one.kind == node.kind)
    return max(islice(alike, _LOOKED_AT), key=likeness, default=None)
