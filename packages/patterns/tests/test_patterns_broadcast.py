"""The broadcast: who answered, who failed, who was late."""

import asyncio
import gc
from contextvars import ContextVar

import pytest

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import Broadcast, IncompleteError, Stage


async def test_every_agent_is_asked_and_every_failure_named(fakes):
    bus, log = EventBus(), fakes.Log()
    bus.on("topic", lambda event: event["prompt"])
    agents = {"a": str.upper, "b": fakes.failing(OSError("down")), "c": "topic"}
    result = await Broadcast(agents, quorum=2, bus=bus, log=log).run("hi")
    assert result.answers == result.value == {"a": "HI", "c": "hi"}
    assert {name: str(error) for name, error in result.failures.items()} == {
        "b": "down"
    }
    assert (result.late, result.missing, result.quorum, result.ok) == ({}, (), 2, True)
    assert sorted(log.answers()) == [("a", "ok"), ("b", "error"), ("c", "ok")]
    assert log.of("broadcast")[0]["failures"] == ["b"]


async def test_below_the_quorum_the_result_says_who_is_lacking(fakes):
    agents = {"a": str.upper, "b": fakes.failing(OSError("down"))}
    result = await Broadcast(agents, aggregate=lambda answers: 1 / 0).run("hi")
    assert (result.value, result.ok) == (None, False)
    with pytest.raises(
        IncompleteError, match=r"1 of 2 answers: b failed \(OSError\('down'\)\)"
    ):
        result.unwrap()


async def test_all_agents_failing_is_a_result(fakes):
    result = await Broadcast(
        [fakes.failing(OSError()), fakes.failing(ValueError())]
    ).run("hi")
    assert result.answers == {}
    assert list(map(type, result.failures.values())) == [OSError, ValueError]


@pytest.mark.simulate(seeds=50)
async def test_the_first_ones_settle_it_and_the_rest_is_cancelled(fakes):
    loop, log = asyncio.get_running_loop(), fakes.Log()
    agents = {"c": fakes.slow(9), "b": fakes.slow(2, "b"), "a": fakes.slow(1, "a")}
    result = await Broadcast(agents, first=2, log=log).run("hi")
    assert list(result.answers.items()) == [("b", "b"), ("a", "a")]
    assert (result.missing, result.ok, result.quorum, loop.time()) == (
        ("c",),
        True,
        2,
        2,
    )
    assert sorted(log.answers()) == [("a", "ok"), ("b", "ok"), ("c", "cancelled")]


@pytest.mark.simulate(seeds=100)
async def test_of_several_in_the_same_instant_only_the_first_ones_count(fakes):
    agents = {name: fakes.slow(1, name) for name in "abc"}
    result = await Broadcast(agents, first=1).run("hi")
    assert len(result.answers) == 1
    assert len(result.late) + len(result.missing) == 2


@pytest.mark.simulate(seeds=50)
async def test_late_answers_are_collected_for_the_grace_time(fakes):
    loop = asyncio.get_running_loop()
    agents = {
        "fast": fakes.slow(1),
        "late": fakes.slow(3, "late"),
        "never": fakes.hang,
        "bad": fakes.failing(OSError()),
    }
    result = await Broadcast(agents, first=1, late="collect", grace=4).run("hi")
    assert result.late == {"late": "late"}
    assert (result.missing, list(result.failures), loop.time()) == (
        ("never",),
        ["bad"],
        5,
    )


@pytest.mark.simulate(seeds=50)
async def test_grace_ends_with_the_deadline_and_when_all_are_through(fakes):
    loop = asyncio.get_running_loop()
    agents = {"fast": fakes.slow(1), "late": fakes.slow(3, "late"), "never": fakes.hang}
    pattern = Broadcast(agents, first=1, late="collect", grace=50)
    assert (await pattern.run("hi", deadline=Deadline(4))).late == {"late": "late"}
    assert loop.time() == 4
    del agents["never"]
    await Broadcast(agents, first=1, late="collect", grace=50).run("hi")
    assert loop.time() == 7


@pytest.mark.simulate(seeds=50)
async def test_an_answer_given_while_being_cancelled_is_late(fakes):
    result = await Broadcast(
        {"fast": fakes.slow(1), "deaf": fakes.deaf(0.5)}, first=1
    ).run("hi")
    assert (result.late, result.missing) == ({"deaf": "deaf"}, ())


@pytest.mark.simulate(seeds=20)
async def test_an_answer_given_after_the_deadline_is_late(fakes):
    agents = {"fast": str.upper, "deaf": fakes.deaf(0.5)}
    result = await Broadcast(agents).run("hi", deadline=Deadline(2))
    assert (result.answers, result.late, result.ok) == (
        {"fast": "HI"},
        {"deaf": "deaf"},
        False,
    )


@pytest.mark.simulate(seeds=20)
async def test_an_agent_that_ignores_its_cancellation_is_left_behind(fakes, caplog):
    loop, log, noise = asyncio.get_running_loop(), fakes.Log(), []
    loop.set_exception_handler(lambda loop, context: noise.append(context))
    agents = {"fast": str.upper, "deaf": fakes.deaf(60), "good": fakes.hang}
    pattern = Broadcast(agents, quorum=1, log=log)
    result = await pattern.run("hi", deadline=Deadline(2))
    assert (result.answers, sorted(result.missing)) == (
        {"fast": "HI"},
        ["deaf", "good"],
    )
    assert (result.late, loop.time()) == ({}, 3)
    assert "'deaf' ignores its cancellation" in caplog.text
    assert "'good'" not in caplog.text
    assert [each["agent"] for each in log.of("left")] == ["deaf"]
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert (loop.time(), noise, result.late) == (62, [], {})


@pytest.mark.simulate(seeds=20)
async def test_what_an_agent_left_behind_raises_is_nobodys_noise(fakes):
    loop, pool, noise = asyncio.get_running_loop(), BudgetPool(usd=1), []
    loop.set_exception_handler(lambda loop, context: noise.append(context))

    async def fail(prompt):
        await fakes.deaf(60)(prompt)
        raise BaseExceptionGroup("end", [KeyboardInterrupt()])

    agents = {"fast": fakes.slow(1), "deaf": Stage("deaf", fail, usd="0.5")}
    result = await Broadcast(agents, first=1).run("hi", budget=pool)
    assert (result.missing, loop.time()) == (("deaf",), 2)
    assert pool.snapshot().usd_held == 0
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    gc.collect()
    assert (loop.time(), noise) == (61, [])


@pytest.mark.simulate(seeds=20)
async def test_a_cancelled_broadcast_leaves_a_deaf_agent_behind(fakes):
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(Broadcast([fakes.deaf(60), fakes.hang]).run("hi"))
    for _ in range(3):
        await asyncio.sleep(0.1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.time() == pytest.approx(1.1)
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


@pytest.mark.simulate(seeds=50)
async def test_the_deadline_settles_it_with_what_is_there(fakes):
    loop = asyncio.get_running_loop()
    agents = {"a": fakes.slow(1, "a"), "b": fakes.hang, "c": fakes.slow(2, "c")}
    result = await Broadcast(agents, quorum=2).run("hi", deadline=Deadline(5))
    assert (result.answers, result.missing, result.ok) == (
        {"a": "a", "c": "c"},
        ("b",),
        True,
    )
    assert loop.time() == 5
    result = await Broadcast(agents).run("hi", deadline=Deadline(5))
    with pytest.raises(IncompleteError, match="2 of 3 answers: b is missing"):
        result.unwrap()


async def test_a_deadline_that_has_passed_asks_nobody():
    asked = []
    result = await Broadcast({"a": asked.append}).run("hi", deadline=Deadline(0))
    assert (result.answers, asked, result.ok) == ({}, [], False)


@pytest.mark.simulate(seeds=20)
async def test_aggregate_is_asked_though_a_hanging_agent_has_used_up_the_deadline(
    fakes,
):
    loop, log = asyncio.get_running_loop(), fakes.Log()
    pattern = Broadcast(
        {"a": str.upper, "b": fakes.hang},
        quorum=1,
        aggregate=lambda answers: answers["a"] + "!",
        log=log,
    )
    result = await pattern.run("hi", deadline=Deadline(5))
    assert (result.value, loop.time()) == ("HI!", 5)
    assert log.answers()[-1] == ("aggregate", "ok")


@pytest.mark.simulate(seeds=20)
async def test_the_deadline_keeps_time_for_an_aggregate_with_a_timeout(fakes):
    loop = asyncio.get_running_loop()
    merge = Stage("merge", fakes.slow(2, "merged"), timeout=2.5)
    result = await Broadcast([str.upper, fakes.hang], quorum=1, aggregate=merge).run(
        "hi", deadline=Deadline(5)
    )
    assert (result.value, loop.time()) == ("merged", 4.5)
    hang = await Broadcast([str.upper, fakes.hang], quorum=1, aggregate=fakes.hang).run(
        "hi", deadline=Deadline(5)
    )
    assert isinstance(hang.error, DeadlineExceeded)
    assert loop.time() == 10.5


async def test_a_failing_aggregate_leaves_the_answers():
    result = await Broadcast({"a": str.upper}, aggregate=lambda answers: 1 / 0).run(
        "hi"
    )
    assert result.answers == {"a": "HI"}
    with pytest.raises(IncompleteError, match="1 answers, but ZeroDivisionError"):
        result.unwrap()


async def test_a_pool_that_cannot_pay_for_all_refuses_before_anybody_is_asked():
    asked = []
    agents = [
        Stage("a", asked.append, usd=1),
        Stage("b", asked.append, tokens=10),
        asked.append,
    ]
    for pool in (BudgetPool(usd="0.5"), BudgetPool(usd=1, tokens=9)):
        with pytest.raises(BudgetExceeded):
            await Broadcast(agents, budget=pool).run("hi")
        assert pool.snapshot().usd_held == 0
    assert asked == []


async def test_agents_run_in_copies_of_the_callers_context():
    who, bus, seen = ContextVar("who", default="nobody"), EventBus(), []
    bus.observe("inner", lambda event: seen.append(event.parent))

    async def agent(prompt):
        before = who.get()
        who.set(prompt)
        await bus.request("inner")
        return before

    async def outer(event):
        who.set("caller")
        result = await Broadcast([agent, agent]).run("hi")
        return event.id, who.get(), list(result.answers.values())

    bus.on("inner", lambda event: None)
    bus.on("outer", outer)
    event_id, after, before = await bus.request("outer")
    assert (after, before) == ("caller", ["caller", "caller"])
    assert seen == [event_id, event_id]


@pytest.mark.simulate(seeds=50)
async def test_cancelling_a_broadcast_ends_its_agents_and_their_holds(fakes):
    pool, log = BudgetPool(usd=2), fakes.Log()
    agents = [Stage("a", fakes.hang, usd=1), Stage("b", fakes.deaf(0.5), usd=1)]
    task = asyncio.ensure_future(Broadcast(agents, budget=pool, log=log).run("hi"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool.snapshot().usd_held == 0
    assert sorted(log.answers()) == [("a", "cancelled"), ("b", "ok")]
    assert log.of("broadcast")[0]["outcome"] == "cancelled"


@pytest.mark.simulate(seeds=20)
async def test_an_agent_that_cancels_itself_is_missing(fakes):
    async def quit_(prompt):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    result = await Broadcast({"a": str.upper, "b": quit_}, quorum=1).run("hi")
    assert (result.answers, result.missing) == ({"a": "HI"}, ("b",))


async def test_what_is_no_exception_goes_through_a_broadcast(fakes):
    pool = BudgetPool(usd=2)
    agents = [
        Stage(
            "a", fakes.failing(BaseExceptionGroup("end", [KeyboardInterrupt()])), usd=1
        ),
        Stage("b", fakes.hang, usd=1),
    ]
    with pytest.raises(BaseExceptionGroup):
        await Broadcast(agents, budget=pool).run("hi")
    assert pool.snapshot().usd_held == 0


def test_a_stage_takes_the_name_of_its_key():
    pattern = Broadcast({"key": Stage("name", str.upper)})
    assert list(pattern.run_sync("hi").answers) == ["key"]


@pytest.mark.parametrize(
    "setting",
    [
        {"quorum": 0},
        {"quorum": 3},
        {"first": 3},
        {"first": 0},
        {"quorum": 2, "first": 1},
        {"late": "never"},
        {"grace": -1},
    ],
)
def test_a_broadcast_that_makes_no_sense_is_refused(setting):
    with pytest.raises(ValueError, match=r"first|late"):
        Broadcast([str.upper, str.lower], **setting)


@pytest.mark.simulate(seeds=100)
async def test_agents_are_waited_for_however_often_the_broadcast_is_cancelled(fakes):
    task = asyncio.ensure_future(Broadcast([fakes.deaf(0.5), fakes.hang]).run("hi"))
    for _ in range(3):
        await asyncio.sleep(0.1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
