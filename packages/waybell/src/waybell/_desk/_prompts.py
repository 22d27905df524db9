"""What the desk's agents are asked: instructions, then titled sections."""

from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

from waybell._desk._passages import Passage


INTENTS = {
    "explain": "what something is, what it does, why it is so, what happens when",
    "locate": "where something is: which file, class, function or line",
    "guide": "how to do something, which steps, which command",
    "compare": "how two things differ, or which of them to take",
    "overview": "a summary or an overview of all there is",
}
_WANTED = {
    "explain": "Explain what the passages say about it.",
    "locate": "Quote the line where it is, or where it is described.",
    "guide": "Quote the steps or the command.",
    "compare": "Quote what is said of each.",
    "overview": "Summarise what the passages are about.",
}
REFUSAL = "The passages do not answer this."
_RULES = (
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


def sought(intent: str, question: str, _: object) -> str:
    """What retrieval looks for: nothing in particular for an overview."""
    return "" if intent == "overview" else question


def rules(intent: str) -> tuple[str, ...]:
    """What a draft is held against; an overview may use other words than asked in."""
    return _RULES[:-1] if intent == "overview" else _RULES


def passages(found: Sequence[Passage]) -> str:
    """The section of passages, numbered from 1 and indented."""
    lines = ["Passages:"]
    for number, passage in enumerate(found, start=1):
        title = f" {passage.title}" if passage.title else ""
        lines += [f"[{number}] {passage.source}{title}", indent(passage.text, "    ")]
    return "\n".join(lines)


def draft(intent: str, question: str, results: Mapping[str, Any]) -> str:
    """Ask for an answer from the passages; for an overview from several of them."""
    found = results["research"]
    several = f"citing at least {min(3, len(found.passages))} passages"
    size = several if intent == "overview" else "in at most 3 sentences"
    return (
        f"{_WANTED[intent]} Answer the question from the passages, {size}. "
        "Cite each sentence like [1]. If there is nothing, say only: "
        f"{REFUSAL}\n\nQuestion: {question}\n\n{found.text}"
    )


def review(intent: str, question: str, text: str, found: str) -> str:
    """Ask for a verdict on a draft."""
    return (
        "Review the draft against the rules. Answer with JSON only: "
        '{"approved": true or false, "problems": [...]}.\n\n'
        f"Question: {question}\n\n{_listed(intent)}\n\nDraft:\n{indent(text, '    ')}\n\n{found}"
    )


def revise(
    intent: str, question: str, text: str, problems: Sequence[str], found: str
) -> str:
    """Ask for a better draft."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return (
        "Revise the draft so that no problem is left and no rule is broken. "
        "Cite each sentence like [1].\n\n"
        f"Question: {question}\n\nProblems:\n{listed}\n\n{_listed(intent)}\n\n"
        f"Draft:\n{indent(text, '    ')}\n\n{found}"
    )


def _listed(intent: str) -> str:
    return "Rules:\n" + "\n".join(f"- {rule}" for rule in rules(intent))
