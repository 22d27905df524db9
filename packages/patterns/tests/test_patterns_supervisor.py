"""The supervisor: drafts, reviews, and how the loop ends."""

import asyncio

import pytest

from waybell_bus import EventBus
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import IncompleteError, Pipeline, Supervisor, Verdict


def numbered():
    """A worker whose drafts are numbered, and its prompts."""
    prompts = []

    async def worker(prompt):
        prompts.append(prompt)
        return f"draft {len(prompts)}"

    worker.prompts = prompts
    return worker


def judging(*answers):
    """A reviewer that gives these answers in turn."""
    left = list(answers)

    async def reviewer(prompt, draft, rules, round):  # noqa: A002 - the pattern's word
        reviewer.seen.append((draft, tuple(rules), round))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    reviewer.seen = []
    return reviewer


NO = {"approved": False, "problems": ["too short"]}


async def test_a_draft_is_revised_until_it_is_approved(fakes):
    worker, reviewer, log = numbered(), judging(NO, True), fakes.Log()
    result = await Supervisor(worker, reviewer, rules=["be long"], log=log).run("write")
    assert (result.verdict, result.draft, result.ok, str(result)) == (
        "approved",
        "draft 2",
        True,
        "draft 2",
    )
    assert result.reviews == (Verdict(False, ("too short",)), Verdict(True))
    assert worker.prompts[1] == "write\n\nDraft:\ndraft 1\n\nProblems:\n- too short"
    assert reviewer.seen == [("draft 1", ("be long",), 1), ("draft 2", ("be long",), 2)]
    assert log.answers() == [("worker", "ok"), ("reviewer", "ok")] * 2
    assert [each["approved"] for each in log.of("review")] == [False, True]
    assert log.of("supervisor")[0]["verdict"] == "approved"


async def test_the_last_revision_is_reviewed_too():
    reviewer = judging(NO, NO, NO)
    result = await Supervisor(numbered(), reviewer, max_rounds=3).run("write")
    assert (result.verdict, result.draft, len(result.reviews)) == (
        "exhausted",
        "draft 3",
        3,
    )
    assert reviewer.seen[-1][0] == "draft 3"
    with pytest.raises(
        IncompleteError, match=r"not approved: exhausted after 3 reviews \(too short\)"
    ):
        result.unwrap()


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Verdict(True), Verdict(True)),
        (True, Verdict(True)),
        ({"approved": True}, Verdict(True)),
        ('{"approved": false, "problems": ["a", "b"]}', Verdict(False, ("a", "b"))),
        ('```json\n{"approved": true}\n```', Verdict(True)),
        ({"approved": False, "problems": "one"}, Verdict(False, ("one",))),
        ({"approved": False, "problems": 5}, Verdict(False, ("5",))),
        ({"approved": False, "problems": {"a": 1}}, Verdict(False, ("{'a': 1}",))),
        ({"approved": False, "problems": None}, Verdict(False)),
    ],
)
def test_a_verdict_is_read_from_its_forms(answer, verdict):
    assert Verdict.parse(answer) == verdict


@pytest.mark.parametrize(
    "answer",
    [
        "Approved!",
        "approved: true",
        '{"approved": "true"}',
        '{"ok": true}',
        "[true]",
        None,
        1,
        "[" * 100_000,
    ],
)
def test_what_is_no_verdict_is_a_rejection(answer):
    verdict = Verdict.parse(answer)
    assert (verdict.approved, verdict.understood) == (False, False)
    assert len(verdict.problems[0]) < 300


async def test_after_a_nonsense_review_the_same_draft_is_reviewed_again(fakes):
    log, worker, reviewer = fakes.Log(), numbered(), judging("hm", NO, "hm", True)
    pattern = Supervisor(worker, reviewer, max_rounds=4, log=log)
    result = await pattern.run("write")
    assert (result.verdict, result.draft) == ("approved", "draft 2")
    drafts = ["draft 1", "draft 1", "draft 2", "draft 2"]
    assert [draft for draft, *_ in reviewer.seen] == drafts
    assert [review.understood for review in result.reviews] == [False, True] * 2
    assert worker.prompts[1].endswith("Problems:\n- too short")
    assert len(log.of("review")) == 4


async def test_nothing_but_nonsense_exhausts_the_rounds():
    worker = numbered()
    result = await Supervisor(worker, judging(*["hm"] * 3)).run("write")
    assert (result.verdict, result.draft) == ("exhausted", "draft 1")
    with pytest.raises(IncompleteError, match="the review was not a verdict: 'hm'"):
        result.unwrap()


async def test_a_worker_that_fails_in_round_two_leaves_the_draft_and_its_review(fakes):
    async def worker(prompt, round):  # noqa: A002 - the pattern's word
        if round == 2:
            raise OSError("down")
        return "first"

    result = await Supervisor(worker, judging(NO)).run("write")
    assert (result.verdict, result.draft, len(result.reviews)) == ("failed", "first", 1)
    assert isinstance(result.error, OSError)


async def test_a_reviewer_that_fails_leaves_the_draft(fakes):
    result = await Supervisor(numbered(), judging(OSError("down"))).run("write")
    assert (result.verdict, result.draft, result.reviews) == ("failed", "draft 1", ())
    result = await Supervisor(numbered(), judging("hm", OSError("down"))).run("write")
    assert [review.understood for review in result.reviews] == [False]


@pytest.mark.simulate(seeds=20)
async def test_a_deadline_leaves_the_draft(fakes):
    loop, log = asyncio.get_running_loop(), fakes.Log()
    pattern = Supervisor(fakes.slow(1, "draft"), fakes.hang, log=log)
    result = await pattern.run("write", deadline=Deadline(5))
    assert (result.verdict, result.draft, loop.time()) == ("timed_out", "draft", 5)
    assert isinstance(result.error, DeadlineExceeded)
    assert (
        log.answers() == [("slow", "ok"), ("hang", "cancelled")]
        or len(log.answers()) == 2
    )
    result = await pattern.run("write", deadline=Deadline(0))
    assert (result.verdict, result.draft) == ("timed_out", None)


async def test_worker_and_reviewer_may_be_topics_that_see_draft_and_problems():
    bus, seen = EventBus(), []

    async def work(event):
        seen.append((event["round"], event.get("draft"), event["problems"]))
        return "d"

    bus.on("work", work)
    bus.on("review", lambda event: NO)
    await Supervisor("work", "review", max_rounds=2, bus=bus).run("write")
    assert seen == [(1, None, []), (2, "d", ["too short"])]


async def test_a_supervisor_without_approval_fails_the_pattern_around_it():
    result = await Pipeline([Supervisor(numbered(), judging(NO), max_rounds=1)]).run(
        "hi"
    )
    assert isinstance(result.error, IncompleteError)
    assert result.error.result.draft == "draft 1"


@pytest.mark.simulate(seeds=20)
async def test_cancelling_is_recorded(fakes):
    log = fakes.Log()
    task = asyncio.ensure_future(
        Supervisor(fakes.hang, numbered(), log=log).run("write")
    )
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.of("supervisor")[0]["outcome"] == "cancelled"


def test_a_supervisor_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="max_rounds=0 must be 1 or more"):
        Supervisor(str.upper, str.lower, max_rounds=0)
