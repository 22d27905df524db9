"""Each pattern under a thousand schedules with agents that fail in every way."""

import asyncio
from collections import Counter

import pytest

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import (
    Broadcast,
    BroadcastResult,
    Degrade,
    Fallback,
    IncompleteError,
    Pipeline,
    PipelineResult,
    Retry,
    Routed,
    Router,
    Stage,
    Supervised,
    Supervisor,
    UnknownIntentError,
)
from waybell_sim import Faults


AGENT_ERRORS = (ConnectionError, TimeoutError)  # what Faults raise
CAP, TIME = 10, 12


class Storm:
    """Faulty agents over topics and callables, and what must hold at the end."""

    def __init__(self, rng, fakes):
        self.rng, self.reply = rng, fakes.Reply
        self.log, self.tracer, self.bus = fakes.Log(), fakes.Tracer(), EventBus()
        self.pool = BudgetPool(usd=CAP, tokens=1000)
        self.asked, self.running = Counter(), 0
        self.faults = Faults(
            timeout=0.06, hang=0.04, rate_limit=0.06, cut=0.04, wrong=0.06, cancel=0.02,
            delays=(0, 0, 1, 2), corrupt=lambda answer, rng: rng.choice(["", "?", None]),
        )  # fmt: skip

    def setting(self):
        return {
            "bus": self.bus,
            "budget": self.pool,
            "log": self.log,
            "tracer": self.tracer,
        }

    def check(self):
        now = self.pool.snapshot()
        assert now.usd_spent + now.usd_held <= CAP + now.usd_overdrawn

    def agent(self, name, answer="yes", **limits):
        """An agent that charges for itself, or says what it cost, or does neither."""
        rng, manner = self.rng, self.rng.randrange(3)

        async def act(prompt, budget=None):
            self.asked[name] += 1
            self.running += 1
            try:
                self.check()
                cost = rng.choice([0, 1, 1, 2, 6])
                await self.faults.delay()
                if manner == 0 and budget is not None:
                    budget.charge(usd=cost, tokens=10)
                self.check()
                said = answer() if callable(answer) else answer
                if not isinstance(said, str) or manner != 1:
                    return said
                return self.reply(said, cost=cost)
            finally:
                self.running -= 1

        faulty = self.faults.wrap(act)
        if rng.random() < 0.5:
            return Stage(name, faulty, **limits)

        async def handler(event):
            return await faulty(event["prompt"], event["budget"])

        self.bus.on(f"agent:{name}", handler)
        return Stage(name, f"agent:{name}", **limits)

    def sync(self, name, answer):
        """An agent that is a plain function."""
        return Stage(name, self.faults.wrap(lambda prompt: answer))

    async def run(self, pattern, kind, errors):
        """Run it, perhaps cancel it; give the result if there is one."""
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        task = asyncio.ensure_future(pattern.run("hi", deadline=Deadline(TIME)))
        if self.rng.random() < 0.2:
            loop.call_later(self.rng.choice([0, 1, 2, 3]), task.cancel)
        await asyncio.wait([task])
        assert loop.time() - began <= TIME
        self.settled()
        if task.cancelled():
            self.ended(pattern, "cancelled")
            return None
        if (error := task.exception()) is not None:
            assert isinstance(error, errors), repr(error)
            self.ended(pattern, "error")
            return None
        result = task.result()
        assert isinstance(result, kind)
        if hasattr(result, "ok"):
            lacking = "error" if result.error else "incomplete"
            self.ended(pattern, "ok" if result.ok else lacking)
            assert 0 <= result.usd == self.pool.snapshot().usd_spent
        return result

    def ended(self, pattern, outcome):
        records = self.log.of(type(pattern).__name__.casefold())
        assert [each["outcome"] for each in records] == [outcome]
        ends = [each for each in self.log.records if "outcome" in each]
        assert all(("error" in each) is (each["outcome"] != "ok") for each in ends)

    def settled(self):
        self.check()
        now = self.pool.snapshot()
        assert (now.usd_held, now.tokens_held) == (0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.running == 0
        assert self.tracer.open == []
        records = Counter(each["agent"] for each in self.log.of("answer"))
        spans = Counter(
            name.rpartition("/")[2] for name in self.tracer.seen if "/" in name
        )
        assert records == spans
        assert all(self.asked[name] <= records[name] for name in self.asked)


@pytest.fixture
def storm(fakes):
    return lambda rng: Storm(rng, fakes)


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_router_in_a_storm(rng, storm):
    s = storm(rng)
    classify = s.agent(
        "classify",
        lambda: rng.choice(["a", "b", ("a", 0.3), {"intent": "b"}, "zzz"]),
        timeout=3,
    )
    routes = {"a": s.agent("a", usd=rng.choice([1, 5, 11])), "b": s.sync("b", "plain")}
    default = rng.choice([None, "b"])
    pattern = Router(
        routes, classify=classify, threshold=0.5, default=default, **s.setting()
    )
    errors = (*AGENT_ERRORS, BudgetExceeded) + (
        () if default else (UnknownIntentError,)
    )
    result = await s.run(pattern, Routed, errors)
    assert result is None or result.route in routes


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_pipeline_in_a_storm(rng, storm):
    s = storm(rng)
    names = ["a", "b", "c", "d"]
    stages = [
        s.agent(name, usd=rng.choice([None, 1, 2, 4]), timeout=rng.choice([None, 2, 5]))
        for name in names[:3]
    ]
    pattern = Pipeline([*stages, s.sync("d", "plain")], **s.setting())
    result = await s.run(pattern, PipelineResult, BudgetExceeded)
    if result is not None:
        done = [
            *result.results,
            *([result.failed] if result.failed else ()),
            *result.missing,
        ]
        assert done == names
        assert (result.error is None) == (result.failed is None) == result.ok


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_broadcast_in_a_storm(rng, storm):
    s = storm(rng)
    names = ["a", "b", "c", "d"]
    agents = [
        s.agent(name, usd=rng.choice([None, 1, 2, 4]), timeout=rng.choice([None, 2, 5]))
        for name in names[:3]
    ]
    quorum, first = rng.choice([(None, None), (1, None), (2, 3), (None, 2), (1, 1)])
    pattern = Broadcast(
        [*agents, s.sync("d", "plain")], quorum=quorum, first=first,
        late=rng.choice(["cancel", "collect"]), grace=2,
        aggregate=rng.choice([None, s.sync("merge", "merged")]), **s.setting(),
    )  # fmt: skip
    result = await s.run(pattern, BroadcastResult, BudgetExceeded)
    if result is not None:
        said = [*result.answers, *result.failures, *result.late, *result.missing]
        assert sorted(said) == names
        assert len(result.answers) <= (first or 4)
        assert result.ok or result.lack


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_broadcast_over_a_topic_in_a_storm(rng, storm):
    s = storm(rng)

    def handler():
        agent = s.faults.wrap(lambda prompt, budget: s.reply(prompt, cost=1))
        wait = s.faults.wrap(asyncio.sleep)

        async def handle(event):
            s.running += 1
            try:
                await wait(0)
                return agent(event["prompt"], event["budget"])
            finally:
                s.running -= 1

        return handle

    for topic in ("panel", "*", "**"):
        s.bus.on(topic, handler())
    setting = {**s.setting(), "tracer": None}
    stage = Stage(
        "panel", "panel", usd=rng.choice([1, 2, 4]), timeout=rng.choice([None, 3])
    )
    pattern = Broadcast(
        stage,
        first=rng.choice([None, 1, 2]),
        late=rng.choice(["cancel", "collect"]),
        **setting,
    )
    s.tracer.seen = []
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(pattern.run("hi", deadline=Deadline(TIME)))
    if rng.random() < 0.2:
        loop.call_later(rng.choice([0, 1, 2]), task.cancel)
    await asyncio.wait([task])
    assert loop.time() <= TIME
    s.check()
    assert s.pool.snapshot().usd_held == s.running == 0
    if task.cancelled():
        s.ended(pattern, "cancelled")
        return
    result = task.result()
    said = [*result.answers, *result.failures, *result.late, *result.missing]
    assert len(said) == len(set(said)) == len(s.log.of("answer")) == 3


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_supervisor_in_a_storm(rng, storm):
    s = storm(rng)
    worker = s.agent(
        "worker", "draft", usd=rng.choice([None, 1, 4]), timeout=rng.choice([None, 3])
    )
    reviewer = s.agent(
        "reviewer", lambda: rng.choice([True, False, "approved", '{"approved": false}'])
    )
    result = await s.run(Supervisor(worker, reviewer, **s.setting()), Supervised, ())
    if result is not None:
        assert (
            result.ok
            == (result.verdict == "approved")
            == bool(result.reviews and result.reviews[-1].approved)
        )
        assert (result.error is None) == (result.verdict in ("approved", "exhausted"))
        assert result.verdict != "exhausted" or len(result.reviews) == 3


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_retry_in_a_storm(rng, storm):
    s = storm(rng)
    agent = s.agent(
        "agent", usd=rng.choice([None, 1, 4]), timeout=rng.choice([None, 2])
    )
    pattern = Retry(agent, attempts=4, **s.setting())
    await s.run(pattern, object, (*AGENT_ERRORS, BudgetExceeded))
    assert len(s.log.of("answer")) <= 4
    assert len(s.log.of("attempt")) >= len(s.log.of("answer")) - 1


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_fallback_in_a_storm(rng, storm):
    s = storm(rng)
    agents = [
        s.agent(name, usd=rng.choice([None, 1, 11]), timeout=rng.choice([None, 2, 4]))
        for name in "ab"
    ]
    await s.run(
        Fallback(*agents, s.sync("c", "plain"), **s.setting()),
        object,
        (IncompleteError, DeadlineExceeded),
    )


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_a_degrade_in_a_storm(rng, storm):
    s = storm(rng)
    levels = [
        s.agent(name, usd=rng.choice([None, 1, 11]), timeout=rng.choice([None, 2, 8]))
        for name in "ab"
    ]

    async def canned(prompt):
        await asyncio.sleep(1)
        return "canned"

    pattern = Degrade(*levels, Stage("canned", canned, usd=0, timeout=2), **s.setting())
    result = await s.run(pattern, object, ())
    cancelled = s.log.of("degrade")[0]["outcome"] == "cancelled"
    assert (
        cancelled or s.log.of("answer")[-1]["agent"] != "canned" or result == "canned"
    )


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_patterns_of_patterns_in_a_storm(rng, storm):
    s = storm(rng)
    broadcast = Broadcast([s.agent("a", usd=1), s.agent("b")], quorum=1, **s.setting())
    supervisor = Supervisor(
        Retry(s.agent("worker"), **s.setting()), s.sync("reviewer", True), **s.setting()
    )
    degrade = Degrade(
        Stage("supervisor", supervisor, usd=3, timeout=8),
        s.sync("canned", "canned"),
        **s.setting(),
    )
    pattern = Pipeline(
        [
            Stage("broadcast", broadcast, usd=4, timeout=6),
            Stage("degrade", degrade, usd=4),
        ],
        **s.setting(),
    )
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(pattern.run("hi", deadline=Deadline(TIME)))
    await asyncio.wait([task])
    assert loop.time() <= TIME
    s.check()
    assert s.pool.snapshot().usd_held == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    if not task.cancelled():
        assert isinstance(task.result(), PipelineResult)
