"""A broadcast over one topic: all its handlers are asked."""

import asyncio
from contextvars import ContextVar
from decimal import Decimal

import pytest

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline
from waybell_patterns import Broadcast, IncompleteError, Pipeline, Stage


def named(name, fn):
    """A handler whose qualified name is short."""

    async def handler(event):
        return await fn(event["prompt"])

    handler.__qualname__ = handler.__name__ = name
    return handler


async def upper(prompt):
    return prompt.upper()


def short(names):
    return sorted(name.rpartition(".")[2] for name in names)


async def test_every_handler_of_the_topic_answers_under_its_name(fakes):
    bus, log = EventBus(), fakes.Log()
    bus.on("panel", named("one", upper))
    bus.on("*", named("two", upper))
    bus.on("panel.**", named("elsewhere", upper))
    bus.on("panel", named("bad", fakes.failing(OSError("down"))))
    result = await Broadcast("panel", bus=bus, quorum=2, log=log).run("hi")
    assert short(result.answers) == ["one", "two"]
    assert short(result.failures) == ["bad"]
    assert (result.ok, result.missing) == (True, ())
    assert sorted(outcome for _, outcome in log.answers()) == ["error", "ok", "ok"]


async def test_handlers_of_equal_names_are_told_apart():
    bus = EventBus()
    for _ in range(2):
        bus.on("panel", named("twin", upper))
    result = await Broadcast("panel", bus=bus).run("hi")
    assert short(result.answers) == ["twin", "twin#2"]


async def test_by_default_all_handlers_must_answer_and_at_least_one(fakes):
    bus = EventBus()
    bus.on("panel", named("one", upper))
    bus.on("panel", named("bad", fakes.failing(OSError())))
    assert not (await Broadcast("panel", bus=bus).run("hi")).ok
    assert (await Broadcast("panel", bus=bus, first=1).run("hi")).ok


async def test_a_topic_without_handlers_lacks_its_quorum(caplog):
    result = await Broadcast("nobody", bus=EventBus()).run("hi")
    with pytest.raises(IncompleteError, match="0 of 1 answers"):
        result.unwrap()
    assert "nobody answers nobody" in caplog.text


@pytest.mark.simulate(seeds=50)
async def test_the_first_ones_settle_it_and_the_rest_is_named(fakes):
    bus, log, loop = EventBus(), fakes.Log(), asyncio.get_running_loop()
    bus.on("a:panel", named("fast", fakes.slow(1)))
    bus.on("a.*", named("slow", fakes.slow(5)))
    bus.on("**", named("hang", fakes.hang))
    for other in ("a.panel.**", "b.panel", "a.other", "b.*", "b.**", "a"):
        bus.on(other, named("elsewhere", fakes.hang))
    result = await Broadcast("a.panel", bus=bus, first=1, log=log).run("hi")
    assert (short(result.answers), short(result.missing), loop.time()) == (
        ["fast"],
        ["hang", "slow"],
        1,
    )
    assert sorted(outcome for _, outcome in log.answers()) == [
        "cancelled",
        "cancelled",
        "ok",
    ]
    result = await Broadcast("a.panel", bus=bus, first=1, late="collect", grace=6).run(
        "hi"
    )
    assert (short(result.late), short(result.missing), loop.time()) == (
        ["slow"],
        ["hang"],
        8,
    )


@pytest.mark.simulate(seeds=50)
async def test_the_deadline_and_the_stages_timeout_end_it(fakes):
    bus, loop = EventBus(), asyncio.get_running_loop()
    bus.on("panel", named("fast", fakes.slow(1)))
    bus.on("panel", named("hang", fakes.hang))
    result = await Broadcast("panel", bus=bus, quorum=1).run("hi", deadline=Deadline(3))
    assert (short(result.answers), short(result.missing), loop.time()) == (
        ["fast"],
        ["hang"],
        3,
    )
    result = await Broadcast(Stage("panel", "panel", timeout=2), bus=bus, quorum=1).run(
        "hi"
    )
    assert (short(result.missing), loop.time()) == (["hang"], 5)


async def test_the_handlers_spend_from_one_hold():
    bus, pool, seen = EventBus(), BudgetPool(usd=2), []

    async def spend(event):
        event["budget"].charge(usd="0.5")
        seen.append(event["budget"])

    bus.on("panel", spend)
    bus.on("*", spend)
    result = await Broadcast(Stage("panel", "panel", usd=1), bus=bus, budget=pool).run(
        "hi"
    )
    assert (result.usd, pool.snapshot().usd_spent, pool.snapshot().usd_held) == (
        1,
        1,
        0,
    )
    assert seen[0] is seen[1]


async def test_replies_are_charged_where_the_handlers_do_not(fakes):
    bus, pool = EventBus(), BudgetPool(usd=2)
    for _ in range(2):
        bus.on("panel", lambda event: fakes.Reply("x", cost=0.25))
    result = await Broadcast("panel", bus=bus, budget=pool).run("hi")
    assert result.usd == pool.snapshot().usd_spent == Decimal("0.5")
    assert (await Broadcast("panel", bus=bus).run("hi")).usd == Decimal("0.5")


async def test_a_reply_beyond_the_hold_is_a_failure_that_keeps_it(fakes):
    bus, pool = EventBus(), BudgetPool(usd=2)
    bus.on("panel", lambda event: fakes.Reply("paid", cost=2))
    result = await Broadcast(Stage("panel", "panel", usd=1), bus=bus, budget=pool).run(
        "hi"
    )
    (error,) = result.failures.values()
    assert error.reply == "paid"


async def test_a_pool_that_cannot_pay_refuses_before_the_event_is_sent():
    bus, asked = EventBus(), []
    bus.on("panel", asked.append)
    with pytest.raises(BudgetExceeded):
        await Broadcast(
            Stage("panel", "panel", usd=1), bus=bus, budget=BudgetPool(usd="0.5")
        ).run("hi")
    assert asked == []


async def test_handlers_run_in_the_callers_context_and_patterns_among_them_unwrap():
    who, bus = ContextVar("who"), EventBus()
    who.set("caller")
    bus.on("panel", lambda event: who.get() + str(event.parent is None))
    bus.on("panel", Pipeline([str.upper]))
    result = await Broadcast(
        "panel", bus=bus, aggregate=lambda answers: sorted(answers.values())
    ).run("hi")
    assert result.value == ["HI", "callerTrue"]


@pytest.mark.simulate(seeds=50)
async def test_cancelling_it_ends_the_handlers_and_their_hold(fakes):
    bus, pool, log = EventBus(), BudgetPool(usd=1), fakes.Log()
    bus.on("panel", named("hang", fakes.hang))
    pattern = Broadcast(Stage("panel", "panel", usd=1), bus=bus, budget=pool, log=log)
    task = asyncio.ensure_future(pattern.run("hi"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool.snapshot().usd_held == 0
    assert [outcome for _, outcome in log.answers()] == ["cancelled"]
    assert log.of("broadcast")[0]["outcome"] == "cancelled"


def test_a_single_agent_that_is_no_topic_is_refused():
    with pytest.raises(TypeError, match="asks several agents"):
        Broadcast(Stage("a", str.upper))
    with pytest.raises(TypeError, match="needs bus="):
        Broadcast("panel")


@pytest.mark.simulate(seeds=50)
async def test_a_cancellation_while_handlers_end_is_not_lost(fakes):
    bus = EventBus()
    bus.on("panel", named("fast", fakes.slow(1)))
    bus.on("panel", named("deaf", fakes.deaf(5)))
    task = asyncio.ensure_future(Broadcast("panel", bus=bus, first=1).run("hi"))
    await asyncio.sleep(1.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.simulate(seeds=20)
async def test_a_handler_for_once_that_never_answers_is_missing(fakes):
    bus = EventBus()
    bus.on("panel", named("fast", fakes.slow(1)))
    bus.once("panel", named("once", fakes.hang))
    result = await Broadcast("panel", bus=bus).run("hi", deadline=Deadline(3))
    assert (short(result.missing), result.quorum, result.ok) == (["once"], 2, False)


@pytest.mark.simulate(seeds=20)
async def test_a_handler_that_ignores_its_cancellation_is_left_behind(fakes, caplog):
    loop, bus = asyncio.get_running_loop(), EventBus()
    bus.on("panel", named("fast", fakes.slow(1)))
    bus.on("panel", named("deaf", fakes.deaf(60)))
    result = await Broadcast("panel", bus=bus, quorum=1).run("hi", deadline=Deadline(3))
    assert (short(result.missing), result.ok, loop.time()) == (["deaf"], True, 4)
    assert "'panel' ignores its cancellation" in caplog.text
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
