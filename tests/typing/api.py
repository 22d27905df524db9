"""Never run: the type checkers must accept this file as it stands."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, assert_type

from waybell import (
    Agent,
    AgentConfig,
    AgentPool,
    AgentReply,
    Broadcast,
    BroadcastResult,
    Budget,
    BudgetPool,
    Deadline,
    DecisionLog,
    Event,
    EventBus,
    LLMAdapter,
    OfflineAdapter,
    OpenMultiAgent,
    Outcome,
    Pending,
    Pipeline,
    PipelineResult,
    Reply,
    Report,
    Retry,
    Routed,
    Router,
    RunResult,
    ScriptedAdapter,
    Stage,
    Supervised,
    Supervisor,
    Task,
    TaskQueue,
    TaskResult,
    Team,
    Tracer,
    arun,
    read_traces,
    report,
    run,
    simulate,
)
from waybell_snap import Comparison, Recording, Snapshot, compare


bus = EventBus()


@bus.on("agent:writer", priority=1, timeout=2.0, concurrency=3)
async def write(event: Event) -> str:
    assert_type(event.topic, str)
    assert_type(event.parent, str | None)
    return str(event["prompt"])


@bus.observe("**", settled=True)
def watch(event: Event, outcome: Outcome) -> None:
    assert_type(outcome.seconds, float)


async def uses() -> None:
    assert_type(await write(Event()), str)  # registration returns the function itself
    assert_type(await bus.gather("agent:writer"), list[Outcome])
    async with bus.subscribe("**", maxsize=4, overflow="drop_oldest") as events:
        async for event in events:
            assert_type(event, Event)

    pool = BudgetPool(usd="0.10", tokens=1000)
    async with pool.acquire(max_usd="0.05") as budget:
        assert_type(budget, Budget)
        budget.charge(usd=Decimal("0.01"), label="draft")
    assert_type(pool.snapshot().usd_spent, Decimal)
    assert_type(pool.snapshot().usd_remaining, Decimal | None)

    deadline = Deadline(seconds=5)
    assert_type(deadline.remaining(), float)
    assert_type(deadline.timeout(cap=2), float | None)
    assert_type(Deadline.current(), Deadline | None)

    pipeline = Pipeline(
        [Stage("draft", "agent:writer", usd="0.01")], bus=bus, budget=pool
    )
    assert_type(await pipeline.run("x", deadline=deadline), PipelineResult)
    assert_type(await Broadcast({"a": write, "b": write}).run("x"), BroadcastResult)
    assert_type(await Supervisor(write, write).run("x"), Supervised)
    assert_type(await Router({"a": write}, classify=write).run("x"), Routed)
    assert_type(await Retry(write, attempts=2).run("x"), Any)


def sync_uses() -> None:
    model: LLMAdapter = OfflineAdapter()
    script: LLMAdapter = ScriptedAdapter(["hello"])
    assert_type(model.generate("x"), Reply)
    assert_type(script.generate("x").cost, Decimal | None)
    log = DecisionLog("decisions.jsonl")
    assert_type(log.record(decision="route", to="a"), str)
    with Tracer("traces.jsonl") as tracer, tracer.span("work", size=3) as span:
        span.add_event("halfway", done=0.5)
    counts: Mapping[str, int] = {
        s.name: s.calls for s in read_traces("t").agents().values()
    }
    print(counts)
    simulate(uses, seeds=10)


async def tasks_and_agents() -> None:
    tasks = [Task("a", run=lambda: 1), Task("b", "Do it.", "writer", ["a"], retries=2)]
    assert_type(await arun(tasks, bus=bus, max_concurrent=4), RunResult)
    result = run(tasks, journal="run.jsonl")
    assert_type(result["a"], TaskResult)
    assert_type(result.unwrap(), dict[str, Any])
    assert_type(result.pending, dict[str, Pending])
    queue = TaskQueue(tasks, stop_on_failure=True)
    assert_type(queue.ready(), list[Task])
    assert_type(queue.summary(), dict[str, int])

    pool = AgentPool(8, consecutive_failure_limit=3, recovery_timeout_s=30)
    assert_type(pool.call(len, "abc"), int)
    assert_type(await pool.acall(write, Event()), str)

    typed = AgentConfig("reader", output_type=Stage)
    assert_type(await Agent(typed).run("x"), AgentReply[Stage])
    assert_type(OpenMultiAgent().run_agent(typed, "x").value, Stage)
    config = AgentConfig("writer", "You write.", "offline", [], max_steps=4)
    assert_type(await Agent(config).run("x", deadline=Deadline(5)), AgentReply)
    team = OpenMultiAgent.create_team("desk", [config])
    assert_type(team, Team)
    assert_type(OpenMultiAgent(pool).run_tasks(tasks, team=team), RunResult)


def what_happened() -> None:
    page = report("waybell-out", "report.html")
    assert_type(page, Report)
    assert_type(page.verdict, str)

    with Recording("run.json") as recorded:
        model = recorded.adapter(OfflineAdapter(), name="writer")
        assert_type(model.generate("x"), Reply)
    assert_type(recorded.snapshot, Snapshot)
    compared = compare(recorded.snapshot, Snapshot.load("run.json"), max_usd="0.10")
    assert_type(compared, Comparison)
    assert_type(compared.passed, bool)


Task("a", depend_on=["b"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Deadline()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
BudgetPool(dollars=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
bus.subscribe("**", overflow="explode")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
