"""Agents, patterns and tasks mix freely: an agent is an object, and a topic."""

from decimal import Decimal

from waybell_adapters import Reply, ScriptedAdapter, Usage
from waybell_agents import Agent, AgentConfig, OpenMultiAgent
from waybell_budget import BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_patterns import (
    Broadcast,
    Degrade,
    Pipeline,
    Retry,
    Router,
    Stage,
    Supervisor,
)
from waybell_scheduler import Task
from waybell_trace import Tracer, read_traces


def agent(name, *replies):
    return Agent(AgentConfig(name, adapter=ScriptedAdapter(replies)))


def priced(text):
    return Reply(text, cost="0.01", usage=Usage(3, 2))


async def test_agents_are_stages_of_a_pipeline_and_each_pays_once():
    pool = BudgetPool(usd=1)
    stages = [
        Stage("research", agent("r", priced("facts")), usd="0.05"),
        Stage("write", agent("w", priced("text")), usd="0.05"),
    ]
    result = await Pipeline(stages).run("bells", budget=pool)
    assert result.value == "text"
    assert (result.usd, pool.snapshot().usd_spent) == (Decimal("0.02"), Decimal("0.02"))


async def test_agents_are_asked_by_topic_in_a_broadcast_and_a_router():
    bus = EventBus()
    for one in (agent("near", "n1", "n2"), agent("far", "f1")):
        one.register(bus)
    found = await Broadcast(["agent:near", "agent:far"], bus=bus).run("where?")
    assert sorted(found.answers.values()) == ["f1", "n1"]
    routes = {"close": "agent:near", "away": "agent:far"}
    routed = await Router(routes, classify=lambda prompt: "close", bus=bus).run(
        "where?"
    )
    assert routed.value == "n2"


async def test_agents_supervise_each_other():
    reviews = [
        '{"approved": false, "problems": ["too short"]}',
        '{"approved": true, "problems": []}',
    ]
    worker, reviewer = agent("w", "a", "a longer one"), agent("r", *reviews)
    result = await Supervisor(worker, reviewer, rules=["long"]).run("write")
    assert (result.verdict, result.draft) == ("approved", "a longer one")


async def test_an_agent_within_a_retry_makes_single_attempts_and_degrades():
    broken = agent("b", ConnectionError("down"), "up")
    assert await Retry(broken, attempts=2, wait=lambda state: 0).run("go") == "up"
    assert broken.model.calls[0].options["attempts"] == 1
    level = Degrade(agent("big", ConnectionError("down")), agent("small", "little"))
    assert await level.run("go") == "little"


async def test_a_task_may_be_a_pattern_of_agents_and_one_observer_sees_it_all(tmp_path):
    bus, seen = EventBus(), []
    bus.observe("agent:*", lambda event: seen.append(event.topic))
    with Tracer(tmp_path / "traces.jsonl") as tracer:
        bus.use(tracer.around)
        outer = agent("outer", "from a pattern").register(bus)
        many = OpenMultiAgent(adapter="scripted:x", bus=bus, tracer=tracer)

        async def both():
            return await Pipeline([Stage("one", f"agent:{outer.name}")], bus=bus).run(
                "go"
            )

        async def text(results):
            return (await both()).value

        tasks = [Task("first", "go", "a"), Task("then", run=text, depends_on=["first"])]
        result = await many.arun_tasks(tasks, team=[AgentConfig("a")])
    assert result["then"].value == "from a pattern"
    assert seen == ["agent:a", "agent:outer"]
    traces = read_traces(tmp_path / "traces.jsonl")
    names = {span.name for span in traces.spans}
    assert {
        "agent:a",
        "agent:outer",
        "task first",
        "task then",
        "invoke_agent a",
    } <= names
    assert traces.unfinished == []


async def test_an_overspent_stage_still_gives_the_reply_that_was_paid_for():
    stage = Stage("write", agent("w", priced("dear")), usd="0.001")
    result = await Pipeline([stage]).run("bells", budget=BudgetPool(usd=1))
    assert isinstance(result.error, BudgetExceeded)
    assert result.error.reply == "dear"
    assert result.error.agent == "w"
