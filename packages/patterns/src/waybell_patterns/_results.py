"""What the patterns return: typed, and naming what is missing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Self

from waybell_patterns._errors import IncompleteError


_ZERO = Decimal(0)


def text_of(value: object) -> str:
    """The text of an answer: its `text` if it has one, else its `str`."""
    text = getattr(value, "text", None)
    return text if isinstance(text, str) else str(value)


@dataclass(frozen=True, slots=True)
class Routed:
    """Where a prompt went, and what was answered there.

    Args:
        intent: What the classifier said.
        confidence: How sure it was, 0 to 1; None if it gave no figure.
        route: The route taken: the intent, or `default`.
        value: The answer of the agent at that route.
        usd: US dollars that classifying and answering cost.
        seconds: Wall time.
    """

    intent: str
    confidence: float | None
    route: str
    value: Any
    usd: Decimal = _ZERO
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Always true: a router that cannot route raises."""
        return True

    def unwrap(self) -> Any:
        """The answer."""
        return self.value

    def __str__(self) -> str:
        return text_of(self.value)


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What each stage returned, and where the walk ended.

    Args:
        results: Answers by stage, in order; only the stages that finished.
        failed: The stage that ended the walk, or None.
        error: What it raised.
        missing: The stages that never ran.
        resumed: The stages whose answers came from the journal.
        usd: US dollars spent by this run.
        seconds: Wall time.
    """

    results: Mapping[str, Any]
    failed: str | None = None
    error: Exception | None = None
    missing: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    usd: Decimal = _ZERO
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every stage finished."""
        return self.failed is None

    @property
    def value(self) -> Any:
        """The answer of the last stage that finished, or None."""
        return list(self.results.values())[-1] if self.results else None

    def unwrap(self) -> Any:
        """The answer of the last stage.

        Raises:
            IncompleteError: A stage failed; its error is the cause.
        """
        if self.failed is None:
            return self.value
        rest = f"; never ran: {', '.join(self.missing)}" if self.missing else ""
        raise IncompleteError(
            f"stage {self.failed!r} failed ({self.error!r}){rest}", self
        ) from self.error

    def __str__(self) -> str:
        return text_of(self.value)


@dataclass(frozen=True, slots=True)
class BroadcastResult:
    """Who answered, who failed, who was late.

    Args:
        answers: Answers by agent, in the agents' order.
        failures: Errors by agent.
        late: Answers that came in the grace time, after the result was settled.
        missing: The agents that had not answered at the end and were cancelled.
        quorum: How many answers were asked for.
        value: What `aggregate` made of the answers; None below the quorum.
        error: What `aggregate` raised, or None.
        usd: US dollars spent, the late ones' included.
        seconds: Wall time.
    """

    answers: Mapping[str, Any]
    failures: Mapping[str, Exception] = field(default_factory=dict)
    late: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    quorum: int = 1
    value: Any = None
    error: Exception | None = None
    usd: Decimal = _ZERO
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether at least `quorum` agents answered and were aggregated."""
        return len(self.answers) >= self.quorum and self.error is None

    def unwrap(self) -> Any:
        """The aggregated value.

        Raises:
            IncompleteError: Fewer answers than the quorum, or `aggregate` failed.
        """
        if self.ok:
            return self.value
        if self.error is not None:
            raise IncompleteError(f"aggregate failed: {self.error!r}", self) from (
                self.error
            )
        why = [f"{name} failed ({error!r})" for name, error in self.failures.items()]
        why += [f"{name} was late" for name in self.missing]
        raise IncompleteError(
            f"{len(self.answers)} of the {self.quorum} answers asked for: "
            + "; ".join(why),
            self,
        )

    def __str__(self) -> str:
        return text_of(self.value)


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
                optional `problems`, or the JSON text of one (a Markdown fence
                around it is allowed). Anything else, a sentence with the word
                "approved" in it included, is a verdict with `understood=False`.
        """
        if isinstance(answer, cls):
            return answer
        if isinstance(answer, bool):
            return cls(answer)
        data = answer if isinstance(answer, Mapping) else _json_object(text_of(answer))
        approved = data.get("approved") if data is not None else None
        if data is None or not isinstance(approved, bool):
            said = text_of(answer)[:200]
            return cls(False, (f"the review was not a verdict: {said!r}",), False)
        problems = data.get("problems") or ()
        listed = [problems] if isinstance(problems, str) else problems
        return cls(approved, tuple(str(problem) for problem in listed))


def _json_object(text: str) -> Mapping[str, Any] | None:
    body = text.strip()
    if body.startswith("```"):
        body = body.strip("`").removeprefix("json").strip()
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


@dataclass(frozen=True, slots=True)
class Supervised:
    """The last draft, every review of it, and how the loop ended.

    Args:
        verdict: Why the loop ended. Only "approved" drafts were accepted.
        draft: The last draft, or None if there was none.
        reviews: Verdicts in order; the last one is of `draft` when the loop ended
            by itself ("approved" or "exhausted").
        error: What ended the loop, for the other verdicts.
        usd: US dollars spent.
        seconds: Wall time.
    """

    verdict: Literal["approved", "exhausted", "timed_out", "overspent", "failed"]
    draft: Any
    reviews: tuple[Verdict, ...] = ()
    error: Exception | None = None
    usd: Decimal = _ZERO
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the draft was approved."""
        return self.verdict == "approved"

    def unwrap(self) -> Any:
        """The approved draft.

        Raises:
            IncompleteError: It was not approved.
        """
        if self.ok:
            return self.draft
        open_problems = "; ".join(self.reviews[-1].problems) if self.reviews else ""
        raise IncompleteError(
            f"not approved: {self.verdict} after {len(self.reviews)} reviews"
            + (f" ({open_problems})" if open_problems else ""),
            self,
        ) from self.error

    def __str__(self) -> str:
        return text_of(self.draft)
