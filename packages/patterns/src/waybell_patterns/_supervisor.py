"""Supervisor: a worker and a reviewer in turns, until a structured approval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

from waybell_budget import BudgetExceeded
from waybell_deadline import DeadlineExceeded
from waybell_patterns._agent import Agent
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import Supervised, Verdict, text_of
from waybell_patterns._run import Run, paid_reply


Compose = Callable[[str, str, Sequence[str]], str]


def compose_revision(prompt: str, draft: str, problems: Sequence[str]) -> str:
    """The worker's prompt for a revision."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return f"{prompt}\n\nDraft:\n{draft}\n\nProblems:\n{listed}"


def compose_review(prompt: str, draft: str, rules: Sequence[str]) -> str:
    """The reviewer's prompt."""
    stated = "\n\nRules:\n" + "\n".join(f"- {rule}" for rule in rules) if rules else ""
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

    >>> done = Supervisor(str.title, lambda prompt, draft: len(draft) < 9).run_sync("hi")
    >>> done.verdict, done.draft
    ('approved', 'Hi')

    Every draft is reviewed, the last one too. A review that is not a verdict (see
    `Verdict.parse`) is asked for again, then counts as a rejection. Whatever ends the
    loop, the last draft and all reviews are in the result.

    Args:
        worker: Drafts from the prompt; then revises from the prompt, its draft and the
            problems found. By keyword it may also take `draft`, `problems`, `round`.
        reviewer: Judges a draft; by keyword it may also take `draft`, `rules`, `round`.
        rules: What the reviewer holds the draft against.
        max_rounds: Drafts at the most.
        repairs: How often one review that is no verdict is asked for again.
        revise: Makes the worker's prompt from `(prompt, draft, problems)`.
        review: Makes the reviewer's prompt from `(prompt, draft, rules)`.
        **setting: As in every pattern.

    Raises:
        ValueError: `max_rounds` below 1, or `repairs` below 0.
    """

    __slots__ = ("_compose", "_repairs", "_reviewer", "_rounds", "_rules", "_worker")

    def __init__(
        self,
        worker: Agent,
        reviewer: Agent,
        *,
        rules: Sequence[str] = (),
        max_rounds: int = 3,
        repairs: int = 1,
        revise: Compose = compose_revision,
        review: Compose = compose_review,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        if max_rounds < 1 or repairs < 0:
            raise ValueError(
                f"{max_rounds=} must be 1 or more, and {repairs=} not negative"
            )
        self._worker = self._hire(worker, "worker")
        self._reviewer = self._hire(reviewer, "reviewer")
        self._rules, self._rounds, self._repairs = tuple(rules), max_rounds, repairs
        self._compose = (revise, review)

    async def _run(self, run: Run, prompt: str) -> Supervised:
        progress = _Progress()
        error: Exception | None = None
        verdict: Any = None
        try:
            async with run.wall():
                verdict = await self._loop(run, prompt, progress)
        except DeadlineExceeded as raised:
            verdict, error = "timed_out", raised
        except BudgetExceeded as raised:
            verdict, error = "overspent", raised
        except Exception as raised:
            verdict, error = "failed", raised
        return Supervised(
            verdict=verdict, draft=progress.draft, reviews=tuple(progress.reviews),
            error=error, **run.spent(),
        )  # fmt: skip

    async def _loop(self, run: Run, prompt: str, progress: _Progress) -> str:
        asked, problems = prompt, tuple[str, ...]()
        for number in range(1, self._rounds + 1):
            extras: dict[str, Any] = {"round": number, "problems": list(problems)}
            if progress.draft is not None:
                extras["draft"] = text_of(progress.draft)
            try:
                progress.draft = await run.ask(self._worker, asked, **extras)
            except Exception as error:
                if (paid := paid_reply(error)) is not None:
                    progress.draft = paid
                raise
            draft = text_of(progress.draft)
            await self._judge(run, prompt, draft, number, progress.reviews)
            if progress.reviews[-1].approved:
                return "approved"
            problems = progress.reviews[-1].problems
            asked = self._compose[0](prompt, draft, problems)
        return "exhausted"

    async def _judge(
        self, run: Run, prompt: str, draft: str, number: int, reviews: list[Verdict]
    ) -> None:
        asked = self._compose[1](prompt, draft, self._rules)
        extras: dict[str, Any] = {"draft": draft, "rules": list(self._rules)}
        verdict: Verdict | None = None
        try:
            for _ in range(1 + self._repairs):
                answer = await run.ask(self._reviewer, asked, round=number, **extras)
                verdict = Verdict.parse(answer)
                if verdict.understood:
                    break
        except Exception as error:
            if (paid := paid_reply(error)) is not None:
                verdict = Verdict.parse(paid)
            raise
        finally:
            if verdict is not None:
                reviews.append(verdict)
                run.record(
                    "review", round=number, approved=verdict.approved,
                    problems=list(verdict.problems), understood=verdict.understood,
                )  # fmt: skip
