"""Runs of random graphs under a thousand schedules, against a plain model."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from tenacity import AsyncRetrying, stop_after_attempt, wait_fixed

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_deadline import DeadlineExceeded
from waybell_scheduler import AgentPool, CircuitOpenError, Gap, Task, arun


pytestmark = pytest.mark.soak
KINDS = ("ok",) * 6 + ("fail", "hang", "flaky", "cancelled", "sync")
ENDS = {"fail": "failed", "hang": "failed", "cancelled": "cancelled"}
DELAYS = (0, 0, 1, 2)


class Storm:
    """A random graph whose tasks behave in every way, and what must hold of them."""

    def __init__(self, rng, plain=False):
        self.rng, self.bound = rng, rng.choice([1, 2, 3, 8, 64])
        self.kinds = dict[str, str]()
        self.began, self.completed, self.active = Counter(), Counter(), set()
        self.ended = set()  # ids whose fate is sealed, as far as the bodies know
        self.failures = Counter()
        self.tasks = [self.task(n, plain) for n in range(rng.randrange(1, 31))]
        self.by_id = {task.id: task for task in self.tasks}

    def task(self, number, plain):
        rng, name = self.rng, f"t{number}"
        kind = self.kinds[name] = rng.choice(KINDS)
        policy = {}
        if not plain or kind in {"hang", "flaky"}:
            if kind == "hang" or rng.random() < 0.2:
                policy["timeout"] = 7
            if kind == "flaky" or rng.random() < 0.1:
                policy["retries"] = AsyncRetrying(
                    stop=stop_after_attempt(4), wait=wait_fixed(rng.choice(DELAYS))
                )
            if rng.random() < 0.2:
                policy["priority"] = rng.randrange(-2, 3)
        if rng.random() < 0.1:
            policy["run_if"] = "always"
        elif rng.random() < 0.1:
            policy["partial"] = True
        needs = (
            [f"t{rng.randrange(number)}" for _ in range(rng.choice([0, 1, 2, 3]))]
            if number
            else []
        )
        return Task(name, run=self.body(name, kind), depends_on=needs, **policy)

    def body(self, name, kind):
        def enter(results):
            assert len(self.active) < self.bound, "concurrency exceeded"
            assert name not in self.active, "run twice at once"
            task = self.by_id[name]
            assert set(results) == set(task.depends_on)
            for needed, value in results.items():
                assert needed not in self.active, "started before its dependency ended"
                if isinstance(value, Gap):
                    assert task.partial or task.run_if == "always"
                else:
                    assert value == needed
                    assert self.completed[needed]
            self.began[name] += 1

        def sync(results):
            enter(results)
            self.completed[name] += 1
            return name

        async def body(results):
            enter(results)
            self.active.add(name)
            try:
                await self.behave(name, kind)
            finally:
                self.active.discard(name)
            self.completed[name] += 1
            return name

        return sync if kind == "sync" else body

    async def behave(self, name, kind):
        for _ in range(self.rng.choice([0, 0, 1, 2])):
            await asyncio.sleep(self.rng.choice(DELAYS))
        if kind == "fail":
            raise KeyError(name)
        if kind == "hang":
            await asyncio.sleep(1000)
        if kind == "cancelled":
            raise asyncio.CancelledError(name)
        if kind == "flaky":
            self.failures[name] += 1
            if self.failures[name] < 3:
                raise ConnectionError(name)

    def expected(self):
        """The state of each task, and the failed ones each skipped one may stem from."""
        states, stems = {}, {}
        for task in self.tasks:
            lost = [name for name in task.depends_on if states[name] != "done"]
            fed = len(lost) < len(task.depends_on)
            if not lost or task.run_if == "always" or (task.partial and fed):
                states[task.id] = ENDS.get(self.kinds[task.id], "done")
            else:
                states[task.id] = "skipped"
                stems[task.id] = set().union(
                    *(stems.get(name, {name}) for name in lost)
                )
        return states, stems

    def check(self, result):
        assert not self.active
        states, stems = self.expected()
        assert {name: each.status for name, each in result.items()} == states
        for name, each in result.items():
            if each.status == "skipped":
                assert each.stems_from in stems[name]
                assert not self.began[name]
            elif each.status == "done":
                assert each.value == name
            elif self.kinds[name] == "fail":
                assert type(each.error) is KeyError
            elif self.kinds[name] == "hang":
                assert isinstance(each.error, DeadlineExceeded)
        assert result.status == (
            "done" if set(states.values()) <= {"done"} else "failed"
        )
        assert not [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]


@pytest.mark.simulate(seeds=1000)
async def test_every_task_ends_as_a_plain_model_says(rng):
    storm = Storm(rng)
    storm.check(await arun(storm.tasks, max_concurrent=storm.bound))


@pytest.mark.simulate(seeds=1000)
async def test_the_same_on_the_fast_path(rng):
    storm = Storm(rng, plain=True)
    storm.check(await arun(storm.tasks, max_concurrent=storm.bound))


@pytest.mark.simulate(seeds=300)
async def test_a_stop_skips_all_that_has_not_started(rng):
    storm = Storm(rng)
    result = await arun(storm.tasks, max_concurrent=storm.bound, stop_on_failure=True)
    states = {each.status for each in result.values()}
    assert states <= {"done", "failed", "cancelled", "skipped"}
    assert not storm.active
    failed = states & {"failed", "cancelled"}
    assert result.status == ("stopped" if failed else "done")
    for name, each in result.items():
        assert (each.status == "skipped") == (not storm.began[name])


@pytest.mark.simulate(seeds=1000)
async def test_a_run_cut_off_anywhere_goes_on_in_its_journal(rng):
    storm = Storm(rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        done = []
        for _ in range(rng.randrange(4)):
            run = asyncio.create_task(
                arun(storm.tasks, journal=path, max_concurrent=storm.bound)
            )
            await asyncio.wait([run], timeout=rng.randrange(12))
            for _ in range(rng.randrange(8)):
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.wait([run])
            assert not storm.active
            assert not [
                t for t in asyncio.all_tasks() if t is not asyncio.current_task()
            ]
            # A thread that is left behind may still end its work, which is lost.
            done = [n for n in storm.completed if storm.kinds[n] != "sync"]
        result = await arun(storm.tasks, journal=path, max_concurrent=storm.bound)
        assert all(storm.completed[name] == 1 for name in done), (
            "finished work repeated"
        )
        storm.failures.clear()
        restored = {n for n, each in result.items() if each.recorded}
        assert set(done) <= restored
        states, _ = storm.expected()
        assert {name: each.status for name, each in result.items()} == states
        before = storm.began.copy()
        again = await arun(storm.tasks, journal=path, max_concurrent=storm.bound)
        assert storm.began == before
        assert {n: (e.status, e.value) for n, e in again.items()} == {
            n: (e.status, e.value) for n, e in result.items()
        }


@pytest.mark.simulate(seeds=300)
async def test_a_stopped_run_comes_back_from_its_journal_as_it_was(rng):
    storm = Storm(rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        settings = {
            "journal": path,
            "max_concurrent": storm.bound,
            "stop_on_failure": True,
        }
        result = await arun(storm.tasks, **settings)
        before = storm.began.copy()
        again = await arun(storm.tasks, **settings)
    assert storm.began == before
    assert again.status == result.status
    assert {n: (e.status, e.value) for n, e in again.items()} == {
        n: (e.status, e.value) for n, e in result.items()
    }
    stems = {e.stems_from for e in again.values() if e.status == "skipped"}
    assert {again[name].status for name in stems} <= {"failed", "cancelled"}


@pytest.mark.simulate(seeds=500)
async def test_agents_with_limits_leave_nothing_undone(rng):
    busy, limits = Counter(), {"a": rng.randrange(1, 3), "b": 1}
    behaviour = {}

    async def call(task):
        assert behaviour[task.id] == "waits", "done twice"
        behaviour[task.id] = "begun"
        busy[task.agent] += 1
        assert busy[task.agent] <= limits.get(task.agent, 64)
        try:
            await asyncio.sleep(rng.choice(DELAYS))
            if rng.random() < 0.1:
                raise KeyError(task.id)
        finally:
            busy[task.agent] -= 1

    tasks = [
        Task(
            f"t{n}",
            agent=rng.choice("abc"),
            depends_on=[f"t{rng.randrange(n)}"] if n and rng.random() < 0.4 else [],
            priority=rng.choice([0, 0, 1]),
            run_if=rng.choice(["success", "success", "always"]),
        )
        for n in range(rng.randrange(1, 25))
    ]
    behaviour = {task.id: "waits" for task in tasks}
    stops = rng.random() < 0.5
    result = await arun(
        tasks,
        call=call,
        agent_limit=limits,
        max_concurrent=rng.choice([1, 3, 64]),
        stop_on_failure=stops,
    )
    for task in tasks:
        status = result[task.id].status
        assert status in {"done", "failed", "skipped"}
        assert (status == "skipped") == (behaviour[task.id] == "waits")
        assert status != "skipped" or task.run_if == "success"


@pytest.mark.simulate(seeds=1000)
async def test_no_budget_is_overspent(rng):
    cap = rng.randrange(1, 12)
    pool, storm = BudgetPool(usd=cap), Storm(rng)

    async def call(task, results):
        snapshot = pool.snapshot()
        assert snapshot.usd_spent + snapshot.usd_held <= cap
        await asyncio.sleep(rng.choice(DELAYS))
        if rng.random() < 0.1:
            raise ConnectionError(task.id)
        return Reply(task.id, rng.choice([0, 1, task.usd or 0]) if task.usd else 0)

    tasks = [
        Task(f"t{n}", depends_on=[f"t{rng.randrange(n)}"] if n and rng.random() < 0.5 else [],
             usd=rng.choice([None, 1, 2, 3]), timeout=rng.choice([None, 5]))
        for n in range(rng.randrange(1, 20))
    ]  # fmt: skip
    result = await arun(tasks, call=call, budget=pool, max_concurrent=storm.bound)
    left = pool.snapshot()
    assert left.usd_held == 0
    assert left.usd_spent <= cap
    assert sum(each.usd or 0 for each in result.values()) == left.usd_spent
    for each in result.values():
        if each.status == "failed":
            assert isinstance(each.error, BudgetExceeded | ConnectionError)
            if isinstance(each.error, BudgetExceeded):
                assert each.error.asked > 0
    failed = {n for n, each in result.items() if each.status == "failed"}
    assert left.unreported <= len(failed)


class Reply(str):
    """What a model gives: text that says what it cost."""

    __slots__ = ("cost", "usage")

    def __new__(cls, text, cost):
        self = super().__new__(cls, text)
        self.cost, self.usage = cost, None
        return self


@pytest.mark.simulate(seeds=500)
async def test_tasks_are_held_while_the_breaker_is_open(rng):
    pool = AgentPool(4, consecutive_failure_limit=2, recovery_timeout_s=5)
    broken_until = rng.randrange(12)
    time = asyncio.get_running_loop().time
    calls = []

    async def call(task):
        calls.append(time())
        await asyncio.sleep(rng.choice(DELAYS))
        if time() < broken_until:
            raise ConnectionError(task.id)
        return task.id

    policy = AsyncRetrying(stop=stop_after_attempt(9), wait=wait_fixed(1))
    tasks = [Task(f"t{n}", retries=policy) for n in range(rng.randrange(1, 12))]
    result = await arun(tasks, call=call, pool=pool, max_concurrent=8)
    assert result.status == "done", result
    assert pool.status()["state"] == "closed"


@pytest.mark.simulate(seeds=200)
async def test_held_tasks_keep_their_deadlines(rng):
    pool = AgentPool(4, consecutive_failure_limit=1, recovery_timeout_s=50)

    async def call(task):
        await asyncio.sleep(rng.choice(DELAYS))
        raise ConnectionError(task.id)

    tasks = [Task(f"t{n}") for n in range(4)]
    result = await arun(
        tasks, call=call, pool=pool, max_concurrent=rng.choice([1, 2, 4]), deadline=9
    )
    assert asyncio.get_running_loop().time() < 10
    kinds = {type(each.error) for each in result.values()}
    assert kinds <= {ConnectionError, CircuitOpenError}
