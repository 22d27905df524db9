"""What to say of a call that was not recorded."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from waybell_snap._diff import differences, shown
from waybell_snap._errors import RecordingMissing
from waybell_snap._match import canonical
from waybell_snap._tree import Node
from waybell_snap._values import dumps


_LOOKED_AT = 200  # recorded requests, and characters of each
_LONG = 4_000


def missing(
    node: Node, known: Sequence[Node], every: Sequence[Node], why: str
) -> RecordingMissing:
    """An error that says who asked what, and what was recorded instead.

    Args:
        node: The call.
        known: Recorded calls that are the same to a replay; all of them are taken.
        every: All that was recorded.
        why: What is wrong.
    """
    what = f"{node.kind} {node.where()}"
    lines = [f"{what} was not recorded: {why}"]
    if known and all(one.twin is not None and one.twin is not node for one in known):
        lines = [f"{what} was recorded {_times(len(known))}, and this is one more"]
    lines.append(f"  asked by: {' / '.join(node.path()) or 'the run itself'}")
    near = None if known else _nearest(node, every)
    if near is None:
        lines.append(f"  asked: {shown(dumps(node.given))}")
    else:
        lines.append(f"  nearest: {near.kind} {near.where()}, from which it differs in")
        found = differences(*(canonical(one.given, ids=True) for one in (near, node)))
        lines += [f"    {line}" for one in found for line in one.lines()]
    lines.append("  record the run again if it is meant to ask this")
    return RecordingMissing(
        "\n".join(lines),
        agent=node.path(),
        operation=f"{node.kind} {node.name} {node.op}".rstrip(),
        request=node.given,
        nearest=None if near is None else near.given,
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _nearest(node: Node, every: Sequence[Node]) -> Node | None:
    """The recorded call of the same kind that is most like it."""
    text = dumps(node.given)[:_LONG]

    def likeness(one: Node) -> tuple[bool, bool, float]:
        pair = SequenceMatcher(None, dumps(one.given)[:_LONG], text, autojunk=False)
        same = one.name == node.name and one.op == node.op
        return one.path() == node.path(), same, pair.quick_ratio()

    alike = [one for one in every if one.kind == node.kind]
    return max(alike[:_LOOKED_AT], key=likeness, default=None)
