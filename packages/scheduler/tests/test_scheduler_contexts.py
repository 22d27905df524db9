"""Tasks that share a worker do not see each other."""

import asyncio
import contextvars

import pytest

from waybell_deadline import Deadline, DeadlineExceeded
from waybell_scheduler import Task, TaskQueue, arun
from waybell_scheduler._crew import rest
from waybell_scheduler._staff import Staff


mark = contextvars.ContextVar("mark", default="none")


async def one_by_one(*functions):
    """Run functions as tasks on one worker, one after another."""
    tasks = [Task(str(n), run=fn) for n, fn in enumerate(functions)]
    return await arun(tasks, max_concurrent=1)


async def test_each_task_has_its_own_copy_of_the_callers_context():
    mark.set("caller")
    seen = []

    async def write():
        seen.append(mark.get())
        mark.set("mine")
        await asyncio.sleep(0)
        seen.append(mark.get())

    async def at_once():
        seen.append(mark.get())
        mark.set("mine too")

    await one_by_one(write, at_once, write)
    assert seen == ["caller", "mine", "caller", "caller", "mine"]
    assert mark.get() == "caller"


async def test_a_token_can_be_reset_across_a_wait():
    async def scoped():
        token = mark.set("inside")
        try:
            await asyncio.sleep(0)
            assert mark.get() == "inside"
        finally:
            mark.reset(token)
        return mark.get()

    result = await one_by_one(scoped, scoped)
    assert result.unwrap() == {"0": "none", "1": "none"}


async def test_a_timeout_inside_a_task_ends_only_what_it_encloses():
    async def slow():
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            assert not asyncio.current_task().cancelling()
            return "late"

    async def fast():
        await asyncio.sleep(0)
        return "in time"

    result = await one_by_one(slow, fast, slow)
    assert list(result.unwrap().values()) == ["late", "in time", "late"]


async def test_a_timeout_that_escapes_a_task_is_its_error():
    async def slow():
        async with asyncio.timeout(0):
            await asyncio.sleep(60)

    async def wall():
        async with Deadline(0):
            await asyncio.sleep(60)

    async def after():
        await asyncio.sleep(0)

    result = await one_by_one(slow, wall, after)
    assert [each.status for each in result.values()] == ["failed", "failed", "done"]
    assert type(result["0"].error) is TimeoutError
    assert type(result["1"].error) is DeadlineExceeded


async def test_a_task_group_works_inside_a_task_and_leaves_nothing_to_the_next():
    async def fails():
        raise KeyError

    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
            await asyncio.sleep(60)

    async def twins():
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(asyncio.sleep(0, n)) for n in range(2)]
        return sum(each.result() for each in both)

    result = await one_by_one(group, twins, group, twins)
    assert [each.status for each in result.values()] == ["failed", "done"] * 2
    assert type(result["0"].error) is ExceptionGroup
    assert result["3"].value == 1


@pytest.mark.parametrize("waits", [True, False])
async def test_a_task_that_cancels_itself_cancels_no_other(waits):
    async def rash():
        asyncio.current_task().cancel()
        if waits:
            await asyncio.sleep(60)

    async def after():
        await asyncio.sleep(0)
        assert not asyncio.current_task().cancelling()
        return 1

    result = await one_by_one(rash, after, after)
    assert result["0"].status == ("cancelled" if waits else "done")
    assert result["1"].value == result["2"].value == 1


async def test_a_task_may_await_what_was_cancelled():
    async def awaits():
        other = asyncio.ensure_future(asyncio.sleep(60))
        other.cancel()
        await other

    result = await arun(
        [Task("a", run=awaits), Task("b", run=awaits, depends_on=["a"])]
    )
    assert [each.status for each in result.values()] == ["cancelled", "skipped"]
    assert type(result["a"].error) is asyncio.CancelledError


async def test_a_task_that_swallows_a_cancellation_keeps_its_result():
    started = asyncio.Event()

    async def stubborn():
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "kept"

    queue = TaskQueue(
        [Task("a", run=stubborn), Task("b", run=stubborn, depends_on=["a"])]
    )
    run = asyncio.create_task(arun(queue))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (queue.status("a"), queue.result("a")) == ("done", "kept")
    assert queue.status("b") == "ready"


@pytest.mark.parametrize("policy", [{}, {"timeout": 60}])
async def test_cancelling_a_run_cancels_what_is_in_flight_and_leaves_nothing(policy):
    events = []
    started = asyncio.Semaphore(0)

    async def task():
        events.append("began")
        started.release()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            events.append("ended")

    queue = TaskQueue([Task(str(n), run=task, **policy) for n in range(5)])
    run = asyncio.create_task(arun(queue, max_concurrent=3))
    for _ in range(3):
        await started.acquire()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sorted(events) == ["began"] * 3 + ["ended"] * 3
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert queue.summary() == {"ready": 5}  # what was in flight may start again


async def test_a_run_that_is_cancelled_again_still_waits_for_the_end():
    cleaned, started = asyncio.Event(), asyncio.Event()
    ended = []

    async def slow_to_end():
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            while not cleaned.is_set():
                try:
                    await asyncio.wait_for(cleaned.wait(), 60)
                except asyncio.CancelledError:
                    ended.append("insisted")
            ended.append("ended")

    run = asyncio.create_task(arun([Task("a", run=slow_to_end)]))
    await started.wait()
    run.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    run.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not run.done()
    cleaned.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended == ["insisted", "ended"]


@pytest.mark.parametrize("policy", [{}, {"timeout": 60}])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_nobodys_failure(error, policy):
    ended = []

    async def interrupted():
        await asyncio.sleep(0)
        raise error

    async def other():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("other")

    async def main():
        await arun([Task("b", run=other), Task("a", run=interrupted, **policy)])

    with pytest.raises(error):
        asyncio.run(main())
    assert ended == ["other"]


async def test_a_worker_lets_others_have_the_loop():
    turns = 0

    async def ticker():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def noop():
        sum(range(2000))

    beside = asyncio.create_task(ticker())
    await arun([Task(str(n), run=noop) for n in range(3000)])
    beside.cancel()
    assert turns >= 3


async def test_a_chain_of_many_tasks_needs_no_recursion():
    async def noop():
        return None

    tasks = [
        Task(str(n), run=noop, depends_on=[str(n - 1)] if n else [])
        for n in range(20_000)
    ]
    assert (await arun(tasks)).summary() == {"done": 20_000}


@pytest.mark.parametrize("policy", [{}, {"timeout": 60}])
async def test_a_run_of_a_task_that_cancels_itself_ends(policy):
    async def rash():
        asyncio.current_task().cancel()
        await asyncio.sleep(60)

    result = await arun([Task("a", run=rash, **policy)])
    assert (result.status, result["a"].status) == ("failed", "cancelled")


async def test_what_is_left_of_a_task_ends_in_its_own_context():
    seen = []

    async def task():
        mark.set("mine")
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(mark.get())

    coro, context = task(), contextvars.copy_context()
    left = rest(coro, context, context.run(coro.send, None))
    left.send(None)
    left.close()  # as when a loop is thrown away
    assert seen == ["mine"]


async def test_an_error_of_the_loop_itself_ends_the_run():
    class Broken(Staff):
        async def _working(self):
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await Broken(TaskQueue([Task("a")]), 1, orders=False).run()
