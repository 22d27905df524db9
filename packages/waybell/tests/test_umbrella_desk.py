"""The desk itself, its agents and its record, without the command around it."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from waybell._desk._desk import Answer, Desk, cited, renumbered
from waybell._desk._passages import Passage
from waybell_adapters import OfflineAdapter, Reply
from waybell_budget import BudgetPool
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_decisions import DecisionLog
from waybell_patterns import IncompleteError
from waybell_trace import Tracer, read_traces


PASSAGES = [
    Passage("budget.md", 1, 1, "Budget", "A hold is granted if it fits under the cap."),
    Passage("deadline.md", 1, 1, "Time", "A deadline travels as its remaining time."),
    Passage("bus.md", 1, 1, "Bus", "Order is kept for each subscriber of a topic."),
]
QUESTION = "When is a hold granted?"


class Faulty(OfflineAdapter):
    """Answers prompts that begin with a word by something else, or by raising."""

    __slots__ = ("answer", "begins")

    def __init__(self, begins: str, answer: Any) -> None:
        super().__init__()
        self.begins, self.answer = begins, answer

    def generate(self, prompt: Any, **options: Any) -> Reply:
        if not prompt.startswith(self.begins):
            return super().generate(prompt, **options)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, Reply):
            return self.answer
        return Reply(self.answer, cost=0, model="faulty")


class Hanging(OfflineAdapter):
    """Never answers."""

    __slots__ = ()

    async def agenerate(self, prompt: Any, **_: Any) -> Reply:
        return await asyncio.get_running_loop().create_future()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Tracer, DecisionLog]]:
    with (
        Tracer(tmp_path / "traces.jsonl", capture="text") as tracer,
        DecisionLog(tmp_path / "decisions.jsonl") as log,
    ):
        yield tracer, log


def desk(files: tuple[Tracer, DecisionLog], **setting: Any) -> Desk:
    tracer, log = files
    given: dict[str, Any] = {
        "model": OfflineAdapter(),
        "pool": BudgetPool(usd="0.50"),
        "fault_rate": 0.0,
    }
    return Desk(PASSAGES, tracer=tracer, log=log, **(given | setting))


async def asked(made: Desk, seconds: float = 30) -> Answer:
    return await made.ask(QUESTION, Deadline(seconds=seconds))


async def test_an_answer_quotes_and_cites_what_was_found(files: Any) -> None:
    answer = await asked(desk(files))
    assert "A hold is granted if it fits under the cap. [1]" in answer.text
    assert answer.sources[1] == PASSAGES[0]
    assert (answer.verdict, answer.problems) == ("approved", ())
    assert answer.strategies == ("bm25", "trigram", "outline")


@pytest.mark.parametrize("cap", ["0.50", None])
async def test_a_refusal_of_the_writer_is_accepted_without_a_review(
    files: Any, cap: str | None
) -> None:
    refusal = "The passages do not answer this."
    pool = BudgetPool(usd=cap)
    made = desk(files, model=Faulty("Explain", refusal), pool=pool)
    answer = await asked(made)
    assert (answer.text, answer.verdict, answer.sources) == (refusal, "not needed", {})
    assert not list(made.log.query("review"))
    assert pool.snapshot().unreported == 0


def test_sources_are_counted_from_1_in_the_order_of_their_mention() -> None:
    text = "Two. [3] [1] Seven. [7] `kept[1] = 2` Again. [3]"
    sources = cited(text, PASSAGES)
    assert list(sources) == [3, 1]
    assert renumbered(text, sources) == (
        "Two. [1] [2] Seven. [7] `kept[1] = 2` Again. [1]"
    )


def test_an_open_backtick_hides_no_mark() -> None:
    assert list(cited("An `open one. [2] Then `a` one. [1]", PASSAGES)) == [2, 1]


async def test_two_strategies_are_enough(files: Any) -> None:
    answer = await asked(desk(files, fault_rate=1.0))
    assert answer.strategies == ("bm25", "outline")
    assert dict(answer.failures) == {"trigram": "failed on purpose (--seed 0 decides)"}
    assert answer.verdict == "approved"


async def test_the_seed_decides_which_retrieval_fails(files: Any) -> None:
    def failures(seed: int) -> list[bool]:
        made = desk(files, seed=seed, fault_rate=0.5)
        return [bool(asyncio.run(asked(made)).failures) for _ in range(6)]

    first, again, other = [
        await asyncio.to_thread(failures, seed) for seed in (7, 7, 8)
    ]
    assert first == again != other


async def test_a_stage_that_overruns_leaves_the_others_theirs(files: Any) -> None:
    dear = Reply("A hold is granted. [1]", cost=Decimal("0.22"), model="dear")
    made = desk(files, model=Faulty("Explain", dear))
    with pytest.raises(IncompleteError) as stopped:
        await asked(made)
    result = stopped.value.result
    assert (result.failed, result.missing) == ("draft", ("review",))
    assert result.error.reply == "A hold is granted. [1]"
    now = made.pool.snapshot()
    assert (now.usd_spent, now.usd_held, now.usd_overdrawn) == (Decimal("0.22"), 0, 0)
    assert read_traces(made.tracer.path).usage().usd == Decimal("0.22")


async def test_a_passed_deadline_is_raised_and_nothing_stays_held(files: Any) -> None:
    made = desk(files, model=Hanging())
    with pytest.raises(DeadlineExceeded):
        await asked(made, seconds=0.01)
    assert made.pool.snapshot().usd_held == 0
    assert read_traces(made.tracer.path).unfinished == []


async def test_a_classifier_that_talks_nonsense_is_taken_for_unsure(
    files: Any,
) -> None:
    answer = await asked(desk(files, model=Faulty("Classify", "nonsense")))
    assert (answer.intent, answer.verdict) == ("explain", "approved")


async def test_a_reviewer_that_talks_nonsense_exhausts_the_rounds(files: Any) -> None:
    answer = await asked(desk(files, model=Faulty("Review", "Approved!")))
    assert answer.verdict == "exhausted"
    assert "A hold is granted" in answer.text


async def test_one_query_tells_which_agent_failed_what_it_was_given_and_the_error(
    files: Any,
) -> None:
    made = desk(files, model=Faulty("Review", ConnectionError("the model is down")))
    answer = await asked(made)
    assert answer.verdict == "failed"

    [failure] = made.log.query("deliver", where={"outcome": "error"})

    assert failure["topic"] == "agent:reviewer"
    assert "A hold is granted" in failure["given"]["prompt"]
    assert "the model is down" in json.dumps(failure["error"])
    traces = read_traces(made.tracer.path)
    [span] = [s for s in traces.failed if s.attributes.get("waybell.topic")]
    assert (span.trace_id, span.span_id) == (failure["trace_id"], failure["span_id"])
    assert span.attributes["waybell.event.id"] == failure["event"]
    assert "A hold is granted" in (span.prompt or "")
    assert "the model is down" in (span.error or "")
    assert len({each.trace_id for each in traces.spans}) == 1


async def test_one_query_tells_what_an_agent_returned_that_was_of_no_use(
    files: Any,
) -> None:
    made = desk(files, model=Faulty("Review", "Approved!"))
    await asked(made)

    found = made.log.query("deliver", where={"returned": "Approved!"})

    assert {record["topic"] for record in found} == {"agent:reviewer"}
    replies = [s.reply for s in read_traces(made.tracer.path).spans if s.reply]
    assert any("Approved!" in reply for reply in replies)


async def test_all_that_ran_is_on_file_with_its_usage(files: Any) -> None:
    made = desk(files)
    await asked(made)
    agents = read_traces(made.tracer.path).agents()
    assert {"classifier", "writer", "reviewer", "retrieve:bm25"} <= set(agents)
    assert agents["writer"].usage.tokens > 50
    assert agents["writer"].usage.usd == 0
    decisions = made.log.count()
    assert {"deliver", "route", "answer", "pipeline", "review"} <= set(decisions)
