"""The journal: nothing that was paid for is paid for twice."""

import asyncio
import errno
import json
import pickle
import resource
import stat
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from tenacity import AsyncRetrying, stop_after_attempt

from waybell_scheduler import (
    JournalError,
    Pending,
    SchedulerError,
    Steps,
    Task,
    TaskQueue,
    aresume,
    arun,
    resume,
    run,
)
from waybell_scheduler._journal import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "run.jsonl"


@pytest.fixture
def calls():
    return []


def abc(calls, fail=()):
    """Three tasks in a row, two of them with what a journal must keep."""

    def step(name):
        async def body(results):
            calls.append(name)
            await asyncio.sleep(0)
            if name in fail:
                raise KeyError(name)
            return {"name": name, "after": results, "n": [1, None, 0.5]}

        return body

    return [
        Task("a", run=step("a")),
        Task("b", run=step("b"), depends_on=["a"]),
        Task("c", run=step("c"), depends_on=["b"]),
    ]


async def until(true):
    """Let others run until something is true."""
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_finished_run_repeats_nothing(path, calls):
    first = await arun(abc(calls), journal=path)
    second = await arun(abc(calls), journal=path)
    assert calls == ["a", "b", "c"]
    assert first.unwrap() == second.unwrap()
    assert [each.recorded for each in second.values()] == [True] * 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_only_what_was_in_flight_starts_again(path, calls):
    async def hangs():
        calls.append("hangs")
        if len(calls) < 3:
            await asyncio.sleep(60)
        return "now"

    def tasks():
        return [*abc(calls)[:1], Task("hangs", run=hangs, depends_on=["a"])]

    running = asyncio.create_task(arun(tasks(), journal=path))
    await until(lambda: "hangs" in calls)
    with pytest.raises(JournalError, match="in use by another run"):
        await arun(tasks(), journal=path)
    running.cancel()
    await asyncio.wait([running])
    result = await arun(tasks(), journal=path)
    assert calls == ["a", "hangs", "hangs"]
    assert result["hangs"].value == "now"
    assert (result["a"].recorded, result["hangs"].recorded) == (True, False)


@pytest.mark.parametrize("missing", range(1, 40, 3))
async def test_a_torn_tail_is_cut_and_its_task_runs_again(path, calls, missing):
    await arun(abc(calls), journal=path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-missing])
    result = await arun(abc(calls), journal=path)
    assert result.ok
    assert calls == ["a", "b", "c", "c"]
    for line in path.read_bytes().splitlines(keepends=True):
        assert json.loads(line)
        assert line.endswith(b"\n")


async def test_a_journal_torn_in_its_first_line_begins_anew(path, calls):
    await arun(abc(calls), journal=path)
    path.write_bytes(path.read_bytes()[:25])
    assert (await arun(abc(calls), journal=path)).ok
    assert calls == ["a", "b", "c"] * 2


async def test_damage_before_the_end_is_refused(path, calls):
    await arun(abc(calls), journal=path)
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([content[0], b'{"task": oops}\n', *content[1:]]))
    with pytest.raises(JournalError, match="damaged in line 2"):
        await arun(abc(calls), journal=path)


@pytest.mark.parametrize("content", ["hello", "hello\n", '{"a": 1}\n', "[]\n"])
async def test_another_file_is_refused_and_kept(path, calls, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(JournalError, match=r"no journal|damaged"):
        await arun(abc(calls), journal=path)
    assert path.read_text() == content
    with pytest.raises(IsADirectoryError):
        await arun(abc(calls), journal=path.parent)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (lambda t: t[:2], "it has a task 'c'"),
        (lambda t: [*t, Task("d", run=len)], "it has no task 'd'"),
        (lambda t: [*t[:2], Task("c", run=t[2].run, depends_on=["a"])],
         r"depends_on of task 'c' was \['b'\] and is \['a'\]"),
        (lambda t: [*t[:2], Task("c", "do it", run=t[2].run, depends_on=["b"])],
         "description of task 'c' was None and is 'do it'"),
        (lambda t: [*t[:2], Task("c", agent="x", depends_on=["b"])], "agent of task 'c'"),
        (lambda t: [*t[:2], Task("c", run=len, depends_on=["b"], partial=True)], "partial of"),
    ],
)  # fmt: skip
async def test_a_journal_of_another_graph_names_the_first_difference(
    path, calls, changed, difference
):
    await arun(abc(calls), journal=path)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=difference) as caught:
        await arun(changed(abc(calls)), journal=path)
    assert str(caught.value).endswith(". Give another journal=, or delete it.")
    assert path.read_bytes() == before


async def test_policies_and_the_order_of_tasks_may_change(path, calls):
    await arun(abc(calls), journal=path)
    tasks = abc(calls)
    tasks[2].timeout = 5
    assert (await arun(reversed(tasks), journal=path)).ok
    assert len(calls) == 3


async def test_a_failure_is_final_until_it_is_to_be_tried_again(path, calls):
    fail = {"b"}
    first = await arun(abc(calls, fail), journal=path)
    assert [each.status for each in first.values()] == ["done", "failed", "skipped"]
    again = await arun(abc(calls, fail), journal=path)
    assert calls == ["a", "b"]
    assert again["b"].status == "failed"
    assert str(again["b"].error) == "KeyError: 'b' (in an earlier run)"
    assert again["c"].stems_from == "b"
    fail.clear()
    third = await arun(abc(calls, fail), journal=path, retry_failed=True)
    assert third.ok
    assert calls == ["a", "b", "b", "c"]


async def test_a_stopped_run_stays_stopped(path, calls):
    tasks = [*abc(calls, {"a"}), Task("z", run=abc(calls)[0].run)]
    for _ in range(2):
        result = await arun(tasks, journal=path, stop_on_failure=True, max_concurrent=1)
        assert result.status == "stopped"
        assert result["z"].status == "skipped"
    assert calls == ["a"]


class Reply(str):
    """A model's answer."""

    __slots__ = ("cost", "message", "model", "usage")


async def test_a_reply_comes_back_as_text_with_its_facts(path):
    async def answer():
        reply = Reply("väl \ud800")
        reply.usage, reply.cost = (
            {"input_tokens": 3, "output_tokens": 2},
            Decimal("0.01"),
        )
        reply.message, reply.model = {"role": "assistant", "content": ["x"]}, object()
        return reply

    tasks = [Task("a", run=answer)]
    await arun(tasks, journal=path)
    value = (await arun(tasks, journal=path))["a"].value
    assert value == "väl \ud800"
    assert isinstance(value, str)
    assert value.text == "väl \ud800"
    assert (value.cost, value.tokens) == (Decimal("0.01"), 5)
    assert value.message == {"role": "assistant", "content": ["x"]}
    assert not hasattr(value, "model")
    assert not hasattr(value, "nonsense")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "not JSON serializable"),
        ({1: "a"}, "the key 1 is no text"),
        ({"a": [{2: 3}]}, "the key 2 is no text"),
        (float("nan"), "Out of range"),
        ({"a": {1}}, "not JSON serializable"),
    ],
    ids=str,
)
async def test_a_value_that_a_journal_cannot_keep_fails_its_task_by_name(
    path, value, why
):
    async def odd():
        return value

    result = await arun([Task("a", run=odd)], journal=path)
    error = result["a"].error
    assert isinstance(error, JournalError)
    assert why in str(error)
    assert error.value is value


async def test_a_cycle_is_no_json(path):
    loop = []
    loop.append(loop)

    async def odd():
        return loop

    assert isinstance(
        (await arun([Task("a", run=odd)], journal=path))["a"].error, JournalError
    )


async def test_tuples_come_back_as_lists(path):
    async def pair():
        return {"x": (1, 2)}

    tasks = [Task("a", run=pair)]
    assert (await arun(tasks, journal=path))["a"].value == {"x": (1, 2)}
    assert (await arun(tasks, journal=path))["a"].value == {"x": [1, 2]}


@pytest.mark.parametrize("policy", [{}, {"retries": 3}])
async def test_a_full_disk_ends_the_run_and_loses_nothing_acknowledged(
    path, calls, policy
):
    async def step(results):
        calls.append(len(calls))
        return "x" * 500

    tasks = [
        Task(str(n), run=step, depends_on=[str(n - 1)] if n else [], **policy)
        for n in range(20)
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(JournalError, match="cannot be written") as caught:
            await arun(tasks, journal=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno in {errno.EFBIG, None}
    assert len(lines(path)) > 3
    known = sum("done" in record for record in lines(path))
    done = len(calls)
    result = await arun(tasks, journal=path)
    assert result.ok
    assert len(calls) == done + 20 - known
    assert known in {done, done - 1}


# -- steps ---------------------------------------------------------------------------


async def test_steps_are_recalled_and_none_is_there_without_a_journal(path, calls):
    crash = True

    async def agent():
        steps = Steps.current()
        for turn in range(3):
            value = steps.recall(f"turn:{turn}")
            if value is Steps.MISSING:
                calls.append(turn)
                steps.record(f"turn:{turn}", {"text": turn})
            if crash and turn == 1:
                raise ConnectionError
        return steps.recall("turn:2"), steps.recall("none", 5)

    tasks = [Task("a", run=agent)]
    assert Steps.current() is None
    await arun(tasks, journal=path)
    crash = False
    result = await arun(tasks, journal=path, retry_failed=True)
    assert calls == [0, 1, 2]
    assert result["a"].value == ({"text": 2}, 5)
    assert not Steps.MISSING
    assert repr(Steps.MISSING) == "Steps.MISSING"

    async def sees():
        return Steps.current()

    assert (await arun([Task("a", run=sees)]))["a"].value is None


async def test_a_retry_recalls_the_steps_of_the_attempt_before(path, calls):
    async def agent():
        steps = Steps.current()
        if steps.recall("turn") is Steps.MISSING:
            calls.append("paid")
            steps.record("turn", 1)
        calls.append("tried")
        if calls.count("tried") < 2:
            raise ConnectionError
        return steps.recall("turn")

    policy = AsyncRetrying(stop=stop_after_attempt(2))
    result = await arun([Task("a", run=agent, retries=policy)], journal=path)
    assert (result["a"].value, result["a"].attempts) == (1, 2)
    assert calls == ["paid", "tried", "tried"]


async def test_idempotency_keys_stay_the_same_and_are_nobody_elses(path):
    keys = []

    async def agent():
        steps = Steps.current()
        keys.append((steps.idempotency_key("x"), steps.idempotency_key("y"), steps.run))
        raise ConnectionError

    tasks = [Task("a", run=agent)]
    await arun(tasks, journal=path)
    await arun(tasks, journal=path, retry_failed=True)
    await arun(tasks, journal=path.with_name("other.jsonl"))
    first, second, other = keys
    assert first == second
    assert len({*first, *other}) == 6
    assert all(key.isascii() and len(key) < 64 for key in first)


def tool_user(calls, *, safe=False, key="call:1"):
    async def agent():
        steps = Steps.current()
        value = steps.recall(key)
        if value is Steps.MISSING:
            steps.begin(key, safe_to_repeat=safe, tool="pay", amount=5)
            calls.append("effect")
            if len(calls) == 1:
                await asyncio.sleep(60)
            steps.record(key, value := "receipt")
        return value

    return [Task("a", run=agent), Task("b", run=len, depends_on=["a"])]


async def interrupted(tasks, path, calls):
    """A run that ends in the middle of its first effect."""
    running = asyncio.create_task(arun(tasks, journal=path))
    await until(lambda: calls)
    running.cancel()
    await asyncio.wait([running])


async def test_an_effect_of_unknown_outcome_suspends_the_run(path, calls):
    tasks = tool_user(calls)
    await interrupted(tasks, path, calls)
    result = await arun(tasks, journal=path)
    assert calls == ["effect"]
    assert result.status == "suspended"
    assert (result["a"].status, result["b"].status) == ("suspended", "waiting")
    pending = result.pending["a/call:1"]
    assert (pending.reason, pending.data) == (
        "tool call outcome unknown", {"tool": "pay", "amount": 5},
    )  # fmt: skip
    with pytest.raises(SchedulerError, match="a/call:1: tool call outcome unknown"):
        result.unwrap()


@pytest.mark.parametrize(
    ("decision", "value", "effects"),
    [
        (True, "receipt", 2),
        ("repeat", "receipt", 2),
        ("receipt 7", "receipt 7", 1),
        ({"value": True}, True, 1),
        ({"text": "r"}, {"text": "r"}, 1),
    ],
)
async def test_a_decision_says_what_became_of_it(path, calls, decision, value, effects):
    tasks = tool_user(calls)
    tasks[1].run = lambda results: results["a"]
    await interrupted(tasks, path, calls)
    await arun(tasks, journal=path)
    result = await aresume(path, {"a/call:1": decision}, tasks=tasks)
    assert result["b"].value == value
    assert len(calls) == effects


@pytest.mark.parametrize("decision", [False, "fail"])
async def test_a_decision_not_to_repeat_fails_the_step(path, calls, decision):
    tasks = tool_user(calls)
    await interrupted(tasks, path, calls)
    await arun(tasks, journal=path)
    result = await aresume(path, {"a/call:1": decision}, tasks=tasks)
    assert "not to be repeated" in str(result["a"].error)
    assert len(calls) == 1


async def test_a_decision_to_repeat_holds_for_one_time(path, calls):
    tasks = tool_user(calls)
    await interrupted(tasks, path, calls)
    await arun(tasks, journal=path)
    calls.clear()  # so that it hangs again
    running = asyncio.create_task(aresume(path, {"a/call:1": True}, tasks=tasks))
    await until(lambda: calls)
    running.cancel()
    await asyncio.wait([running])
    assert (await arun(tasks, journal=path)).status == "suspended"


async def test_a_decision_to_repeat_holds_for_one_attempt(path, calls):
    async def agent():
        Steps.current().begin("pay")
        calls.append("effect")
        if len(calls) == 1:
            await asyncio.sleep(60)
        raise ConnectionError

    tasks = [Task("a", run=agent, retries=AsyncRetrying(stop=stop_after_attempt(3)))]
    await interrupted(tasks, path, calls)
    assert list((await arun(tasks, journal=path)).pending) == ["a/pay"]
    result = await aresume(path, {"a/pay": True}, tasks=tasks)
    assert list(result.pending) == ["a/pay"]
    assert len(calls) == 2


async def test_what_was_in_flight_again_after_a_failure_starts_again(path, calls):
    async def step():
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError
        await asyncio.sleep(60 if len(calls) == 2 else 0)

    tasks = [Task("a", run=step)]
    assert (await arun(tasks, journal=path)).status == "failed"
    running = asyncio.create_task(arun(tasks, journal=path, retry_failed=True))
    await until(lambda: len(calls) == 2)
    running.cancel()
    await asyncio.wait([running])
    assert (await arun(tasks, journal=path)).ok


async def test_what_is_safe_to_repeat_is_repeated(path, calls):
    tasks = tool_user(calls, safe=True)
    await interrupted(tasks, path, calls)
    assert (await arun(tasks, journal=path))["a"].value == "receipt"
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("decision", "value"), [(True, "done"), ("by hand", "by hand")]
)
async def test_a_task_that_is_not_safe_to_repeat_waits_for_a_decision(
    path, calls, decision, value
):
    async def deploy():
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(60)
        return "done"

    tasks = [Task("deploy", run=deploy, safe_to_repeat=False)]
    await interrupted(tasks, path, calls)
    result = await arun(tasks, journal=path)
    assert list(result.pending) == ["deploy"]
    assert calls == [1]
    result = await aresume(path, {"deploy": decision}, tasks=tasks)
    assert result["deploy"].value == value


# -- approvals that outlive the process ----------------------------------------------


def gated(calls):
    async def publish(results):
        decision = Steps.current().decision()
        if decision is Steps.MISSING:
            return Pending("publish?", draft=results["draft"], odd=object)
        calls.append("published")
        return decision

    async def draft():
        calls.append("drafted")
        return "text"

    return [
        Task("draft", run=draft),
        Task("publish", run=publish, depends_on=["draft"]),
        Task("tell", run=lambda: calls.append("told"), depends_on=["publish"]),
    ]


async def test_an_approval_may_come_in_another_process(path, calls):
    first = await arun(gated(calls), journal=path)
    assert first.status == "suspended"
    assert first.pending["publish"].data["draft"] == "text"
    again = await arun(gated(calls), journal=path)
    assert again.status == "suspended"
    result = await aresume(path, {"publish": True}, tasks=gated(calls))
    assert result.status == "done"
    assert calls == ["drafted", "published", "told"]


async def test_an_approval_may_be_refused(path, calls):
    await arun(gated(calls), journal=path)
    result = await aresume(path, {"publish": False}, tasks=gated(calls))
    assert str(result["publish"].error) == "'publish' was refused"
    assert (result["tell"].status, calls) == ("skipped", ["drafted"])


async def test_a_decision_is_kept_through_a_crash(path, calls):
    tasks = gated(calls)
    await arun(tasks, journal=path)

    async def hangs():
        calls.append("tells")
        await asyncio.sleep(0 if calls.count("tells") > 1 else 60)

    tasks[2] = Task("tell", run=hangs, depends_on=["publish"])
    running = asyncio.create_task(aresume(path, {"publish": True}, tasks=tasks))
    await until(lambda: "tells" in calls)
    running.cancel()
    await asyncio.wait([running])
    assert (await arun(tasks, journal=path)).ok
    assert calls.count("published") == 1


@pytest.fixture
def asking_twice():
    async def agent():
        steps = Steps.current()
        for n in range(2):
            try:
                if steps.decision(f"approve:{n}") is Steps.MISSING:
                    steps.suspend(f"approve:{n}", Pending("may I?", n=n))
            except Pending as pending:
                last = pending
        if steps.pending:
            raise last
        return [steps.decision(f"approve:{n}") for n in range(2)]

    return [Task("a", run=agent)]


async def test_several_steps_of_a_task_may_wait(path, asking_twice):
    result = await arun(asking_twice, journal=path)
    assert list(result.pending) == ["a/approve:0", "a/approve:1"]
    half = await aresume(path, {"a/approve:0": False}, tasks=asking_twice)
    assert list(half.pending) == ["a/approve:1"]
    whole = await aresume(path, {"a/approve:1": "maybe"}, tasks=asking_twice)
    assert whole["a"].value == [False, "maybe"]


async def test_a_decision_may_name_the_task_if_only_one_of_its_steps_waits(
    path, asking_twice
):
    await arun(asking_twice, journal=path)
    several = "'a' waits for several: name 'a/approve:0' or 'a/approve:1'"
    for answers in ({"a": True}, {"a/approve:0": True, "a": True}):
        with pytest.raises(JournalError, match=several):
            await aresume(path, answers, tasks=asking_twice)
    await aresume(path, {"a/approve:0": False}, tasks=asking_twice)
    for answers in ({"a": 1, "a/approve:1": 2}, {"a/approve:1": 2, "a": 1}):
        with pytest.raises(JournalError, match="'a/approve:1' is decided twice"):
            await aresume(path, answers, tasks=asking_twice)
    whole = await aresume(path, {"a": "maybe"}, tasks=asking_twice)
    assert whole["a"].value == [False, "maybe"]


async def test_a_failure_with_a_step_that_waits_is_a_suspension(path):
    async def agent():
        async with asyncio.TaskGroup() as group:
            group.create_task(asks())

    async def asks():
        Steps.current().suspend("x", Pending("?"))

    result = await arun([Task("a", run=agent)], journal=path)
    assert list(result.pending) == ["a/x"]


async def test_without_a_journal_a_pending_suspends_too():
    async def asks():
        raise Pending("?", x=1)

    async def returns():
        return Pending("!")

    result = await arun([
        Task("a", run=asks), Task("b", run=returns), Task("c", run=returns, timeout=60),
    ])  # fmt: skip
    assert result.status == "suspended"
    assert {name: str(each) for name, each in result.pending.items()} == {
        "a": "?", "b": "!", "c": "!",
    }  # fmt: skip
    assert repr(result.pending["a"]) == "Pending('?', x=1)"


async def test_a_pending_can_be_pickled():
    copy = pickle.loads(pickle.dumps(Pending("?", x=1)))
    assert (copy.reason, copy.data, copy.key) == ("?", {"x": 1}, "")


async def test_a_decision_about_nothing_is_refused(path, calls):
    await arun(gated(calls), journal=path)
    with pytest.raises(JournalError, match="does not wait for 'x', but for 'publish'"):
        await aresume(path, {"x": True}, tasks=gated(calls))
    with pytest.raises(JournalError, match="for nothing: there is no such file"):
        await arun(gated(calls), journal=path.with_name("typo"), decisions={"x": True})
    assert not path.with_name("typo").exists()
    (empty := path.with_name("new.jsonl")).touch()
    with pytest.raises(JournalError, match="nothing to resume"):
        await aresume(empty)


# -- from the journal alone ----------------------------------------------------------


async def test_tasks_of_agents_come_from_the_journal_itself(path, calls):
    async def writer(prompt, attempt):
        calls.append(prompt)
        if len(calls) == 1:
            return Pending("sure?")
        return prompt.upper()

    tasks = [
        Task(
            "a",
            "write",
            "writer",
            usd=Decimal("0.5"),
            retries=2,
            priority=3,
            data={"x": 1},
        ),
        Task(
            "b",
            "check",
            "writer",
            ["a"],
            timeout=9,
            run_if="always",
            safe_to_repeat=False,
        ),
    ]
    await arun(tasks, journal=path, agents={"writer": writer})
    result = await aresume(path, {"a": True}, agents=lambda name: writer)
    assert result["a"].value == "WRITE"
    assert "WRITE" in calls[-1]
    header = lines(path)[0]
    assert header["tasks"][0] == {
        "id": "a", "description": "write", "agent": "writer", "priority": 3, "retries": 2,
        "usd": "0.5", "data": {"x": 1},
    }  # fmt: skip


def test_tasks_of_functions_must_be_given_again(path, calls):
    run(abc(calls), journal=path)
    with pytest.raises(
        JournalError, match="cannot keep run of task 'a': give the tasks again"
    ):
        resume(path)
    assert resume(path, tasks=abc(calls)).ok


async def test_a_queue_cannot_go_on_with_a_journal(path, calls):
    assert (await arun(TaskQueue(abc(calls)), journal=path)).ok
    with pytest.raises(SchedulerError, match="give the tasks themselves"):
        await arun(TaskQueue(abc(calls)), journal=path)


async def test_tasks_that_were_added_come_back(path, calls):
    async def agent(prompt, task):
        calls.append(task)
        if task == "grow" and calls.count("grow") == 1:
            queue = TaskQueue.current()
            queue.add(Task("late", "late", "agent", ["grow"]))
            queue.add(Task("more", "more", "agent"))
        if task == "late" and calls.count("late") == 1:
            await asyncio.sleep(60)
        return task

    running = asyncio.create_task(
        arun([Task("grow", "grow", "agent")], agents={"agent": agent}, journal=path)
    )
    await until(lambda: "late" in calls)
    running.cancel()
    await asyncio.wait([running])
    result = await aresume(path, agents={"agent": agent})
    assert list(result) == ["grow", "late", "more"]
    assert result.ok
    assert sorted(calls) == ["grow", "late", "late", "more"]


async def test_a_task_that_adds_again_what_came_back_adds_nothing(path, calls):
    async def agent(prompt):
        calls.append(prompt)
        if prompt == "grow":
            TaskQueue.current().add(Task("more", "more", "agent"))
            if calls.count("grow") == 1:
                await asyncio.sleep(60)
        return prompt

    setting = {"agents": {"agent": agent}, "journal": path}
    running = asyncio.create_task(arun([Task("grow", "grow", "agent")], **setting))
    await until(lambda: "more" in calls)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    result = await arun([Task("grow", "grow", "agent")], **setting)
    assert result.unwrap() == {"grow": "grow", "more": "more"}
    assert calls == ["grow", "more", "grow"]


async def test_a_function_that_was_added_is_added_again_or_given(path, calls):
    async def extra():
        calls.append("extra")

    async def grow():
        calls.append("grow")
        TaskQueue.current().add(Task("extra", run=extra))
        await asyncio.sleep(60 if calls.count("grow") == 1 else 0)

    tasks = [Task("grow", run=grow)]
    running = asyncio.create_task(arun(tasks, journal=path, max_concurrent=1))
    await until(lambda: calls)
    running.cancel()
    await asyncio.wait([running])
    assert calls == ["grow"]
    assert (await arun(tasks, journal=path)).ok
    assert calls == ["grow", "grow", "extra"]
    again = await arun(tasks, journal=path)
    assert list(again) == ["grow", "extra"]
    assert again.ok


async def test_a_function_whose_adder_is_done_must_be_given(path, calls):
    async def extra():
        calls.append("extra")
        await asyncio.sleep(60 if len(calls) == 1 else 0)

    async def grow():
        TaskQueue.current().add(Task("extra", run=extra))

    running = asyncio.create_task(arun([Task("grow", run=grow)], journal=path))
    await until(lambda: calls)
    running.cancel()
    await asyncio.wait([running])
    with pytest.raises(JournalError, match="cannot keep run of task 'extra'"):
        await arun([Task("grow", run=grow)], journal=path)
    result = await arun(
        [Task("grow", run=grow), Task("extra", run=extra)], journal=path
    )
    assert result.ok


async def test_a_record_of_a_later_version_is_passed_over(path, calls):
    await arun(abc(calls), journal=path)
    with path.open("a") as file:
        file.write('{"task":"a","novelty":1}\n{"something":2}\n')
    assert (await arun(abc(calls), journal=path)).ok
    assert len(calls) == 3


def test_the_file_is_let_go_after_a_run(path, calls):
    fds = Path("/proc/self/fd")
    open_before = len(list(fds.iterdir()))
    run(abc(calls), journal=path)
    assert len(list(fds.iterdir())) == open_before


@pytest.mark.parametrize("wrong", ["cycle", "nobody"])
async def test_tasks_that_make_no_sense_leave_no_trace_in_a_journal(path, calls, wrong):
    bad = [Task("a", run=len, depends_on=["a"])] if wrong == "cycle" else [Task("a")]
    with pytest.raises(SchedulerError):
        await arun(bad, journal=path)
    assert (await arun(abc(calls), journal=path)).ok


async def test_a_decision_is_not_used_up_by_a_run_that_cannot_begin(path, calls):
    async def writer(prompt):
        calls.append(prompt)
        return Pending("sure?") if len(calls) == 1 else prompt

    await arun([Task("a", "hi", "writer")], journal=path, agents={"writer": writer})
    with pytest.raises(SchedulerError, match="give bus="):
        await aresume(path, {"a": True})
    assert (await aresume(path, {"a": True}, agents={"writer": writer}))[
        "a"
    ].value == "hi"


async def test_a_loop_that_is_shut_down_is_no_outcome_of_its_tasks(path, calls):
    async def waits():
        calls.append(1)
        await asyncio.sleep(60 if len(calls) == 1 else 0)

    tasks = [Task("a", run=waits), Task("b", run=len, depends_on=["a"])]
    running = asyncio.create_task(arun(tasks, journal=path))
    await until(lambda: calls)
    for each in asyncio.all_tasks() - {asyncio.current_task()}:
        each.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert (await arun(tasks, journal=path)).ok


async def test_a_step_that_waits_is_not_tried_again(path, calls):
    async def asks():
        Steps.current().suspend("x", Pending("?"))

    async def agent():
        calls.append(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(asks())

    result = await arun([Task("a", run=agent, retries=3)], journal=path)
    assert list(result.pending) == ["a/x"]
    assert len(calls) == 1


@pytest.mark.parametrize("room", [0, 10])
def test_a_record_that_does_not_fit_is_taken_back(path, room):
    with closing(Journal(path)) as journal:
        journal.append({"waybell_journal": 1})
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
        try:
            with pytest.raises(JournalError, match="cannot be written"):
                journal.append({"task": "a", "started": True})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        with pytest.raises(JournalError, match="cannot be written"):
            journal.append({"task": "b", "started": True})
        assert path.read_bytes() == before
    journal.close()
    with closing(Journal(path)) as again:
        assert again.records == [{"waybell_journal": 1}]


def test_after_its_run_a_journal_takes_nothing(path):
    journal = Journal(path)
    journal.close()
    with pytest.raises(JournalError, match="has ended"):
        journal.append({})


async def test_a_stray_task_cannot_write_after_its_run(path):
    async def keeps():
        return None if kept.append(Steps.current()) else "x"

    kept = []
    await arun([Task("a", run=keeps)], journal=path)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="has ended"):
        kept[0].record("late", 1)
    assert path.read_bytes() == before
