"""Topics and the patterns that match them, by segments."""

from typing import Any

from waybell_bus._errors import TopicError


def segments(topic: str) -> list[str]:
    """The parts of a topic or pattern; `:` and `.` separate alike."""
    return topic.replace(":", ".").split(".")


def canonical(topic: str) -> str:
    """The one spelling by which equal topics are kept."""
    return topic.replace(":", ".")


def _check_text(topic: object) -> list[str]:
    if not isinstance(topic, str):
        raise TopicError(topic, "is not text")
    parts = segments(topic)
    if "" in parts:
        raise TopicError(topic, "has an empty segment")
    return parts


def check_topic(topic: object) -> list[str]:
    """Split a topic that can be sent.

    Raises:
        TopicError: If a segment is empty or has a wildcard in it.
    """
    parts = _check_text(topic)
    if "*" in str(topic):
        raise TopicError(topic, "has a wildcard, and can be matched but not sent")
    return parts


def check_pattern(pattern: object) -> list[str]:
    """Split a pattern that can be registered.

    Raises:
        TopicError: If a segment is empty, mixes `*` with other text, or is a `**`
            before the end.
    """
    parts = _check_text(pattern)
    for at, part in enumerate(parts, 1):
        if part == "**":
            if at < len(parts):
                raise TopicError(pattern, "has '**' before its end")
        elif "*" in part and part != "*":
            raise TopicError(pattern, "mixes '*' with other text in one segment")
    return parts


def specificity(pattern: str) -> tuple[int, int]:
    """How narrow a pattern is: its literal segments, then its single wildcards."""
    parts = segments(pattern)
    stars = parts.count("*")
    return len(parts) - stars - parts.count("**"), stars


class Trie:
    """Patterns with wildcards, found by the topics they match."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        # A node maps a segment to a node, and None to the pattern that ends here.
        self._root: dict[str | None, Any] = {}

    def add(self, pattern: str) -> None:
        """Keep a pattern; adding it again changes nothing."""
        node = self._root
        for part in segments(pattern):
            node = node.setdefault(part, {})
        node[None] = pattern

    def discard(self, pattern: str) -> None:
        """Forget a pattern, and the nodes that only it needed."""
        node = self._root
        path: list[tuple[dict[str | None, Any], str]] = []
        for part in segments(pattern):
            if part not in node:
                return
            path.append((node, part))
            node = node[part]
        node.pop(None, None)
        for above, part in reversed(path):
            if above[part]:
                return
            del above[part]

    def match(self, parts: list[str]) -> list[str]:
        """Every pattern that matches, in no particular order."""
        found: list[str] = []
        level: list[dict[str | None, Any]] = [self._root]
        for part in parts:
            below: list[dict[str | None, Any]] = []
            for node in level:
                if "**" in node:
                    found.append(node["**"][None])
                if part in node:
                    below.append(node[part])
                if "*" in node:
                    below.append(node["*"])
            if not below:
                return found
            level = below
        found.extend(node[None] for node in level if None in node)
        return found
