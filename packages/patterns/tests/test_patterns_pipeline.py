"""The pipeline: stage after stage, and what survives a failure."""

import asyncio

import pytest

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import IncompleteError, Pipeline, Stage


async def test_each_stage_is_given_all_earlier_answers():
    bus = EventBus()
    bus.on("second", lambda event: event["prompt"])
    result = await Pipeline(
        [Stage("first", str.upper), Stage("second", "second", prompt=None)], bus=bus
    ).run("hi")
    assert result.results == {"first": "HI", "second": "hi\n\n## first\nHI"}
    assert result.ok
    assert result.value == result.unwrap() == result.results["second"]


async def test_the_results_handed_on_are_the_raw_answers():
    class Found:
        text = "as text"

    def look(prompt, results):
        return type(results["find"]).__name__ + prompt[-7:]

    result = await Pipeline(
        [Stage("find", lambda prompt: Found()), Stage("look", look)]
    ).run("hi")
    assert result.value == "Foundas text"


async def test_a_stage_that_dies_half_way_leaves_the_earlier_answers(fakes):
    log = fakes.Log()
    stages = [
        Stage("a", str.upper),
        Stage("b", fakes.failing(OSError("died"))),
        Stage("c", str.lower),
    ]
    result = await Pipeline(stages, log=log).run("hi")
    assert (result.results, result.failed, result.missing) == ({"a": "HI"}, "b", ("c",))
    with pytest.raises(
        IncompleteError, match=r"failed at 'b': OSError\('died'\); never ran: c"
    ) as raised:
        result.unwrap()
    assert raised.value.__cause__ is result.error
    assert raised.value.result is result
    assert log.answers() == [("a", "ok"), ("b", "error")]
    record = log.of("pipeline")[0]
    assert (record["outcome"], record["failed"], record["results"]) == (
        "error",
        "b",
        ["a"],
    )
    assert record["error"] == {"type": "OSError", "message": "died"}


async def test_all_holds_are_taken_before_the_first_stage_starts():
    asked = []
    stages = [Stage("a", asked.append, usd=1), Stage("b", asked.append, usd=2)]
    with pytest.raises(BudgetExceeded):
        await Pipeline(stages, budget=BudgetPool(usd="2.5")).run("hi")
    assert asked == []


async def test_a_stage_that_overruns_cannot_eat_the_next_ones_hold(fakes):
    async def greedy(prompt, budget):
        with pytest.raises(BudgetExceeded):
            budget.charge(usd=2)
        return "greedy"

    async def modest(prompt, budget):
        budget.charge(usd=1)
        return "modest"

    pool = BudgetPool(usd=2)
    result = await Pipeline(
        [Stage("a", greedy, usd=1), Stage("b", modest, usd=1)], budget=pool
    ).run("hi")
    assert result.value == "modest"
    assert pool.snapshot().usd_spent == 3
    assert pool.snapshot().usd_held == 0


async def test_what_a_stage_has_left_over_is_free_when_it_ends():
    pool, free = BudgetPool(usd=2), []

    async def agent(prompt):
        free.append(str(pool.snapshot().usd_remaining))

    await Pipeline(
        [Stage("a", agent, usd=1), Stage("b", agent, usd=1)], budget=pool
    ).run("hi")
    assert free == ["0", "1"]


async def test_an_empty_pool_in_stage_two_is_in_the_result():
    pool = BudgetPool(usd=1)

    async def spend(prompt, budget):
        budget.charge(usd=1)
        return "spent"

    result = await Pipeline([Stage("a", spend), Stage("b", spend)], budget=pool).run(
        "hi"
    )
    assert (result.results, result.failed) == ({"a": "spent"}, "b")
    assert isinstance(result.error, BudgetExceeded)


@pytest.mark.simulate(seeds=20)
async def test_a_hanging_stage_ends_at_its_own_timeout_or_at_the_deadline(fakes):
    loop, log = asyncio.get_running_loop(), fakes.Log()
    stages = [
        Stage("a", fakes.slow(1)),
        Stage("b", fakes.hang, timeout=2),
        Stage("c", fakes.hang),
    ]
    result = await Pipeline(stages, log=log).run("hi", deadline=Deadline(10))
    assert (result.failed, result.error.seconds, loop.time()) == ("b", 2, 3)
    result = await Pipeline([stages[0], stages[2]], log=log).run(
        "hi", deadline=Deadline(10)
    )
    assert (result.failed, result.error.seconds, loop.time()) == ("c", 10, 13)
    assert result.results == {"a": "slow"}
    assert log.answers() == [
        ("a", "ok"),
        ("b", "error"),
        ("a", "ok"),
        ("c", "cancelled"),
    ]


@pytest.mark.simulate(seeds=20)
async def test_no_stage_starts_after_one_that_swallowed_the_deadline(fakes):
    loop = asyncio.get_running_loop()
    stages = [Stage("deaf", fakes.deaf(2)), Stage("next", fakes.hang)]
    result = await Pipeline(stages).run("hi", deadline=Deadline(5))
    assert (result.results, result.failed) == ({"deaf": "deaf"}, "next")
    assert isinstance(result.error, DeadlineExceeded)
    assert loop.time() == 7


@pytest.mark.simulate(seeds=20)
async def test_no_stage_starts_after_one_that_swallowed_the_callers_cancellation(fakes):
    task = asyncio.ensure_future(Pipeline([fakes.deaf(2), fakes.hang]).run("hi"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cooperative_deadline_that_has_passed_starts_nobody():
    with Deadline(0):
        result = await Pipeline([Stage("a", str.upper)]).run("hi")
    assert isinstance(result.error, DeadlineExceeded)
    assert result.failed == "a"


async def test_a_deadline_that_has_passed_before_raises():
    with pytest.raises(DeadlineExceeded):
        await Pipeline([str.upper]).run("hi", deadline=Deadline(0))


@pytest.mark.simulate(seeds=50)
async def test_cancelling_leaves_no_hold_and_a_whole_record(fakes):
    pool, log = BudgetPool(usd=2), fakes.Log()
    stages = [Stage("a", fakes.slow(1), usd=1), Stage("b", fakes.hang, usd=1)]
    task = asyncio.ensure_future(Pipeline(stages, budget=pool, log=log).run("hi"))
    await asyncio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool.snapshot().usd_held == 0
    assert log.answers() == [("a", "ok"), ("b", "cancelled")]
    assert log.of("pipeline")[0]["outcome"] == "cancelled"


async def test_what_is_no_exception_goes_through_and_is_recorded(fakes):
    log, pool = fakes.Log(), BudgetPool(usd=1)
    group = BaseExceptionGroup("end", [KeyboardInterrupt()])
    with pytest.raises(BaseExceptionGroup):
        await Pipeline(
            [Stage("a", fakes.failing(group), usd=1)], log=log, budget=pool
        ).run("hi")
    assert log.answers() == [("a", "error")]
    assert pool.snapshot().usd_held == 0


@pytest.mark.simulate(seeds=20)
async def test_a_cancellation_that_the_last_stage_swallowed_is_not_lost(fakes):
    log = fakes.Log()
    task = asyncio.ensure_future(Pipeline([fakes.deaf(1)], log=log).run("hi"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.answers() == [("ignore", "ok")]
