"""Tasks that behave as nobody would think of, and journals that others have had."""

import asyncio
import enum
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass

import pytest

from waybell_budget import BudgetPool
from waybell_scheduler import (
    JournalError,
    Pending,
    SchedulerError,
    Steps,
    Task,
    TaskQueue,
    aresume,
    arun,
)


async def seven() -> int:
    return 7


def ends(result) -> dict[str, str]:
    return {name: each.status for name, each in result.items()}


def raising(error):
    async def fail():
        raise error

    return fail


@pytest.mark.parametrize("policy", [{}, {"timeout": 60}])
async def test_a_callable_that_cannot_be_hashed_is_one_like_others(policy) -> None:
    @dataclass  # which has an __eq__, and so no __hash__
    class Double:
        number: int

        async def __call__(self) -> int:
            return 2 * self.number

    result = await arun(
        [Task("a", run=Double(4), **policy), Task("b", run=Double(5), **policy)]
    )
    assert result.unwrap() == {"a": 8, "b": 10}


async def test_clean_up_that_an_agent_has_no_time_for_yet_outlives_a_stop() -> None:
    failed = asyncio.Event()

    async def call(task):
        if task.id == "fails":
            failed.set()
            raise KeyError(task.id)
        await failed.wait()

    tasks = [
        Task("first", agent="busy"),
        Task("second", agent="busy"),
        Task("tidy", agent="busy", run_if="always"),
        Task("fails", agent="other"),
    ]
    result = await arun(tasks, call=call, agent_limit={"busy": 1}, stop_on_failure=True)
    assert ends(result) == {
        "first": "done",
        "second": "skipped",
        "tidy": "done",
        "fails": "failed",
    }


async def test_what_ended_after_a_stop_comes_back_as_it_was(tmp_path) -> None:
    failed = asyncio.Event()
    calls = Counter()

    async def first():
        failed.set()
        raise KeyError("first")

    def after(name, error=None):
        async def work():
            calls[name] += 1
            await failed.wait()
            await asyncio.sleep(0)
            if error is not None:
                raise error
            return name

        return work

    tasks = [
        Task("done", run=after("done")),
        Task("too", run=after("too", OSError("too"))),
        Task("first", run=first),
        Task("never", run=after("never"), depends_on=["first"]),
        Task("nor", run=after("nor"), depends_on=["too"]),
        Task("tidy", run=after("tidy"), depends_on=["too"], run_if="always"),
    ]
    path = tmp_path / "run.jsonl"
    before = await arun(tasks, journal=path, stop_on_failure=True)
    again = await arun(tasks, journal=path, stop_on_failure=True)
    assert ends(before) == {
        "done": "done",
        "too": "failed",
        "first": "failed",
        "never": "skipped",
        "nor": "skipped",
        "tidy": "done",
    }
    assert ends(again) == ends(before)
    assert again["done"].value == "done"
    assert "OSError: too" in str(again["too"].error)
    assert {n: e.stems_from for n, e in again.items()} == {
        n: e.stems_from for n, e in before.items()
    }
    assert set(calls.values()) == {1}


async def test_clean_up_behind_a_task_that_a_stop_skips_has_its_turn() -> None:
    begun, failed = asyncio.Event(), asyncio.Event()

    async def call(task):
        if task.id == "first":
            await asyncio.sleep(0)
        elif task.id == "urgent":
            begun.set()
            await failed.wait()
        elif task.id == "fails":
            await begun.wait()
            failed.set()
            raise KeyError(task.id)

    tasks = [
        Task("first", agent="busy", priority=9),
        Task("second", agent="busy", priority=8),
        Task("tidy", agent="busy", priority=7, run_if="always"),
        Task("fails", agent="other", priority=6),
        Task("urgent", agent="other", priority=10, depends_on=["first"]),
    ]
    result = await arun(
        tasks,
        call=call,
        agent_limit={"busy": 1},
        max_concurrent=2,
        stop_on_failure=True,
    )
    assert ends(result)["second"] == "skipped"
    assert ends(result)["tidy"] == "done"


async def test_of_tasks_that_wait_for_an_agent_the_most_urgent_goes_first() -> None:
    order = []

    async def call(task):
        order.append(task.id)
        await asyncio.sleep(0)

    tasks = [
        Task("first", agent="busy", priority=9),
        *[Task(f"low{n}", agent="busy") for n in range(3)],
        Task("early", agent="other"),
        Task("high", agent="busy", depends_on=["early"], priority=5),
    ]
    await arun(tasks, call=call, agent_limit={"busy": 1})
    assert order.index("high") < order.index("low1")
    assert order[-2:] == ["low1", "low2"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
@pytest.mark.parametrize("policy", [{}, {"timeout": 60}])
@pytest.mark.parametrize("bound", [1, 2000])
async def test_a_loop_may_start_tasks_at_once(policy, bound) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)

    async def wait():
        await asyncio.sleep(0)
        return 7

    tasks = [Task(f"t{n}", run=(wait, seven)[n % 2], **policy) for n in range(2000)]
    tasks.append(Task("last", run=seven, depends_on=[each.id for each in tasks]))
    result = await arun(tasks, max_concurrent=bound)
    assert set(result.unwrap().values()) == {7}
    loop.set_task_factory(None)


async def test_a_loop_may_have_a_task_factory_of_its_own() -> None:
    loop, made = asyncio.get_running_loop(), []

    def factory(loop, coro, **extras):
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **extras)

    loop.set_task_factory(factory)
    assert (await arun([Task("a", run=seven)])).ok
    loop.set_task_factory(None)
    assert len(made) == 1


class Spiteful(Exception):
    """An error that cannot say what it is, nor what it asks for."""

    @property
    def retry_after(self):
        raise RuntimeError("no time")

    status = retry_after

    def __str__(self) -> str:
        raise RuntimeError("no text")


async def test_an_error_without_a_text_fails_its_task_alone(tmp_path) -> None:
    events = []
    error = Spiteful()
    result = await arun(
        [Task("a", run=raising(error), retries=1), Task("b", run=seven)],
        journal=tmp_path / "run.jsonl",
        on_event=lambda name, fields: events.append((name, fields)),
    )
    assert ends(result) == {"a": "failed", "b": "done"}
    assert result["a"].error is error
    assert result["a"].attempts == 2
    assert "task:failed" in dict(events)


@pytest.mark.simulate(seeds=3)
@pytest.mark.parametrize("wish", [float("inf"), float("nan"), 10**400, -5, "9", True])
async def test_a_wish_that_is_no_number_of_seconds_delays_no_retry(rng, wish) -> None:
    error = OSError("down")
    error.retry_after = wish
    result = await arun([Task("a", run=raising(error), retries=2)])
    assert result["a"].error is error
    assert result["a"].attempts == 3
    assert asyncio.get_running_loop().time() < 60


@pytest.mark.parametrize("policy", [{}, {"timeout": 60}])
async def test_any_kind_of_pending_suspends(policy) -> None:
    class Vote(Pending):
        """Several have to agree."""

    async def ask():
        return Vote("who is for it?")

    result = await arun([Task("a", run=ask, **policy)])
    assert result.status == "suspended"
    assert str(result.pending["a"]) == "who is for it?"


# -- journals ---------------------------------------------------------------------------


async def test_a_text_of_a_kind_of_its_own_comes_back_as_that_text(tmp_path) -> None:
    class Colour(str, enum.Enum):  # noqa: UP042 - many are still made so
        RED = "red"

    async def paint():
        return Colour.RED

    tasks = [Task("a", run=paint)]
    await arun(tasks, journal=tmp_path / "run.jsonl")
    again = await arun(tasks, journal=tmp_path / "run.jsonl")
    assert again["a"].recorded
    assert again["a"].value == "red" == Colour.RED


@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([None], "not a Task: None"),
        ([Task("a", run=seven), Task("a", run=seven)], "two tasks are called 'a'"),
    ],
)
async def test_tasks_that_are_none_are_refused_with_a_journal_too(
    tmp_path, wrong, message, began
) -> None:
    path = tmp_path / "run.jsonl"
    if began:
        await arun([Task("a", run=seven)], journal=path)
    with pytest.raises(SchedulerError, match=message):
        await arun(wrong, journal=path)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/full"])
async def test_a_journal_that_keeps_nothing_is_refused(name) -> None:
    with pytest.raises(JournalError, match="no ordinary file"):
        await arun([Task("a", run=seven)], journal=name)


async def test_a_journal_that_is_moved_away_stays_the_journal_of_its_run(
    tmp_path,
) -> None:
    path, moved = tmp_path / "run.jsonl", tmp_path / "moved.jsonl"

    async def move():
        path.rename(moved)

    tasks = [Task("a", run=move), Task("b", run=seven, depends_on=["a"])]
    assert (await arun(tasks, journal=path)).ok
    again = await arun(tasks, journal=moved)
    assert all(each.recorded for each in again.values())
    assert not path.exists()


async def test_only_a_journal_that_is_there_is_gone_on_with(tmp_path) -> None:
    path = tmp_path / "mistyped.jsonl"
    with pytest.raises(JournalError, match="there is no journal"):
        await aresume(path, tasks=[Task("a", run=seven)])
    assert not path.exists()
    path.touch()  # a run that was killed before its first record
    assert (await aresume(path, tasks=[Task("a", run=seven)])).ok


async def test_decisions_are_given_by_name(tmp_path) -> None:
    (path := tmp_path / "run.jsonl").touch()
    with pytest.raises(SchedulerError, match="decisions='a' has no items"):
        await aresume(path, "a", tasks=[Task("a", run=seven)])


async def test_what_has_gone_on_by_itself_waits_for_no_decision(tmp_path) -> None:
    path, answers = tmp_path / "run.jsonl", [Pending("now?"), "done by itself"]

    async def ask():
        return answers.pop(0)

    tasks = [Task("a", run=ask)]
    assert (await arun(tasks, journal=path)).status == "suspended"
    assert (await arun(tasks, journal=path)).ok
    with pytest.raises(JournalError, match="does not wait for 'a', but for nothing"):
        await aresume(path, {"a": "decided too late"}, tasks=tasks)
    assert (await arun(tasks, journal=path))["a"].value == "done by itself"


async def test_a_failure_is_a_known_outcome_also_of_what_is_not_safe_to_repeat(
    tmp_path,
) -> None:
    path, ways = tmp_path / "run.jsonl", [raising(OSError("down")), seven]

    async def work():
        return await ways.pop(0)()

    tasks = [Task("a", run=work, safe_to_repeat=False)]
    assert ends(await arun(tasks, journal=path)) == {"a": "failed"}
    result = await arun(tasks, journal=path, retry_failed=True)
    assert result.unwrap() == {"a": 7}


async def test_an_answer_that_cost_too_much_is_kept_by_the_error() -> None:
    class Reply(str):
        """What a model gives."""

        __slots__ = ()
        usage, cost = None, 2

    async def call(task):
        return Reply("dear")

    pool = BudgetPool(usd=10)
    result = await arun([Task("a", usd=1)], call=call, budget=pool)
    assert result["a"].status == "failed"
    assert result["a"].error.reply == "dear"
    assert result["a"].usd == pool.snapshot().usd_spent == 2


class Work:
    """A graph with all that a journal records, and what it has done."""

    def __init__(self) -> None:
        self.calls = Counter[str]()

    def tasks(self) -> list[Task]:
        return [
            Task("plain", run=self.plain),
            Task("fails", run=self.fails),
            Task("skipped", run=self.plain, depends_on=["fails"]),
            Task("steps", run=self.steps, depends_on=["plain"]),
            Task("adds", run=self.adds),
            Task("asks", run=self.asks),
            Task("once", run=self.once, depends_on=["asks"], safe_to_repeat=False),
        ]

    async def plain(self):
        self.calls["plain"] += 1
        return {"a": [1, 2]}

    async def fails(self):
        self.calls["fails"] += 1
        raise ValueError("no")

    async def steps(self):
        steps = Steps.current()
        if steps.recall("model") is Steps.MISSING:
            self.calls["model"] += 1
            steps.record("model", "reply")
        if steps.recall("tool") is Steps.MISSING:
            steps.begin("tool")
            self.calls["tool"] += 1
            steps.record("tool", 1)

    async def adds(self):
        self.calls["adds"] += 1
        queue = TaskQueue.current()
        if "more" not in queue:
            queue.add(Task("more", agent="more"))

    async def more(self, prompt):
        self.calls["more"] += 1
        return "more"

    async def asks(self):
        if Steps.current().decision() is True:
            self.calls["asks"] += 1
            return "yes"
        return Pending("may it?", text="x")

    async def once(self):
        self.calls["once"] += 1
        return 3

    async def run(self, path):
        return await arun(self.tasks(), journal=path, agents={"more": self.more})

    async def whole(self, path) -> bytes:
        """A run to its end, with a decision on the way."""
        assert (await self.run(path)).status == "suspended"
        result = await aresume(
            path, {"asks": True}, tasks=self.tasks(), agents={"more": self.more}
        )
        assert result.summary() == {"done": 6, "failed": 1, "skipped": 1}
        return path.read_bytes()


async def test_wherever_a_journal_ends_nothing_acknowledged_is_repeated(
    tmp_path,
) -> None:
    whole = await Work().whole(tmp_path / "whole.jsonl")
    path = tmp_path / "cut.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        records = [json.loads(line) for line in whole[:cut].split(b"\n")[:-1]]
        ended = {r["task"] for r in records if r.keys() & {"done", "failed"}}
        stepped = {r["step"] for r in records if "step" in r}
        work = Work()
        result = await work.run(path)
        assert not (ended | stepped) & set(work.calls), cut
        assert set(work.calls.values()) <= {1}, cut
        known = {"asks", "once", "steps/tool"}  # what may have to be decided
        assert set(result.pending) <= known, cut
        assert path.read_bytes().startswith(whole[: whole.rfind(b"\n", 0, cut) + 1])
        ours = ends(result)
        assert ours["fails"] == "failed", cut
        assert ours["skipped"] == "skipped", cut
        waits = {name.split("/")[0] for name in result.pending}
        assert all(
            state == "done" or name in waits or "asks" in waits
            for name, state in ours.items()
            if name not in {"fails", "skipped"}
        ), (cut, ours)


def changed(lines: list[bytes], rng: random.Random) -> bytes:
    """A journal's lines with one thing wrong."""
    at, lines = rng.randrange(len(lines)), list(lines)
    match rng.randrange(6):
        case 0:
            del lines[at]
        case 1:
            rng.shuffle(lines)
        case 2 | 3 as kind:
            record = json.loads(lines[at])
            key = rng.choice([*record])
            if kind == 2:
                del record[key]
            else:
                record[key] = rng.choice([None, 1, "x", [], {}, "ghost", True, -1])
            lines[at] = json.dumps(record).encode() + b"\n"
        case 4:
            content = bytearray(b"".join(lines))
            content[rng.randrange(len(content))] = rng.randrange(256)
            return bytes(content)
        case 5:
            lines.append(
                rng.choice(
                    [
                        b"{}\n",
                        b"[]\n",
                        b"\n",
                        b"\0\0\n",
                        b'{"task":"ghost","done":true,"value":1}\n',
                        b'{"task":[],"done":true}\n',
                        b'{"task":"plain","done":true}\n',
                    ]
                )
            )
    return b"".join(lines)


async def test_a_journal_that_somebody_changed_is_refused_if_it_makes_no_sense(
    tmp_path,
) -> None:
    whole = await Work().whole(tmp_path / "whole.jsonl")
    lines = whole.splitlines(keepends=True)
    path, refused = tmp_path / "changed.jsonl", 0
    rng = random.Random(4)
    for _ in range(600):
        path.write_bytes(changed(lines, rng))
        try:
            await Work().run(path)
        except JournalError:
            refused += 1
        except SchedulerError:
            pass
    assert refused > 100
