"""Runs: what starts when, what is handed over, and what comes of it."""

import asyncio
import subprocess
import sys
import threading

import pytest

from waybell_scheduler import (
    Gap,
    RunResult,
    SchedulerError,
    Task,
    TaskQueue,
    arun,
    run,
)


async def one():
    return 1


async def broken():
    raise KeyError("the very one")


async def test_a_task_starts_when_its_own_dependencies_are_done():
    order = []
    slow = asyncio.Event()

    def step(name, *, wait=None, release=None):
        async def body():
            if wait:
                await wait.wait()
            order.append(name)
            if release:
                release.set()

        return body

    await arun(
        [
            Task("slow", run=step("slow", wait=slow)),
            Task("fast", run=step("fast")),
            Task(
                "after fast", run=step("after fast", release=slow), depends_on=["fast"]
            ),
            Task("after slow", run=step("after slow"), depends_on=["slow"]),
        ]
    )
    assert order == ["fast", "after fast", "slow", "after slow"]


async def test_results_are_handed_over_as_they_are():
    made = object()

    async def make():
        return made

    async def take(results):
        return results["make"]

    def take_in_a_thread(results):
        return results[
            "take"
        ], threading.current_thread() is not threading.main_thread()

    result = await arun(
        [
            Task("make", run=make),
            Task("take", run=take, depends_on=["make"]),
            Task("thread", run=take_in_a_thread, depends_on=["take"]),
        ]
    )
    assert result["take"].value is made
    assert result["thread"].value == (made, True)
    assert result.ok
    assert list(result) == ["make", "take", "thread"]


async def test_failures_keep_the_very_exception():
    error = KeyError("mine")

    async def fails():
        raise error

    result = await arun(
        [
            Task("a", run=fails),
            Task("b", run=one, depends_on=["a"]),
            Task("c", run=one),
        ]
    )
    assert (result.status, result.ok) == ("failed", False)
    assert result["a"].error is error
    assert (result["b"].status, result["b"].stems_from) == ("skipped", "a")
    assert (result["c"].status, result["c"].value) == ("done", 1)
    assert result.summary() == {"done": 1, "failed": 1, "skipped": 1}
    assert repr(result) == "<RunResult failed: 1 done, 1 failed, 1 skipped>"
    with pytest.raises(KeyError) as caught:
        result.unwrap()
    assert caught.value is error
    with pytest.raises(KeyError):
        result["nobody"]
    assert "nobody" not in result
    assert len(result) == 3


@pytest.mark.parametrize("kind", [list, TaskQueue])
async def test_a_stop_says_that_it_stopped(kind):
    tasks = [
        Task("a", run=broken),
        Task("b", run=one),
        Task("tidy", run=one, run_if="always"),
    ]
    result = await arun(kind(tasks), max_concurrent=1, stop_on_failure=True)
    assert result.status == "stopped"
    assert [each.status for each in result.values()] == ["failed", "skipped", "done"]


async def test_partial_inputs_are_typed_gaps():
    async def look(results):
        return results["a"], results["b"]

    result = await arun(
        [
            Task("a", run=broken),
            Task("b", run=one),
            Task("c", run=look, depends_on=["a", "b"], partial=True),
        ]
    )
    gap, value = result["c"].value
    assert isinstance(gap, Gap)
    assert (gap.task_id, gap.status, gap.error) == ("a", "failed", result["a"].error)
    assert value == 1


async def test_no_more_run_at_once_than_may_and_the_most_urgent_go_first():
    order, now, most = [], 0, 0

    def step(name):
        async def body():
            nonlocal now, most
            order.append(name)
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

        return body

    tasks = [Task(str(n), run=step(n), priority=n % 3) for n in range(9)]
    await arun(tasks, max_concurrent=2)
    assert most == 2
    assert order == [2, 5, 8, 1, 4, 7, 0, 3, 6]


async def test_of_equal_tasks_the_longest_way_ahead_goes_first():
    order = []

    def step(name):
        async def body():
            order.append(name)
            await asyncio.sleep(0)

        return body

    short = [Task(f"short{n}", run=step(f"short{n}")) for n in range(4)]
    chain = [
        Task(f"long{n}", run=step(f"long{n}"), depends_on=[f"long{n - 1}"] if n else [])
        for n in range(4)
    ]
    await arun([*short, *chain], max_concurrent=2)
    assert order.index("long0") <= 1


@pytest.mark.parametrize("limit", [1, {"busy": 1}])
async def test_an_agent_has_no_more_at_once_than_its_limit(limit):
    active, most, order = set(), 0, []

    async def call(task):
        nonlocal most
        active.add(task.id)
        order.append(task.agent)
        most = max(most, sum(name.startswith("b") for name in active))
        for _ in range(3):
            await asyncio.sleep(0)
        active.discard(task.id)
        if task.id == "b2":
            raise KeyError

    tasks = [Task(f"b{n}", agent="busy") for n in range(5)]
    tasks += [Task(f"f{n}", agent="free") for n in range(3)]
    result = await arun(tasks, call=call, agent_limit=limit, max_concurrent=3)
    assert result.summary() == {"done": 7, "failed": 1}
    assert most == 1
    assert order[:2] == ["busy", "free"]


async def test_tasks_are_added_from_inside_and_from_outside():
    async def grow():
        queue = TaskQueue.current()
        queue.add(Task("child", run=one, depends_on=["seed"]))
        await asyncio.sleep(0)
        queue.add(Task("other", run=one))
        return 0

    gate = asyncio.Event()
    queue = TaskQueue([Task("seed", run=grow), Task("gate", run=gate.wait)])
    running = asyncio.create_task(arun(queue, max_concurrent=2))
    for _ in range(5):
        await asyncio.sleep(0)
    queue.add(Task("outside", run=one))
    with pytest.raises(SchedulerError, match="names nobody"):
        queue.add(Task("nobody"))
    with pytest.raises(SchedulerError, match="another thread"):
        await asyncio.to_thread(queue.add, Task("thread", run=one))
    with pytest.raises(SchedulerError, match="being run already"):
        await arun(queue)
    gate.set()
    result = await running
    assert result.unwrap() == {
        "seed": 0,
        "gate": True,
        "child": 1,
        "other": 1,
        "outside": 1,
    }
    assert TaskQueue.current() is None


async def test_a_queue_that_was_cut_off_can_be_run_again():
    gate, began, calls = asyncio.Event(), asyncio.Event(), []

    async def waits():
        calls.append(1)
        began.set()
        await gate.wait()

    queue = TaskQueue([Task("a", run=one), Task("b", run=waits, depends_on=["a"])])
    first = asyncio.create_task(arun(queue))
    await began.wait()
    first.cancel()
    await asyncio.wait([first])
    gate.set()
    assert (await arun(queue)).ok
    assert len(calls) == 2


async def test_no_tasks_are_done_at_once():
    result = await arun([])
    assert (result.status, len(result), result.unwrap()) == ("done", 0, {})


def test_plain_code_runs_tasks_too():
    result = run(
        [
            Task("a", run=lambda: 2),
            Task("b", run=lambda got: got["a"] + 1, depends_on=["a"]),
        ]
    )
    assert isinstance(result, RunResult)
    assert result.unwrap() == {"a": 2, "b": 3}


async def test_plain_code_works_inside_a_running_loop():
    threads = []

    async def where():
        threads.append(threading.current_thread())
        return asyncio.get_running_loop()

    result = run([Task("a", run=where)])
    assert result["a"].value is not asyncio.get_running_loop()
    assert threads[0] is not threading.current_thread()
    assert not threads[0].is_alive()
    with pytest.raises(SchedulerError, match="names nobody"):
        run([Task("a")])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_concurrent": 0}, "max_concurrent=0"),
        ({"max_concurrent": True}, "max_concurrent=True"),
        ({"agent_limit": {"a": 0}}, "agent_limit="),
        ({"agent_limit": 0}, "agent_limit=0"),
        ({"deadline": -1}, "deadline=-1"),
        ({"deadline": "soon"}, "deadline='soon'"),
        ({"budget": 5}, "budget=5"),
        ({"pool": 5}, "pool=5"),
        ({"bus": 5}, "bus=5"),
        ({"call": 5}, "call=5"),
        ({"decisions": {"a": True}}, "journal="),
        ({"on_open": "wait"}, "on_open='wait'"),
    ],
)
async def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises(SchedulerError, match=message):
        await arun([], **settings)


async def test_an_unknown_setting_names_its_neighbour():
    with pytest.raises(TypeError, match="did you mean 'max_concurrent'"):
        await arun([], max_concurent=3)
    with pytest.raises(TypeError, match="does not take 'zzz'"):
        await arun([], zzz=3)


async def test_a_task_for_nobody_is_refused_before_anything_starts():
    called = []
    tasks = [Task("a", run=lambda: called.append(1)), Task("b", agent="writer")]
    with pytest.raises(SchedulerError, match="'b' is for agent 'writer': give bus="):
        await arun(tasks)
    with pytest.raises(SchedulerError, match="with it, which has editor"):
        await arun(tasks, agents={"editor": one})
    assert not called


def test_an_interrupt_in_a_notebook_leaves_nothing_running():
    code = """
import asyncio, signal, threading, waybell_scheduler as w
signal.signal(signal.SIGINT, signal.default_int_handler)
main, ended = threading.main_thread(), []

async def task():
    try:
        signal.pthread_kill(main.ident, signal.SIGINT)
        await asyncio.sleep(60)
    finally:
        ended.append(1)

async def cell():
    try:
        w.run([w.Task("a", run=task)])
    except KeyboardInterrupt:
        print("interrupted", ended, threading.active_count())

asyncio.new_event_loop().run_until_complete(cell())
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "interrupted [1] 1\n"


@pytest.mark.simulate(seeds=5)
async def test_of_very_many_tasks_too_once_one_has_proved_slow():
    order = []

    def step(name):
        async def body():
            order.append(name)
            await asyncio.sleep(1)

        return body

    short = [Task(f"short{n}", run=step(f"short{n}")) for n in range(600)]
    chain = [
        Task(f"long{n}", run=step(f"long{n}"), depends_on=[f"long{n - 1}"] if n else [])
        for n in range(4)
    ]
    await arun([*short, *chain], max_concurrent=2)
    assert 2 <= order.index("long0") <= 3
    assert order.index("long2") <= 10  # the last one is like the others


async def test_a_worker_that_was_cancelled_while_idle_is_not_counted_on():
    workers, gate, grown = [], asyncio.Event(), []

    async def leaves_its_worker():
        workers.append(asyncio.current_task())
        await asyncio.sleep(0)

    async def holds():
        await gate.wait()
        for worker in workers:
            worker.cancel()
        for n in range(4):
            TaskQueue.current().add(Task(f"late{n}", run=late))

    async def late():
        await asyncio.sleep(0)
        grown.append(1)

    tasks = [Task("holds", run=holds)]
    tasks += [Task(str(n), run=leaves_its_worker) for n in range(3)]
    running = asyncio.create_task(arun(tasks, max_concurrent=4))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(workers) == 3
    gate.set()
    assert (await running).ok
    assert len(grown) == 4


@pytest.mark.parametrize("policy", [{}, {"timeout": 60}])
async def test_a_queue_that_was_begun_by_hand_is_gone_on_with(policy):
    queue = TaskQueue([
        Task("a", run=broken, **policy),
        Task("b", run=one, depends_on=["a"], **policy),
    ])  # fmt: skip
    queue.complete("a", result=5)
    assert (await arun(queue)).unwrap() == {"a": 5, "b": 1}
