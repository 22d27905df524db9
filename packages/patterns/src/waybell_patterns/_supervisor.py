"""Supervisor: a worker and a reviewer in turns, until a structured approval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from waybell_budget import BudgetExceeded
from waybell_deadline import DeadlineExceeded
from waybell_patterns._call import Agent
from waybell_patterns._pattern import Pattern, Run, Worker
from waybell_patterns._results import Supervised, Verdict, text_of


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def compose_revision(prompt: str, draft: str, problems: Sequence[str]) -> str:
    """The worker's prompt for a revision."""
    return f"{prompt}\n\nDraft:\n{draft}\n\nProblems:\n{_bullets(problems)}"


def compose_review(prompt: str, draft: str, rules: Sequence[str]) -> str:
    """The reviewer's prompt."""
    stated = f"\n\nRules:\n{_bullets(rules)}" if rules else ""
    return (
        f"{prompt}\n\nDraft:\n{draft}{stated}\n\nAnswer with JSON only: "
        '{"approved": true or false, "problems": ["..."]}'
    )


@dataclass(slots=True)
class _Progress:
    """What a run has so far; it survives whatever ends the run."""

    draft: Any = None
    reviews: list[Verdict] = field(default_factory=list[Verdict])


class Supervisor(Pattern[Supervised]):
    """Let a worker draft and a reviewer judge until the draft is approved.

    Every draft is reviewed, the last one too. A review that is not a verdict (see
    `Verdict.parse`) is asked for again, then counts as a rejection.

    Args:
        worker: Drafts from the prompt; then revises from the prompt, its draft and the
            problems found. By keyword it may also take `draft`, `problems`, `round`.
        reviewer: Judges a draft; by keyword it may also take `draft`, `rules`, `round`.
        rules: What the reviewer holds the draft against.
        max_rounds: Reviews at the most.
        repairs: How often one review that is no verdict is asked for again.
        revise: Makes the worker's prompt from `(prompt, draft, problems)`.
        review: Makes the reviewer's prompt from `(prompt, draft, rules)`.
        bus, budget, deadline, log, tracer: As in every pattern.

    Raises:
        ValueError: `max_rounds` below 1, or `repairs` below 0.
    """

    __slots__ = (
        "_max_rounds", "_repairs", "_review", "_reviewer", "_revise", "_rules", "_worker",
    )  # fmt: skip

    def __init__(
        self,
        worker: Agent,
        reviewer: Agent,
        *,
        rules: Sequence[str] = (),
        max_rounds: int = 3,
        repairs: int = 1,
        revise: Callable[[str, str, Sequence[str]], str] = compose_revision,
        review: Callable[[str, str, Sequence[str]], str] = compose_review,
        **setting: Any,
    ) -> None:
        super().__init__(**setting)
        if max_rounds < 1 or repairs < 0:
            raise ValueError(
                f"max_rounds={max_rounds!r} must be 1 or more, repairs={repairs!r} 0 or more"
            )
        self._worker = Worker(worker, self._bus, "worker")
        self._reviewer = Worker(reviewer, self._bus, "reviewer")
        self._rules = tuple(rules)
        self._max_rounds, self._repairs = max_rounds, repairs
        self._revise, self._review = revise, review

    async def _run(self, run: Run, prompt: str) -> Supervised:
        progress = _Progress()
        error: Exception | None = None
        verdict: Any = None
        try:
            async with run.wall():
                verdict = await self._rounds(run, prompt, progress)
        except DeadlineExceeded as raised:
            verdict, error = "timed_out", raised
        except BudgetExceeded as raised:
            verdict, error = "overspent", raised
        except Exception as raised:
            verdict, error = "failed", raised
        reviews = tuple(progress.reviews)
        run.record(
            "supervised", prompt=prompt, verdict=verdict, reviews=len(reviews),
            error=error and repr(error),
        )  # fmt: skip
        return Supervised(verdict, progress.draft, reviews, error, run.usd, run.seconds)

    async def _rounds(self, run: Run, prompt: str, progress: _Progress) -> str:
        asked, problems = prompt, tuple[str, ...]()
        for number in range(1, self._max_rounds + 1):
            extras: dict[str, Any] = {"round": number, "problems": list(problems)}
            if progress.draft is not None:
                extras["draft"] = text_of(progress.draft)
            try:
                progress.draft = await run.ask(self._worker, asked, **extras)
            except BudgetExceeded as error:
                # The reply that broke the budget was paid for: do not lose it.
                progress.draft = getattr(error, "reply", progress.draft)
                raise
            draft = text_of(progress.draft)
            verdict = await self._judge(run, prompt, draft, number)
            progress.reviews.append(verdict)
            run.record(
                "review", round=number, approved=verdict.approved,
                problems=list(verdict.problems), understood=verdict.understood,
            )  # fmt: skip
            if verdict.approved:
                return "approved"
            problems = verdict.problems
            asked = self._revise(prompt, draft, problems)
        return "exhausted"

    async def _judge(self, run: Run, prompt: str, draft: str, number: int) -> Verdict:
        asked = self._review(prompt, draft, self._rules)
        extras: dict[str, Any] = {
            "draft": draft, "rules": list(self._rules), "round": number,
        }  # fmt: skip
        verdict = Verdict(approved=False, understood=False)
        for _ in range(1 + self._repairs):
            verdict = Verdict.parse(await run.ask(self._reviewer, asked, **extras))
            if verdict.understood:
                break
        return verdict
