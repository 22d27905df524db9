"""What the patterns return: typed, and naming what is missing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Self

from waybell_patterns._errors import IncompleteError


def text_of(value: object) -> str:
    """The text of an answer: its `text` if it has one, else its `str`."""
    text = getattr(value, "text", None)
    return text if isinstance(text, str) else str(value)


class Result:
    """What all results share: whether they are whole, and the value if they are."""

    __slots__ = ()
    error: Exception | None

    @property
    def ok(self) -> bool:
        """Whether nothing is missing."""
        return self._lack() is None

    def unwrap(self) -> Any:
        """The value.

        Raises:
            IncompleteError: Something is missing; the result is its `result`.
        """
        lack = self._lack()
        if lack is None:
            return self._worth()
        raise IncompleteError(lack, self) from self.error

    def __str__(self) -> str:
        return text_of(self._worth())

    def _lack(self) -> str | None:
        return None

    def _worth(self) -> Any:
        return getattr(self, "value")  # noqa: B009 - a field of the subclass


@dataclass(frozen=True, slots=True)
class Routed(Result):
    """Where a prompt went, and what was answered there.

    Args:
        intent: What the classifier said.
        confidence: How sure it was, 0 to 1; None if it gave no figure.
        route: The route taken: the intent, or the default one.
        value: The answer.
        usd: US dollars spent, classifying included.
        seconds: Wall time.
    """

    intent: str
    confidence: float | None
    route: str
    value: Any
    usd: Decimal
    seconds: float


@dataclass(frozen=True, slots=True)
class PipelineResult(Result):
    """What each stage returned, and where the walk ended.

    Args:
        results: Answers of the stages that finished, by name, in order.
        failed: The stage that ended the walk, or None.
        error: What it raised.
        missing: The stages that never ran.
        resumed: The stages whose answers came from the journal.
        usd: US dollars spent by this run.
        seconds: Wall time.
    """

    results: Mapping[str, Any]
    failed: str | None
    error: Exception | None
    missing: tuple[str, ...]
    resumed: tuple[str, ...]
    usd: Decimal
    seconds: float

    @property
    def value(self) -> Any:
        """The answer of the last stage that finished, or None."""
        return list(self.results.values())[-1] if self.results else None

    def _lack(self) -> str | None:
        if self.failed is None:
            return None
        rest = f"; never ran: {', '.join(self.missing)}" if self.missing else ""
        return f"stage {self.failed!r} failed ({self.error!r}){rest}"


@dataclass(frozen=True, slots=True)
class BroadcastResult(Result):
    """Who answered, who failed, who was late.

    Args:
        answers: Answers by agent, in the agents' order.
        failures: Errors by agent.
        late: Answers by agent that came in the grace time.
        missing: The agents that had not answered at the end and were cancelled.
        quorum: How many answers were asked for.
        value: What `aggregate` made of the answers; None below the quorum.
        error: What `aggregate` raised, or None.
        usd: US dollars spent, the late ones' included.
        seconds: Wall time.
    """

    answers: Mapping[str, Any]
    failures: Mapping[str, Exception]
    late: Mapping[str, Any]
    missing: tuple[str, ...]
    quorum: int
    value: Any
    error: Exception | None
    usd: Decimal
    seconds: float

    def _lack(self) -> str | None:
        if self.error is not None:
            return f"aggregate failed: {self.error!r}"
        if len(self.answers) >= self.quorum:
            return None
        why = [f"{name} failed ({error!r})" for name, error in self.failures.items()]
        why += [f"{name} was late" for name in (*self.late, *self.missing)]
        return f"{len(self.answers)} of {self.quorum} answers: {'; '.join(why)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reviewer's structured decision.

    Args:
        approved: Whether the draft may go out as it is.
        problems: What is wrong with it, for the next revision.
        understood: False if the reviewer's answer was no verdict at all.
    """

    approved: bool
    problems: tuple[str, ...] = ()
    understood: bool = True

    @classmethod
    def parse(cls, answer: object) -> Self:
        """Read a verdict from what a reviewer returned.

        Args:
            answer: A `Verdict`, a bool, a mapping with a boolean `approved` and
                optional `problems`, or its JSON text, in a Markdown fence or not.
                Anything else, a sentence with the word "approved" in it included, is
                a rejection with `understood=False`.
        """
        if isinstance(answer, cls):
            return answer
        data = _fields(answer)
        approved: Any = data.get("approved")
        problems: Any = data.get("problems") or ()
        if not isinstance(approved, bool):
            said = text_of(answer)[:200]
            return cls(False, (f"the review was not a verdict: {said!r}",), False)
        whole = isinstance(problems, str | Mapping) or not hasattr(problems, "__iter__")
        listed: Any = [problems] if whole else problems
        return cls(approved, tuple(str(problem) for problem in listed))


def _fields(answer: Any) -> Mapping[str, Any]:
    if isinstance(answer, bool):
        return {"approved": answer}
    return answer if isinstance(answer, Mapping) else json_object(text_of(answer))


def json_object(text: str) -> Mapping[str, Any]:
    """The JSON object in a text, in a Markdown fence or not; empty if there is none."""
    body = text.strip()
    if body.startswith("```"):
        body = body.strip("`").removeprefix("json")
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True)
class Supervised(Result):
    """The last draft, every review of it, and how the loop ended.

    Args:
        verdict: Why the loop ended; only an "approved" draft was accepted.
        draft: The last draft, or None if there was none.
        reviews: The verdicts in order. The last one is of `draft` where the loop ended
            by itself: "approved" or "exhausted".
        error: What ended the loop otherwise.
        usd: US dollars spent.
        seconds: Wall time.
    """

    verdict: Literal["approved", "exhausted", "timed_out", "overspent", "failed"]
    draft: Any
    reviews: tuple[Verdict, ...]
    error: Exception | None
    usd: Decimal
    seconds: float

    def _lack(self) -> str | None:
        if self.verdict == "approved":
            return None
        problems = "; ".join(self.reviews[-1].problems) if self.reviews else ""
        found = f" ({problems})" if problems else ""
        return f"not approved: {self.verdict} after {len(self.reviews)} reviews{found}"

    def _worth(self) -> Any:
        return self.draft
