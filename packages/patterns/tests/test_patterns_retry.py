"""Retry: what is tried again, and for how long."""

import asyncio

import pytest
import tenacity

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import Fallback, Pipeline, Retry, Stage
from waybell_sim import simulate


class StatusError(Exception):
    def __init__(self, status, retry_after=None):
        self.status, self.retry_after = status, retry_after


@pytest.mark.simulate(seeds=20)
async def test_a_transient_failure_is_tried_again(fakes):
    log, agent = fakes.Log(), fakes.failing(ConnectionError(), 2)
    assert await Retry(agent, log=log).run("hi") == "answer 3"
    assert log.answers() == [("fail", "error"), ("fail", "error"), ("fail", "ok")]
    assert [each["attempt"] for each in log.of("attempt")] == [1, 2]
    assert log.of("attempt")[0]["error"]["type"] == "ConnectionError"
    assert log.of("retry")[0]["outcome"] == "ok"


@pytest.mark.simulate(seeds=5)
async def test_the_last_error_is_raised_as_itself(fakes):
    agent = fakes.failing(error := TimeoutError("slow"))
    with pytest.raises(TimeoutError) as raised:
        await Retry(agent, attempts=2).run("hi")
    assert raised.value is error
    assert len(agent.calls) == 2


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
@pytest.mark.simulate(seeds=2)
async def test_these_statuses_may_pass(fakes, status):
    assert await Retry(fakes.failing(StatusError(status), 1)).run("hi") == "answer 2"


@pytest.mark.parametrize(
    "error", [StatusError(400), StatusError(401, retry_after=1), ValueError("no")]
)
async def test_other_errors_are_raised_at_once(fakes, error):
    agent = fakes.failing(error)
    with pytest.raises(type(error)):
        await Retry(agent).run("hi")
    assert len(agent.calls) == 1


@pytest.mark.simulate(seeds=5)
async def test_what_is_worth_another_attempt_can_be_said(fakes):
    for on in (ValueError, (KeyError, ValueError), lambda error: "a" in str(error)):
        assert (
            await Retry(fakes.failing(ValueError("a"), 1), on=on).run("hi")
            == "answer 2"
        )
        with pytest.raises(ConnectionError):
            await Retry(fakes.failing(ConnectionError()), on=on).run("hi")


@pytest.mark.simulate(seeds=20)
async def test_a_retry_after_is_waited_for(fakes):
    loop = asyncio.get_running_loop()
    agent = fakes.failing(StatusError(429, retry_after=7), 1)
    await Retry(agent, wait=tenacity.wait_fixed(1)).run("hi")
    assert loop.time() == 7
    for odd in (-1, float("nan"), "soon", None):
        await Retry(
            fakes.failing(StatusError(429, odd), 1), wait=tenacity.wait_fixed(1)
        ).run("hi")
    assert loop.time() == 11


@pytest.mark.simulate(seeds=20)
async def test_a_wait_that_would_outlast_the_deadline_ends_at_once(fakes):
    loop = asyncio.get_running_loop()
    for error in (
        StatusError(429, retry_after=10),
        StatusError(429, retry_after=float("inf")),
    ):
        with pytest.raises(StatusError):
            await Retry(fakes.failing(error)).run("hi", deadline=Deadline(5))
    assert loop.time() == 0


@pytest.mark.simulate(seeds=20)
async def test_the_deadline_is_a_wall_around_all_attempts(fakes):
    loop = asyncio.get_running_loop()
    with pytest.raises(DeadlineExceeded):
        await Retry(fakes.hang).run("hi", deadline=Deadline(5))
    assert loop.time() == 5


@pytest.mark.simulate(seeds=20)
async def test_a_stages_own_timeout_is_tried_again_but_not_beyond_the_deadline(fakes):
    loop, log = asyncio.get_running_loop(), fakes.Log()
    pattern = Retry(
        Stage("a", fakes.hang, timeout=2), wait=tenacity.wait_fixed(1), log=log
    )
    with pytest.raises(DeadlineExceeded) as raised:
        await pattern.run("hi", deadline=Deadline(100))
    assert (raised.value.seconds, loop.time(), len(log.answers())) == (2, 8, 3)
    with pytest.raises(DeadlineExceeded):
        await pattern.run("hi", deadline=Deadline(2.5))
    assert (loop.time(), len(log.answers())) == (10, 4)


@pytest.mark.simulate(seeds=20)
async def test_tenacitys_waits_compose(fakes):
    loop = asyncio.get_running_loop()
    wait = tenacity.wait_fixed(1) + tenacity.wait_fixed(2)
    agent = fakes.failing(ConnectionError())
    with pytest.raises(ConnectionError):
        await Retry(agent, attempts=3, wait=wait).run("hi")
    assert (len(agent.calls), loop.time()) == (3, 6)


def test_the_jitter_is_the_seeds_own(fakes):
    def waits(seed):
        log = fakes.Log()

        async def main():
            await Retry(fakes.failing(ConnectionError(), 2), log=log).run("hi")

        simulate(main, seeds=[seed])
        return [each["wait"] for each in log.of("attempt")]

    assert waits(1) == waits(1) != waits(2)


@pytest.mark.simulate(seeds=5)
async def test_attempts_never_multiply(fakes):
    agent = fakes.failing(ConnectionError())

    async def in_a_task(prompt):
        return await asyncio.ensure_future(Retry(agent, attempts=5).run(prompt))

    with pytest.raises(ConnectionError):
        await Retry(Fallback(in_a_task, on=ValueError), attempts=3).run("hi")
    assert len(agent.calls) == 3
    with pytest.raises(ConnectionError):
        await Retry(agent, attempts=2).run("hi")
    assert len(agent.calls) == 5


@pytest.mark.simulate(seeds=5)
async def test_a_pattern_that_was_incomplete_for_a_passing_reason_is_tried_again(fakes):
    agent = fakes.failing(ConnectionError(), 2)
    pattern = Pipeline(
        [Stage("a", Retry(agent)), Stage("b", str.upper, prompt=lambda p, r: r["a"])]
    )
    assert await Retry(pattern).run("hi") == "ANSWER 3"
    assert (
        await Retry(Fallback(fakes.failing(ConnectionError(), 1))).run("hi")
        == "answer 2"
    )


async def test_an_agent_is_told_to_make_one_attempt():
    seen, bus = [], EventBus()
    bus.on("topic", lambda event: seen.append(event["attempts"]))

    async def agent(prompt, *, attempts=3):
        seen.append(attempts)

    await Retry(agent).run("hi")
    await Retry("topic", bus=bus).run("hi")
    assert seen == [1, 1]


@pytest.mark.simulate(seeds=5)
async def test_each_attempt_has_a_hold_and_spent_money_ends_the_trying(fakes):
    held, pool, log = [], BudgetPool(usd=2), fakes.Log()

    async def agent(prompt, budget):
        held.append(str(pool.snapshot().usd_held))
        budget.charge(usd=1)
        raise ConnectionError

    with pytest.raises(BudgetExceeded):
        await Retry(
            Stage("a", agent, usd=1), attempts=5, on=Exception, budget=pool, log=log
        ).run("hi")
    assert held == ["1", "1"]
    assert len(log.of("attempt")) == 2
    assert pool.snapshot().usd_spent == 2


@pytest.mark.simulate(seeds=5)
async def test_a_breaker_guards_each_attempt_and_is_waited_for(fakes):
    loop, breaker = asyncio.get_running_loop(), fakes.Breaker()
    assert (
        await Retry(fakes.failing(ConnectionError(), 1), breaker=breaker).run("hi")
        == "answer 2"
    )
    assert breaker.calls == 2
    breaker.closed = False
    loop.call_later(4, setattr, breaker, "closed", True)
    began = loop.time()
    assert (
        await Retry(str.upper, breaker=breaker, wait=tenacity.wait_none()).run("hi")
        == "HI"
    )
    assert loop.time() - began == pytest.approx(5)


@pytest.mark.simulate(seeds=20)
async def test_cancelling_while_it_waits_is_recorded_and_ends_it(fakes):
    log, agent = fakes.Log(), fakes.failing(ConnectionError())
    task = asyncio.ensure_future(
        Retry(agent, wait=tenacity.wait_fixed(9), log=log).run("hi")
    )
    await asyncio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.of("retry")[0]["outcome"] == "cancelled"
    assert len(agent.calls) == 1


async def test_what_is_no_exception_is_never_tried_again(fakes):
    agent = fakes.failing(BaseExceptionGroup("end", [KeyboardInterrupt()]))
    with pytest.raises(BaseExceptionGroup):
        await Retry(agent, on=lambda error: True).run("hi")
    assert len(agent.calls) == 1


def test_no_attempts_are_refused():
    with pytest.raises(ValueError, match="attempts=0 must be 1 or more"):
        Retry(str.upper, attempts=0)
