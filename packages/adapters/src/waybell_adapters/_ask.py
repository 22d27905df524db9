"""The prompt form that the offline model reads: instructions, and titled sections."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from textwrap import dedent
from typing import Any, TypeVar

from waybell_adapters._prompt import texts
from waybell_adapters._text import Unit, content, units


T = TypeVar("T")
_NAMES = "Task|Question|Labels|Passages|Rules|Draft|Problems|Text"
# `Title:`, `## Title` or `<title>`, always at the very beginning of a line.
_TITLE = re.compile(
    rf"(?:(?P<colon>{_NAMES}):|#+ (?P<hash>{_NAMES}):?(?=\s*$)|"
    rf"<(?P<tag>{_NAMES.lower()})>)(?P<rest>.*)$"
)
_CLOSED = re.compile(rf"</(?:{_NAMES.lower()})>\s*$")
_MARK = re.compile(r"\[(\w[\w.-]*)\]\s*(.*)$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(.+)")
_AMONG = re.compile(
    r"\b(?:one of|among|into|either)\b[^:\n]{0,40}:\s*([^\n]+)", re.IGNORECASE
)
_TASKS = {
    task: re.compile(rf"\b(?:{verbs})\b", re.IGNORECASE)
    for task, verbs in {
        "research": r"research|pick|select|choose|rank|which passages|relevant",
        "summarise": r"summar\w+|shorten|condense|tl;dr",
        "revise": r"revise|rewrite|improve|correct",
        "review": r"review|check|judge|verify|critique",
        "classify": r"classify|label|route|categori[sz]e",
        "draft": r"draft|write|compose",
        "answer": r"answer|reply|explain",
    }.items()
}


class Ask:
    """What a prompt asks for.

    Args:
        head: The instructions, outside of any section.
        sections: The bodies by lower-case title.
        check: Raises when there is no more time; called again and again while working.
    """

    __slots__ = (
        "_check", "head", "json", "labels", "passages", "question", "sections", "told"
    )  # fmt: skip

    def __init__(
        self,
        head: str,
        sections: Mapping[str, str],
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._check = check
        self.head, self.sections = head, sections
        self.question = sections.get("question") or _last_question(head)
        # In a prompt without sections only its first line can be the instructions.
        first = head.split("\n", 1)[0].partition(":")[0]
        loose = first if len(first) < 200 and _verb(first) else ""
        self.told = head if sections else loose
        self.json = re.search(r"\bJSON\b", self.told) is not None
        self.labels = self._labels()
        self.passages = self._passages()

    @property
    def task(self) -> str:
        """What to do: as stated, else as the sections and the instructions suggest."""
        titled = self.sections.keys()
        return _verb(self.sections.get("task", "")) or (
            "revise" if {"draft", "problems"} <= titled
            else "review" if "draft" in titled
            else "classify" if self.labels and not titled & {"passages", "text"}
            else self._reading()
        )  # fmt: skip

    def _reading(self) -> str:
        verb = _verb(self.told)
        if verb == "summarise" or not content(self.question):
            return "summarise"
        return verb if verb in ("research", "draft") else "answer"

    @property
    def units(self) -> list[Unit]:
        """All that may be quoted, in order."""
        return [unit for passage in self.passages.values() for unit in passage]

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The same, while there is time."""
        for item in items:
            self._check()
            yield item

    def items(self, title: str) -> list[str]:
        """The items of a section's list, or its lines if it has no bullets."""
        lines = self.sections.get(title, "").splitlines()
        bullets = [item[1].strip() for line in lines if (item := _ITEM.match(line))]
        return bullets or [line.strip() for line in lines if line.strip()]

    def _loose_text(self) -> str:
        """What is left to read of a prompt that titles no text."""
        rest = self.head.replace(self.question, " ") if self.question else self.head
        left = rest.removeprefix(self.told).lstrip(": ")
        return rest if self.sections or not re.search(r"\w", left) else left

    def _labels(self) -> dict[str, str]:
        found = self.items("labels")
        if len(found) == 1 and ":" not in found[0]:
            found = found[0].split(",")
        if not found and (among := _AMONG.search(self.head)):
            found = re.split(r",\s*(?:or\s+)?|\s+or\s+", among[1][:2000].split(". ")[0])
        parts = (label.partition(":") for label in found)
        named = ((name.strip(" \t.`'\"*"), about.strip()) for name, _, about in parts)
        return {name: about for name, about in named if name}

    def _passages(self) -> dict[str, list[Unit]]:
        found: dict[str, tuple[str, list[str]]] = {}
        body: list[str] = []
        for line in self.sections.get("passages", "").splitlines():
            mark = _MARK.match(line)
            if mark and mark[1] not in found:
                body = []
                found[mark[1]] = (mark[2], body)
            else:
                body.append(line)
        if not found:
            text = self.sections.get("passages") or self.sections.get("text")
            return {"": units(text or self._loose_text())}
        return {
            mark: units(dedent("\n".join(lines)), mark, source)
            for mark, (source, lines) in self.each(found.items())
        }


def _last_question(text: str) -> str:
    end = text.rfind("?")
    start = max(text.rfind(mark, 0, max(end, 0)) for mark in ".!?\n")
    return text[start + 1 : end + 1].strip()


def read(
    messages: Iterable[Mapping[str, Any]], check: Callable[[], object] = lambda: None
) -> Ask:
    """Read a conversation; what is said later replaces what was said before.

    Args:
        messages: Checked messages; the model's own are only read as drafts.
        check: Raises when there is no more time.
    """
    heads: list[str] = []
    sections: dict[str, str] = {}
    said = ""
    for message in messages:
        if message["role"] == "assistant":
            said = texts(message) or said
            continue
        found = _sections(texts(message))
        heads.append(found.pop(""))
        sections.update(found)
    if said and "problems" in sections:
        sections.setdefault("draft", said)
    return Ask("\n".join(filter(None, heads)), sections, check)


def _sections(text: str) -> dict[str, str]:
    """The bodies by title; the instructions have none. A title counts only once."""
    bodies: dict[str, list[str]] = {"": []}
    name = ""
    for line in text.splitlines():
        title, rest = _opened(line)
        if title and title not in bodies:
            name = title
            bodies[name] = list(filter(None, [rest]))
        elif _ends(name, bodies[name], line):
            name = ""
        else:
            bodies[name].append(line)
    return {name: dedent("\n".join(body)).strip() for name, body in bodies.items()}


def _ends(name: str, body: list[str], line: str) -> bool:
    """A closing tag, or the end of a question: after its paragraph instructions go on."""
    over = name in ("question", "task") and body and not line.strip()
    return bool(over or _CLOSED.match(line))


def _opened(line: str) -> tuple[str, str]:
    """The section that a line opens, "" for none, and what already stands in it."""
    match = _TITLE.match(line)
    if match is None:
        return "", ""
    name = match["colon"] or match["hash"] or match["tag"]
    return name.lower(), _CLOSED.sub("", match["rest"]).strip()


def _verb(text: str) -> str:
    """The task whose verb comes first."""
    found = ((verbs.search(text), task) for task, verbs in _TASKS.items())
    places = ((verb.start(), task) for verb, task in found if verb)
    return min(places, default=(0, ""))[1]
