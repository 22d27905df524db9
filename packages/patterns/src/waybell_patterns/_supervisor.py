"""Supervisor: a worker and a reviewer in turns, until a structured approval."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, Unpack, cast

from waybell_budget import BudgetExceeded
from waybell_deadline import DeadlineExceeded
from waybell_patterns._agent import Agent
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import Result, fields_of, text_of
from waybell_patterns._run import Run, paid_reply


Compose = Callable[[str, str, Sequence[str]], str]
_ENDS = (DeadlineExceeded, "timed_out"), (BudgetExceeded, "overspent")


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
        return cls(approved, tuple(map(str, cast("list[object]", problems))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised(Result):
    """The last draft, every review, and how the loop ended.

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
        found += f": {self.error!r}" if self.error else ""
        return f"not approved: {self.verdict} after {len(self.reviews)} reviews{found}"


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


class Supervisor(Pattern[Supervised]):
    """Let a worker draft and a reviewer judge until the draft is approved.

    >>> done = Supervisor(str.title, lambda prompt, draft: len(draft) < 9).run_sync("hi")
    >>> done.verdict, done.draft
    ('approved', 'Hi')

    Every draft is reviewed, the last one too. After a review that is no verdict (see
    `Verdict.parse`) the same draft is reviewed again in the next round. Whatever ends
    the loop, the last draft and all reviews are in the result.

    Args:
        worker: Drafts from the prompt; then revises from the prompt, its draft and the
            problems found. By keyword it may also take `draft`, `problems`, `round`.
        reviewer: Judges a draft; by keyword it may also take `draft`, `rules`, `round`.
        rules: What the reviewer holds the draft against.
        max_rounds: Reviews at the most.
        revise: Makes the worker's prompt from `(prompt, draft, problems)`.
        review: Makes the reviewer's prompt from `(prompt, draft, rules)`.
        **setting: As in every pattern.

    Raises:
        ValueError: `max_rounds` below 1.
    """

    __slots__ = ("_review", "_reviewer", "_revise", "_rounds", "_rules", "_worker")

    def __init__(
        self,
        worker: Agent,
        reviewer: Agent,
        *,
        rules: Sequence[str] = (),
        max_rounds: int = 3,
        revise: Compose = compose_revision,
        review: Compose = compose_review,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        if max_rounds < 1:
            raise ValueError(f"{max_rounds=} must be 1 or more")
        self._worker = self._hire(worker, "worker")
        self._reviewer = self._hire(reviewer, "reviewer")
        self._rules, self._rounds = tuple(rules), max_rounds
        self._revise, self._review = revise, review

    async def _run(self, run: Run, prompt: str) -> Supervised:
        verdict: Any = None
        error: Exception | None = None
        drafts, reviews = list[Any](), list[Any]()
        try:
            async with run.wall():
                verdict = await self._loop(run, prompt, drafts, reviews)
        except Exception as raised:
            verdict, error = "failed", raised
            verdict = next((v for cls, v in _ENDS if isinstance(raised, cls)), verdict)
        return Supervised(
            verdict=verdict, draft=drafts[-1] if drafts else None,
            reviews=tuple(map(Verdict.parse, reviews)), error=error, **run.spent(),
        )  # fmt: skip

    async def _loop(
        self, run: Run, prompt: str, drafts: list[Any], reviews: list[Any]
    ) -> str:
        asked, verdict = prompt, Verdict(False)
        for number in range(1, self._rounds + 1):
            extras: dict[str, Any] = {"draft": text_of(drafts[-1])} if drafts else {}
            extras |= {"problems": [*verdict.problems], "round": number}
            if verdict.understood:
                await _keep(drafts, run.ask(self._worker, asked, **extras))
            draft = text_of(drafts[-1])
            extras = {"draft": draft, "rules": [*self._rules], "round": number}
            asked = self._review(prompt, draft, self._rules)
            await _keep(reviews, run.ask(self._reviewer, asked, **extras))
            verdict = Verdict.parse(reviews[-1])
            run.record("review", round=number, **asdict(verdict))
            if verdict.approved:
                return "approved"
            asked = self._revise(prompt, draft, verdict.problems)
        return "exhausted"


async def _keep(answers: list[Any], asking: Awaitable[Any]) -> None:
    """Keep an answer, also one that broke the budget: it was paid for."""
    try:
        answers.append(await asking)
    except Exception as error:
        if (paid := paid_reply(error)) is not None:
            answers.append(paid)
        raise
