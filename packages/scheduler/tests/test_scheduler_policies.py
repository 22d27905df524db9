"""Retries, timeouts, deadlines, budgets and the breaker, of tasks in runs."""

import asyncio
import subprocess
import sys
from decimal import Decimal

import pytest
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_fixed,
)

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_scheduler import (
    AgentPool,
    CircuitOpenError,
    JournalError,
    SchedulerError,
    Task,
    arun,
)


class Refused(Exception):
    """As a model's vendor answers."""

    def __init__(self, status=None, retry_after=None):
        super().__init__(status, retry_after)
        self.status, self.retry_after = status, retry_after


def failing(*errors, value="fine"):
    """An async function that raises these, one a call, and then answers."""
    left, times = list(errors), []

    async def body():
        times.append(asyncio.get_running_loop().time())
        if left:
            raise left.pop(0)
        return value

    body.times = times
    return body


@pytest.mark.simulate(seeds=20)
async def test_a_task_is_tried_again_as_often_as_it_says():
    body = failing(ConnectionError(1), KeyError(2))
    result = await arun([Task("a", run=body, retries=2)])
    assert (result["a"].value, result["a"].attempts) == ("fine", 3)
    assert body.times[0] == 0
    assert 0.5 <= body.times[1] <= 1.5  # half a second and up to a second of jitter
    assert 1 <= body.times[2] - body.times[1] <= 2


@pytest.mark.simulate(seeds=5)
async def test_the_last_error_is_the_tasks():
    errors = [ConnectionError(n) for n in range(3)]
    result = await arun([Task("a", run=failing(*errors), retries=1)])
    assert result["a"].error is errors[1]
    assert result["a"].attempts == 2


@pytest.mark.simulate(seeds=5)
@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_what_will_be_the_same_again_is_not_tried_again(status):
    body = failing(Refused(status))
    result = await arun([Task("a", run=body, retries=5)])
    assert len(body.times) == result["a"].attempts == 1


@pytest.mark.simulate(seeds=5)
@pytest.mark.parametrize("error", [SchedulerError("no"), JournalError("no")])
async def test_what_the_package_refuses_is_not_tried_again(error):
    body = failing(error)
    assert (await arun([Task("a", run=body, retries=5)]))["a"].error is error
    assert len(body.times) == 1


@pytest.mark.simulate(seeds=5)
async def test_a_retry_after_is_waited_for():
    body = failing(Refused(429, retry_after=20))
    result = await arun([Task("a", run=body, retries=1)])
    assert result.ok
    assert body.times[1] == 20


@pytest.mark.simulate(seeds=5)
async def test_a_wait_that_would_outlast_the_deadline_is_not_begun():
    error = Refused(429, retry_after=20)
    body = failing(error)
    result = await arun([Task("a", run=body, retries=1, deadline=Deadline(10))])
    assert result["a"].error is error
    assert asyncio.get_running_loop().time() == 0


@pytest.mark.simulate(seeds=5)
async def test_a_tenacity_policy_decides_itself():
    policy = AsyncRetrying(
        stop=stop_after_attempt(3),
        wait=wait_fixed(7),
        retry=retry_if_exception_type(OSError),
    )
    body = failing(OSError(), KeyError())
    result = await arun([Task("a", run=body, retries=policy)])
    assert type(result["a"].error) is KeyError
    assert body.times == [0, 7]
    body = failing(*[OSError() for _ in range(9)])
    await arun([Task("a", run=body, retries=policy)])
    assert len(body.times) == 3


def test_tenacity_is_loaded_at_the_first_failure_only():
    code = """
import sys, waybell_scheduler as w
async def fine(): pass
async def bad(): raise KeyError
w.run([w.Task("a", run=fine, retries=2, timeout=5)])
assert "tenacity" not in sys.modules
w.run([w.Task("a", run=bad, timeout=5)])
assert "tenacity" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.simulate(seeds=5)
async def test_a_timeout_says_whose_it_was_and_what_to_change():
    result = await arun([Task("index", run=lambda: asyncio.sleep(60), timeout=0.5)])
    assert str(result["index"].error) == (
        "deadline of 0.5 s passed (0.5 s elapsed); task 'index' may take timeout=0.5: "
        "give it more"
    )
    with pytest.raises(DeadlineExceeded, match="task 'index'"):
        result.unwrap()


@pytest.mark.simulate(seeds=5)
async def test_a_deadline_inside_a_task_is_not_taken_for_its_timeout():
    async def slow():
        async with Deadline(1):
            await asyncio.sleep(60)

    result = await arun([Task("index", run=slow, timeout=5)])
    assert "timeout=" not in str(result["index"].error)


@pytest.mark.simulate(seeds=20)
async def test_a_timeout_holds_for_each_attempt():
    times = []

    async def slow():
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(60 if len(times) < 3 else 4)
        return 1

    policy = AsyncRetrying(stop=stop_after_attempt(3))
    result = await arun([Task("a", run=slow, timeout=5, retries=policy)])
    assert result.ok
    assert times == [0, 5, 10]
    result = await arun([Task("a", run=lambda: asyncio.sleep(60), timeout=5)])
    assert isinstance(result["a"].error, DeadlineExceeded)


@pytest.mark.simulate(seeds=20)
@pytest.mark.parametrize(
    ("own", "whole", "timeout", "ends"),
    [(3, 9, 5, 3), (9, 3, 5, 3), (9, 9, 2, 2), (None, 4, None, 4)],
)
async def test_the_tightest_limit_wins(own, whole, timeout, ends):
    async def hangs():
        await asyncio.sleep(1000)

    task = Task("a", run=hangs, timeout=timeout, deadline=own and Deadline(own))
    result = await arun([task, Task("b", run=hangs, depends_on=["a"])], deadline=whole)
    assert isinstance(result["a"].error, DeadlineExceeded)
    assert asyncio.get_running_loop().time() == ends
    assert result["b"].status == "skipped"


@pytest.mark.simulate(seeds=20)
async def test_a_task_sees_its_deadline():
    async def look():
        return Deadline.current().remaining()

    class Other:
        def remaining(self):
            return 6.0

    result = await arun(
        [Task("a", run=look, deadline=Other()), Task("b", run=look)], deadline=8.0
    )
    assert result.unwrap() == {"a": 6.0, "b": 8.0}


@pytest.mark.simulate(seeds=20)
async def test_after_the_deadline_nothing_starts_but_clean_up_with_its_own_time():
    async def hangs():
        await asyncio.sleep(1000)

    async def tidy():
        await asyncio.sleep(1)
        return "tidy"

    result = await arun(
        [
            Task("a", run=hangs),
            Task("b", run=tidy, run_if="always", depends_on=["a"], timeout=2),
            Task("c", run=tidy, run_if="always", depends_on=["a"]),
        ],
        deadline=5,
    )
    assert [each.status for each in result.values()] == ["failed", "done", "failed"]
    assert asyncio.get_running_loop().time() == 6


# -- budgets -------------------------------------------------------------------------


async def test_a_task_spends_from_its_own_hold():
    pool = BudgetPool(usd=1)

    async def agent(prompt, budget):
        assert pool.snapshot().usd_held == Decimal("0.4")
        budget.charge(usd="0.3", tokens=7)
        return prompt

    result = await arun(
        [Task("a", "hi", "x", usd="0.4")], agents={"x": agent}, budget=pool
    )
    assert (result["a"].usd, result["a"].tokens) == (Decimal("0.3"), 7)
    assert pool.snapshot().usd_spent == Decimal("0.3")
    assert pool.snapshot().by_label["a"].usd == Decimal("0.3")


async def test_when_money_is_out_the_run_ends_cleanly():
    pool, asked = BudgetPool(usd=1), []

    async def agent(prompt, budget):
        asked.append(prompt)
        budget.charge(usd="0.6")
        return prompt

    tasks = [Task(str(n), str(n), "x", usd="0.6") for n in range(3)]
    result = await arun(
        [*tasks, Task("after", "after", "x", ["1"]), Task("free", run=lambda: 1)],
        agents={"x": agent},
        budget=pool,
    )
    assert asked == ["0"]
    assert [each.status for each in result.values()] == [
        "done", "failed", "failed", "skipped", "done",
    ]  # fmt: skip
    for name in "12":
        error = result[name].error
        assert isinstance(error, BudgetExceeded)
        assert (error.axis, error.asked, error.left) == (
            "usd",
            Decimal("0.6"),
            Decimal("0.4"),
        )
    assert pool.snapshot().usd_held == 0
    assert pool.snapshot().unreported == 0


async def test_a_task_waits_for_money_that_another_one_may_leave():
    pool = BudgetPool(usd=1)

    async def agent(prompt, budget):
        await asyncio.sleep(0)
        budget.charge(usd="0.1")
        return prompt

    tasks = [Task(str(n), str(n), "x", usd="0.6") for n in range(5)]
    assert (await arun(tasks, agents={"x": agent}, budget=pool)).ok


@pytest.mark.simulate(seeds=20)
async def test_it_waits_for_money_no_longer_than_its_deadline():
    pool = BudgetPool(usd=1)

    async def agent(prompt, budget):
        await asyncio.sleep(50)
        budget.charge(usd=0)

    tasks = [
        Task("a", "a", "x", usd=1, priority=1),
        Task("b", "b", "x", usd=1, deadline=Deadline(5)),
    ]
    result = await arun(tasks, agents={"x": agent}, budget=pool)
    assert [each.status for each in result.values()] == ["done", "failed"]
    assert isinstance(result["b"].error, TimeoutError)
    assert result["b"].seconds == 5


@pytest.mark.parametrize("retries", [5, AsyncRetrying()])
async def test_being_out_of_money_is_not_tried_again(retries):
    pool = BudgetPool(usd=1)
    calls = []

    async def agent(prompt, budget):
        calls.append(1)
        budget.charge(usd=2)

    result = await arun(
        [Task("a", "a", "x", usd=1, retries=retries)], agents={"x": agent}, budget=pool
    )
    assert isinstance(result["a"].error, BudgetExceeded)
    assert len(calls) == 1


# -- the breaker ---------------------------------------------------------------------


def broken_until(moment):
    times = []

    async def call(task):
        times.append(asyncio.get_running_loop().time())
        if times[-1] < moment:
            raise ConnectionError(task.id)
        return task.id

    call.times = times
    return call


@pytest.mark.simulate(seeds=50)
async def test_ready_tasks_are_held_until_the_breaker_lets_one_through():
    pool = AgentPool(8, consecutive_failure_limit=1, recovery_timeout_s=10)
    call, told = broken_until(5), []
    tasks = [Task(str(n), priority=-n) for n in range(4)]
    result = await arun(
        tasks, call=call, pool=pool, max_concurrent=2,
        on_event=lambda name, fields: told.append((name, fields.get("held"))),
    )  # fmt: skip
    assert result.summary() in ({"done": 3, "failed": 1}, {"done": 2, "failed": 2})
    before = sum(time < 10 for time in call.times)
    assert before == result.summary()["failed"]
    assert max(call.times) < 20
    assert ("task:retrying", True) in told
    assert all(each.attempts == 1 for each in result.values())


@pytest.mark.simulate(seeds=20)
async def test_they_can_be_let_fail_instead():
    pool = AgentPool(8, consecutive_failure_limit=1, recovery_timeout_s=10)
    tasks = [Task(str(n)) for n in range(3)]
    result = await arun(
        tasks, call=broken_until(5), pool=pool, max_concurrent=1, on_open="fail"
    )
    kinds = [type(each.error) for each in result.values()]
    assert kinds == [ConnectionError, CircuitOpenError, CircuitOpenError]
    assert asyncio.get_running_loop().time() == 0


@pytest.mark.simulate(seeds=20)
async def test_a_hold_that_would_outlast_the_deadline_fails_at_once():
    pool = AgentPool(8, consecutive_failure_limit=1, recovery_timeout_s=10)
    tasks = [Task("a"), Task("b", deadline=Deadline(5))]
    result = await arun(tasks, call=broken_until(5), pool=pool, max_concurrent=1)
    assert isinstance(result["b"].error, CircuitOpenError)
    assert asyncio.get_running_loop().time() == 0


@pytest.mark.simulate(seeds=20)
async def test_the_wait_for_a_place_in_the_pool_is_not_the_tasks():
    pool = AgentPool(1)

    async def call(task):
        await asyncio.sleep(4)

    result = await arun(
        [Task(str(n), timeout=5) for n in range(3)], call=call, pool=pool
    )
    assert result.ok
    assert asyncio.get_running_loop().time() == 12


async def test_an_answer_that_is_no_reply_costs_nothing():
    pool = BudgetPool(usd=1)

    class Priced:
        cost = "0.5"

    async def agent(prompt, budget):
        budget.charge(usd="0.1")
        return Priced()

    result = await arun([Task("a", "a", "x", usd=1)], agents={"x": agent}, budget=pool)
    assert result["a"].usd == Decimal("0.1")


async def test_agents_without_a_limit_have_none():
    tasks = [Task("a", agent="x"), Task("b", run=lambda: 1)]
    result = await arun(tasks, call=lambda task: task.id, agent_limit={"y": 1})
    assert result.unwrap() == {"a": "a", "b": 1}


@pytest.mark.simulate(seeds=20)
@pytest.mark.parametrize(("on_open", "ends"), [("hold", "done"), ("fail", "failed")])
async def test_a_function_that_calls_through_a_pool_itself_is_held_too(on_open, ends):
    pool = AgentPool(8, consecutive_failure_limit=1, recovery_timeout_s=10)

    async def fails():
        raise ConnectionError

    async def calls():
        return await pool.acall(asyncio.sleep, 0, "fine")

    with pytest.raises(ConnectionError):
        await pool.acall(fails)
    result = await arun([Task("a", run=calls)], on_open=on_open)
    assert result["a"].status == ends
    assert asyncio.get_running_loop().time() == (10 if ends == "done" else 0)
