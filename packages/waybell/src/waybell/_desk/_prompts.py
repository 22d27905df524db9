"""What the desk's agents are asked: instructions, then titled sections."""

from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

from waybell._desk._corpus import Passage


INTENTS = {
    "explain": "what something is, what it does, why it is so, what happens when",
    "locate": "where something is: which file, class, function or line",
    "guide": "how to do something, which steps, which command",
    "compare": "how two things differ, or which of them to take",
}
_WANTED = {
    "explain": "Explain what the passages say about it.",
    "locate": "Quote the line where it is, or where it is described.",
    "guide": "Quote the steps or the command.",
    "compare": "Quote what is said of each.",
}
RULES = (
    "At most 6 sentences.",
    "Every sentence cites its source.",
    "Every sentence is found in the passages.",
    "Answers the question.",
)


def classify(question: str) -> str:
    """Ask which of the intents a question has."""
    labels = "\n".join(f"- {name}: {about}" for name, about in INTENTS.items())
    return (
        "Classify the question by what it wants. Answer with JSON only: "
        '{"label": ..., "confidence": 0 to 1}.\n\n'
        f"Question: {question}\n\nLabels:\n{labels}"
    )


def passages(found: Sequence[Passage]) -> str:
    """The section of passages, numbered from 1 and indented."""
    lines = ["Passages:"]
    for number, passage in enumerate(found, start=1):
        title = f" {passage.title}" if passage.title else ""
        lines += [f"[{number}] {passage.source}{title}", indent(passage.text, "    ")]
    return "\n".join(lines)


def draft(intent: str, question: str, results: Mapping[str, Any]) -> str:
    """Ask for an answer from the passages."""
    return (
        f"Answer the question from the passages, in at most 3 sentences. "
        f"{_WANTED[intent]} Cite each sentence like [1].\n\n"
        f"Question: {question}\n\n{results['research'].text}"
    )


def review(question: str, text: str, found: str) -> str:
    """Ask for a verdict on a draft."""
    return (
        "Review the draft against the rules. Answer with JSON only: "
        '{"approved": true or false, "problems": [...]}.\n\n'
        f"Question: {question}\n\n{_rules()}\n\nDraft:\n{indent(text, '    ')}\n\n{found}"
    )


def revise(question: str, text: str, problems: Sequence[str], found: str) -> str:
    """Ask for a better draft."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return (
        "Revise the draft so that no problem is left and no rule is broken. "
        "Cite each sentence like [1].\n\n"
        f"Question: {question}\n\nProblems:\n{listed}\n\n{_rules()}\n\n"
        f"Draft:\n{indent(text, '    ')}\n\n{found}"
    )


def _rules() -> str:
    return "Rules:\n" + "\n".join(f"- {rule}" for rule in RULES)
