"""What the patterns return: typed, and naming what is missing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal, Self, cast

from waybell_patterns._errors import IncompleteError


def text_of(value: object) -> str:
    """The text of an answer: its `text` if it has one, else its `str`."""
    text = getattr(value, "text", None)
    return text if isinstance(text, str) else str(value)


_UNTOLD = {"value", "draft", "reviews", "usd", "seconds"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What all results share.

    Args:
        error: What ended the run early, or None.
        usd: US dollars spent.
        seconds: Time it took.
    """

    error: Exception | None = None
    usd: Decimal = Decimal(0)
    seconds: float = 0.0

    @property
    def lack(self) -> str | None:
        """What is missing, in words; None where nothing is."""
        return None

    @property
    def ok(self) -> bool:
        """Whether nothing is missing."""
        return self.lack is None

    def unwrap(self) -> Any:
        """The value.

        Raises:
            IncompleteError: Something is missing; the result is its `result`.
        """
        if self.lack is None:
            return getattr(self, "value")  # noqa: B009 - a field of the subclass
        raise IncompleteError(self.lack, self) from self.error

    def told(self) -> dict[str, Any]:
        """What a record of it says: who did what, but no answers, which have theirs."""
        told: dict[str, Any] = {"outcome": "ok" if self.ok else "incomplete"}
        for name in (each.name for each in fields(self) if each.name not in _UNTOLD):
            value: Any = getattr(self, name)
            told[name] = [*value] if isinstance(value, Mapping) else value
        return {**told, "error": self.error and repr(self.error)}

    def __str__(self) -> str:
        return text_of(getattr(self, "value"))  # noqa: B009 - a field of the subclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed(Result):
    """Where a prompt went, and what was answered there.

    Args:
        intent: What the classifier said.
        confidence: How sure it was, 0 to 1; None if it gave no figure.
        route: The route taken: the intent, or the default one.
        value: The answer.
    """

    intent: str
    confidence: float | None
    route: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineResult(Result):
    """What each stage returned, and where the walk ended.

    Args:
        results: Answers by stage, in order.
        failed: The stage that ended the walk, or None. Its answer is in `results` if
            only the journal could not keep it.
        missing: The stages that never ran.
        resumed: The stages whose answers came from the journal.
    """

    results: Mapping[str, Any]
    failed: str | None = None
    missing: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()

    @property
    def value(self) -> Any:
        """The answer of the last stage that finished, or None."""
        return list(self.results.values())[-1] if self.results else None

    @property
    def lack(self) -> str | None:
        """Which stage failed, and which never ran."""
        if self.failed is None:
            return None
        rest = f"; never ran: {', '.join(self.missing)}" if self.missing else ""
        return f"stage {self.failed!r} failed ({self.error!r}){rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastResult(Result):
    """Who answered, who failed, who was late.

    Args:
        answers: Answers by agent, in the agents' order.
        failures: Errors by agent.
        late: Answers by agent that came after the result was settled.
        missing: The agents that had not answered at the end and were cancelled.
        quorum: How many answers were asked for.
        value: What `aggregate` made of the answers, by default the answers; None below
            the quorum.
        error: What `aggregate` raised, or None.
    """

    answers: Mapping[str, Any]
    failures: Mapping[str, Exception]
    late: Mapping[str, Any]
    missing: tuple[str, ...]
    quorum: int
    value: Any = None

    @property
    def lack(self) -> str | None:
        """Which answers are missing, and why."""
        if self.error is not None:
            return f"{len(self.answers)} answers, but {self.error!r}"
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
        data = {"approved": answer} if isinstance(answer, bool) else fields_of(answer)
        approved, problems = data.get("approved"), data.get("problems") or ()
        if not isinstance(approved, bool):
            said = text_of(answer)[:200]
            return cls(False, (f"the review was not a verdict: {said!r}",), False)
        if not isinstance(problems, list | tuple):
            problems = (problems,)
        return cls(
            approved, tuple(str(each) for each in cast("list[object]", problems))
        )


def fields_of(answer: object) -> Mapping[str, Any]:
    """A mapping, or the JSON object in a text, in a Markdown fence or not; else {}."""
    data: object = answer
    if not isinstance(answer, Mapping):
        body = text_of(answer).strip()
        if body.startswith("```"):
            body = body.strip("`").removeprefix("json")
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return {}
    return cast("Mapping[str, Any]", data) if isinstance(data, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised(Result):
    """The last draft, every review of it, and how the loop ended.

    Args:
        verdict: Why the loop ended; only an "approved" draft was accepted.
        draft: The last draft, or None if there was none.
        reviews: The verdicts in order. The last one is of `draft` where the loop ended
            by itself: "approved" or "exhausted".
        error: What ended the loop otherwise.
    """

    verdict: Literal["approved", "exhausted", "timed_out", "overspent", "failed"]
    draft: Any = None
    reviews: tuple[Verdict, ...] = ()

    @property
    def value(self) -> Any:
        """The draft."""
        return self.draft

    @property
    def lack(self) -> str | None:
        """Why the draft is not approved."""
        if self.verdict == "approved":
            return None
        problems = "; ".join(self.reviews[-1].problems) if self.reviews else ""
        found = f" ({problems})" if problems else ""
        return f"not approved: {self.verdict} after {len(self.reviews)} reviews{found}"
