"""What became of the run, in one sentence."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from waybell_report._forest import Forest
from waybell_report._node import FAILED, INCOMPLETE, UNFINISHED, Decision, Node, caused


# Modules before a class; a file or a host with a colon behind it has no such name.
_PATH = re.compile(r"(?:(?:[^\W\d]\w*|<locals>)\.)+(?=_*[A-Z]\w*(?::|$))(?=\w*[a-z])")
_BAD = {"failed": FAILED, "unfinished": UNFINISHED, "incomplete": INCOMPLETE}


def bare(error: str) -> str:
    """An error as people read it: its class without the modules that define it."""
    error = caused(error)
    return error[found.end() :] if (found := _PATH.match(error)) else error


def lacking(forest: Forest, log: Iterable[Decision]) -> None:
    """Mark the spans that decisions of their own, which have their name, call incomplete."""
    for made in filter(lambda made: made.lack, log):
        span = forest.known.get(made.key)
        if span is not None and span.name == made.name and not span.error:
            span.flags, span.error = span.flags | INCOMPLETE, made.lack


def verdict(forest: Forest, owner: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """The state of the run, and the span that explains it.

    `state` is "failed" (a root failed), "unfinished" (one never ended), "incomplete" (a
    result lacks something), "handled" (what failed below was dealt with), "ok" or "empty";
    `at` is the explaining span's place, `agent` and `error` are that span's, `failed`,
    `unfinished` and `incomplete` count all spans. Of a journaled run that went on later,
    the last one decides.

    Args:
        forest: The spans.
        owner: The agent that each span is of.
    """
    nodes = forest.nodes
    past, bad = _past(nodes), dict[str, list[Node]]()
    for word, flag in _BAD.items():
        bad[word] = [node for node in nodes if node.flags & flag]
    at, state = _explained([r for r in forest.roots if r.key not in past], bad, past)
    state = state if nodes else "empty"
    found: dict[str, Any] = {"state": state, "at": None, "agent": "", "error": ""}
    if at is not None:
        found["at"] = nodes.index(at)
        found["agent"] = owner[at.key] or at.name
        found["name"] = at.name
        found["error"] = at.error
    return found | {word: len(spans) for word, spans in bad.items()}


def _past(nodes: list[Node]) -> set[tuple[str, str]]:
    """The spans of journaled runs that have gone on since, and those below them."""
    last = {node.run: node for node in sorted(nodes, key=lambda each: each.start)}
    past: set[tuple[str, str]] = set()
    for node in nodes:  # parents first
        if (node.run and last[node.run] is not node) or node.parent in past:
            past.add(node.key)
    return past


def _explained(
    roots: list[Node], bad: Mapping[str, list[Node]], past: set[tuple[str, str]]
) -> tuple[Node | None, str]:
    for root in roots:
        if root.failed:
            return _origin(root, FAILED), "failed"
    if open_ := [node for node in bad["unfinished"] if node.key not in past]:
        begun = next((r for r in roots if r.flags & UNFINISHED), open_[0])
        return _origin(begun, UNFINISHED), "unfinished"
    if bad["incomplete"]:
        return bad["incomplete"][0], "incomplete"
    if bad["failed"]:
        return _origin(bad["failed"][0], FAILED), "handled"
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
    agent, state = found["agent"], str(found["state"])
    count = int(found["incomplete" if state == "incomplete" else "failed"])
    what = "span" if count == 1 else "spans"
    return {
        "failed": f"failed: {agent}: {first}",
        "unfinished": f"did not finish: {agent} was still running",
        "incomplete": f"finished; {count} {what} incomplete, first {agent}: {first}",
        "handled": f"finished; {count} {what} failed on the way, first {agent}: {first}",
        "ok": "finished; nothing failed",
        "empty": "no span was recorded",
    }[state]
