"""Fallback and Degrade: who is asked next, and when."""

import asyncio
import pickle

import pytest

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import Degrade, Fallback, IncompleteError, Pipeline, Stage


async def test_the_next_agent_is_asked_when_one_fails(fakes):
    log = fakes.Log()
    agents = [
        Stage("a", fakes.failing(OSError("down"))),
        Stage("b", str.upper),
        Stage("c", str.lower),
    ]
    assert await Fallback(*agents, log=log).run("hi") == "HI"
    assert log.answers() == [("a", "error"), ("b", "ok")]
    assert log.of("step")[0] == {
        "decision": "step",
        "agent": "a",
        "error": {"type": "OSError", "message": "down"},
    }


async def test_when_all_fail_every_error_is_listed(fakes):
    agents = {"a": OSError("down"), "b": ValueError("odd")}
    stages = [Stage(name, fakes.failing(error)) for name, error in agents.items()]
    with pytest.raises(
        IncompleteError,
        match=r"all 2 failed: a: OSError\('down'\); b: ValueError\('odd'\)",
    ) as raised:
        await Fallback(*stages).run("hi")
    assert raised.value.errors == agents
    assert raised.value.__cause__ is agents["b"]
    assert list(pickle.loads(pickle.dumps(raised.value)).errors) == ["a", "b"]


async def test_two_agents_of_one_name_are_both_listed(fakes):
    agents = [fakes.failing(OSError("one")), fakes.failing(OSError("two"))]
    with pytest.raises(IncompleteError) as raised:
        await Fallback(*agents).run("hi")
    assert list(raised.value.errors) == ["fail", "fail#2"]


async def test_only_the_errors_named_lead_on(fakes):
    with pytest.raises(ValueError, match="odd"):
        await Fallback(fakes.failing(ValueError("odd")), str.upper, on=OSError).run(
            "hi"
        )
    assert (
        await Fallback(
            fakes.failing(ValueError("odd")), str.upper, on=lambda e: "odd" in str(e)
        ).run("hi")
        == "HI"
    )


async def test_an_open_breaker_leads_to_the_second_agent_at_once(fakes):
    for ladder in (Fallback, Degrade):
        breaker, log = fakes.Breaker(closed=False), fakes.Log()
        pattern = ladder(
            Stage("a", str.lower), Stage("b", str.upper), breaker=breaker, log=log
        )
        assert await pattern.run("Hi") == "HI"
        assert log.answers() == [("b", "ok")]
        breaker.closed = True
        assert await pattern.run("Hi") == "hi"
        assert breaker.calls == 2


@pytest.mark.simulate(seeds=20)
async def test_a_hanging_agent_is_left_at_its_timeout(fakes):
    loop = asyncio.get_running_loop()
    assert (
        await Fallback(Stage("a", fakes.hang, timeout=2), str.upper).run("hi") == "HI"
    )
    assert loop.time() == 2
    with pytest.raises(DeadlineExceeded):
        await Fallback(fakes.hang, str.upper).run("hi", deadline=Deadline(3))
    assert loop.time() == 5


async def test_degrade_skips_what_the_pool_cannot_pay(fakes):
    log, pool = fakes.Log(), BudgetPool(usd=1)
    levels = [
        Stage("best", str.title, usd=5),
        Stage("good", str.upper, usd=1),
        Stage("canned", str.lower),
    ]
    assert await Degrade(*levels, budget=pool, log=log).run("hi") == "HI"
    assert log.answers() == [("best", "error"), ("good", "ok")]
    assert pool.snapshot().usd_held == 0


@pytest.mark.simulate(seeds=20)
async def test_degrade_does_not_start_what_time_does_not_allow(fakes):
    loop, log = asyncio.get_running_loop(), fakes.Log()
    levels = [
        Stage("best", fakes.hang, timeout=6),
        Stage("good", fakes.slow(1, "good"), timeout=2),
    ]
    pattern = Degrade(*levels, log=log)
    assert await pattern.run("hi", deadline=Deadline(5)) == "good"
    assert (log.answers(), loop.time()) == ([("good", "ok")], 1)
    # All the timeouts together fill the deadline to the second, and that is enough.
    assert await pattern.run("hi", deadline=Deadline(8)) == "good"
    assert loop.time() == 8


@pytest.mark.simulate(seeds=20)
async def test_the_last_level_always_has_its_time(fakes):
    loop = asyncio.get_running_loop()
    pattern = Degrade(
        fakes.hang, fakes.hang, Stage("canned", fakes.slow(2, "canned"), timeout=3)
    )
    assert await pattern.run("hi", deadline=Deadline(10)) == "canned"
    assert loop.time() == 9


@pytest.mark.simulate(seeds=20)
async def test_without_a_deadline_of_its_own_the_one_around_it_counts(fakes):
    loop = asyncio.get_running_loop()
    pattern = Degrade(fakes.hang, Stage("canned", fakes.slow(2, "canned"), timeout=3))
    async with Deadline(5):
        assert await pattern.run("hi") == "canned"
    assert loop.time() == 4
    levels = [Stage("a", fakes.hang, timeout=1), Stage("b", str.upper)]
    assert await Degrade(*levels).run("hi") == "HI"


async def test_degrade_steps_down_at_limits_only(fakes):
    for error in (
        BudgetExceeded("usd", 2, 1),
        ConnectionError(),
        TimeoutError(),
        fakes.OpenError(),
    ):
        assert await Degrade(fakes.failing(error), str.upper).run("hi") == "HI"
    with pytest.raises(ValueError, match="odd"):
        await Degrade(fakes.failing(ValueError("odd")), str.upper).run("hi")
    assert (
        await Degrade(fakes.failing(ValueError("odd")), str.upper, on=ValueError).run(
            "hi"
        )
        == "HI"
    )


@pytest.mark.simulate(seeds=20)
async def test_cancelling_a_ladder_asks_nobody_else(fakes):
    log = fakes.Log()
    task = asyncio.ensure_future(Fallback(fakes.hang, str.upper, log=log).run("hi"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.answers() == [("hang", "cancelled")]
    assert log.of("fallback")[0]["outcome"] == "cancelled"


async def test_a_ladder_is_a_stage_like_any_other(fakes):
    result = await Pipeline([Fallback(fakes.failing(OSError()), str.upper)]).run("hi")
    assert result.results == {"Fallback1": "HI"} or result.value == "HI"


@pytest.mark.simulate(seeds=20)
async def test_levels_below_without_a_timeout_are_left_a_tenth_of_the_time(fakes):
    loop = asyncio.get_running_loop()
    pattern = Degrade(fakes.hang, lambda prompt: "canned")
    assert await pattern.run("hi", deadline=Deadline(10)) == "canned"
    assert loop.time() == 9
