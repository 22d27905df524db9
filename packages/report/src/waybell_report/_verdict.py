"""What became of the run, in one sentence."""

import re
from collections.abc import Mapping
from typing import Any

from waybell_report._forest import Forest
from waybell_report._node import FAILED, UNFINISHED, Node


# Modules before a class; a file or a host with a colon behind it has no such name.
_PATH = re.compile(r"(?:(?:[^\W\d]\w*|<locals>)\.)+(?=_*[A-Z]\w*(?::|$))(?=\w*[a-z])")


def bare(error: str) -> str:
    """An error as people read it: its class without the modules that define it."""
    return error[found.end() :] if (found := _PATH.match(error)) else error


def verdict(forest: Forest, owner: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """The state of the run, and the span that explains it.

    `state` is "failed" (a root failed), "unfinished" (one never ended), "handled" (what
    failed below was dealt with), "ok" or "empty"; `at` is the explaining span's place,
    `agent` and `error` are that span's, `failed` and `unfinished` count all spans.

    Args:
        forest: The spans.
        owner: The agent that each span is of.
    """
    nodes = forest.nodes
    failed = [node for node in nodes if node.failed]
    open_ = [node for node in nodes if node.flags & UNFINISHED]
    at, state = _explained(forest.roots, failed, open_)
    state = state if nodes else "empty"
    found: dict[str, Any] = {"state": state, "at": None, "agent": "", "error": ""}
    if at is not None:
        found["at"] = nodes.index(at)
        found["agent"] = owner[at.key] or at.name
        found["name"] = at.name
        found["error"] = at.error
    return {**found, "failed": len(failed), "unfinished": len(open_)}


def _explained(
    roots: list[Node], failed: list[Node], unfinished: list[Node]
) -> tuple[Node | None, str]:
    for root in roots:
        if root.failed:
            return _origin(root, FAILED), "failed"
    if unfinished:
        begun = next((r for r in roots if r.flags & UNFINISHED), unfinished[0])
        return _origin(begun, UNFINISHED), "unfinished"
    if failed:
        return _origin(failed[0], FAILED), "handled"
    return None, "ok"


def _origin(node: Node, flag: int) -> Node:
    """The deepest span below `node` that is so too: where it began."""
    while below := [child for child in node.below if child.flags & flag]:
        same = [child for child in below if child.error == node.error]
        node = max(same or below, key=lambda child: child.over(2**63))
    return node


def sentence(found: Mapping[str, Any]) -> str:
    """The verdict for a terminal and a title."""
    first = bare(str(found["error"]).strip()).partition("\n")[0]
    agent, count = found["agent"], found["failed"]
    what = "span" if count == 1 else "spans"
    return {
        "failed": f"failed: {agent}: {first}",
        "unfinished": f"did not finish: {agent} was still running",
        "handled": f"finished; {count} {what} failed on the way, first {agent}: {first}",
        "ok": "finished; nothing failed",
        "empty": "no span was recorded",
    }[str(found["state"])]
