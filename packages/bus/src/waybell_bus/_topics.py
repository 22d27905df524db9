"""Topics and the patterns that match them, by segments."""

from typing import Any

from waybell_bus._errors import TopicError


_Node = dict[str | None, Any]  # From a segment to a node; from None to a pattern.


def canonical(topic: str) -> str:
    """The one spelling by which equal topics are kept: `:` and `.` are alike."""
    return topic.replace(":", ".")


def check_topic(topic: Any, *, wild: bool = False) -> list[str]:
    """The segments of a topic to be sent or, if `wild`, of a pattern.

    Raises:
        TopicError: If it is not well formed.
    """
    if not isinstance(topic, str):
        raise TopicError(topic, "is not text")
    parts = canonical(topic).split(".")
    if "" in parts:
        raise TopicError(topic, "has an empty segment")
    if "*" in topic and not wild:
        raise TopicError(topic, "is a pattern: it can be listened to, not sent")
    last = parts[-1] == "**"
    if "*" in "".join(part for part in parts[: len(parts) - last] if part != "*"):
        raise TopicError(topic, "has a '*' inside a segment, or a '**' before its end")
    return parts


def specificity(pattern: str) -> tuple[int, int]:
    """How narrow a canonical pattern is: its literal segments, then its `*`."""
    parts = pattern.split(".")
    stars = parts.count("*")
    return len(parts) - stars - parts.count("**"), stars


class Trie:
    """Canonical patterns, found by the topics they match."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node = {}

    def add(self, pattern: str) -> None:
        """Keep a pattern."""
        node = self._root
        for part in pattern.split("."):
            node = node.setdefault(part, {})
        node[None] = pattern

    def discard(self, pattern: str) -> None:
        """Forget a pattern, and the nodes that only it needed."""
        path: list[_Node] = [self._root]
        parts = pattern.split(".")
        for part in parts:
            path.append(path[-1][part])
        del path[-1][None]
        while parts and not path.pop():
            del path[-1][parts.pop()]

    def match(self, parts: list[str]) -> list[str]:
        """Every pattern that matches, in no particular order."""
        found: list[str] = []
        level = [self._root]
        for part in parts:
            found += [node["**"][None] for node in level if "**" in node]
            level = [node[p] for node in level for p in (part, "*") if p in node]
        return found + [node[None] for node in level if None in node]
