"""Teams over tasks: through every door, with what they used, and what went wrong."""

import asyncio
from decimal import Decimal

import pytest

from waybell_adapters import ModelUnavailable, Reply, ScriptedAdapter, ToolCall, Usage
from waybell_agents import (
    Agent,
    AgentConfig,
    AgentError,
    NoModelError,
    OpenMultiAgent,
    Team,
)
from waybell_budget import BudgetExceeded, BudgetPool
from waybell_bus import EventBus
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_scheduler import AgentPool, CircuitOpenError, Task


def two(**settings):
    configs = [AgentConfig("writer", **settings), AgentConfig("editor", **settings)]
    return OpenMultiAgent.create_team("desk", configs)


def chain():
    return [
        Task("draft", "Write.", "writer"),
        Task("edit", "Edit.", "editor", depends_on=["draft"]),
    ]


def test_three_lines_run_a_team():
    model = ScriptedAdapter(["a draft", "edited"])
    result = OpenMultiAgent(adapter=model).run_tasks(chain(), team=two())
    assert {name: one.value for name, one in result.items()} == {
        "draft": "a draft",
        "edit": "edited",
    }
    prompt = model.calls[1].prompt[0]["content"]
    assert prompt.startswith("Edit.")
    assert "\n    a draft\n" in prompt


async def test_the_plain_doors_work_inside_a_running_loop():
    many = OpenMultiAgent(adapter="scripted:yes")
    assert many.run_tasks(chain(), team=two()).ok
    assert many.run_agent(AgentConfig("a"), task="go") == "yes"


async def test_tasks_may_be_tables_and_a_sole_agent_needs_no_name():
    many = OpenMultiAgent(adapter="scripted:yes")
    tasks = [{"id": "a", "description": "x"}, Task("b", run=lambda: 3)]
    result = await many.arun_tasks(tasks, team=[AgentConfig("only")])
    assert [one.value for one in result.values()] == ["yes", 3]


async def test_a_failure_is_in_the_result_and_skips_those_that_need_it():
    many = OpenMultiAgent(adapter=ScriptedAdapter([ValueError("off")]))
    result = await many.arun_tasks(chain(), team=two())
    assert [one.status for one in result.values()] == ["failed", "skipped"]
    assert str(result["draft"].error) == "off"
    assert result["edit"].stems_from == "draft"


async def test_what_cannot_work_is_said_before_anything_starts():
    model = ScriptedAdapter([])
    many = OpenMultiAgent(adapter=model)
    with pytest.raises(
        AgentError, match="'writr', who is not in team 'desk'; did you mean"
    ):
        await many.arun_tasks([Task("a", "x", "writr")], team=two())
    with pytest.raises(AgentError, match="task 'a' names no agent"):
        await many.arun_tasks([Task("a", "x")], team=two())
    with pytest.raises(AgentError, match="has no task"):
        await many.arun_tasks(team=two())
    with pytest.raises(NoModelError, match="'writer' has no model"):
        await OpenMultiAgent().arun_tasks(chain(), team=two())
    with pytest.raises(NoModelError):
        OpenMultiAgent().stream_agent(AgentConfig("a"), "go")
    assert model.calls == []


async def test_an_agent_that_no_task_wants_needs_no_model():
    configs = [AgentConfig("a", adapter="scripted:x"), AgentConfig("b")]
    result = await OpenMultiAgent().arun_tasks([Task("t", "go", "a")], team=configs)
    assert result.ok


async def test_status_shows_the_pool_and_what_each_agent_used():
    replies = [Reply("d", cost="0.02"), Reply("e", cost=None), Reply("d", cost="0.01")]
    many = OpenMultiAgent(AgentPool(7), ScriptedAdapter(replies))
    await many.arun_tasks(chain(), team=two())
    await many.arun_agent(AgentConfig("writer"), "more")
    status = many.get_status()
    assert (status["state"], status["max_concurrent"], status["active"]) == (
        "closed",
        7,
        0,
    )
    assert {"failures", "retry_after", "queued"} <= status.keys()
    assert status["agents"]["writer"] == {
        "calls": 2,
        "tokens": 2,
        "usd": Decimal("0.03"),
    }
    assert status["agents"]["editor"]["usd"] is None  # unknown is not zero


async def test_the_breaker_counts_providers_not_what_models_say():
    pool = AgentPool(consecutive_failure_limit=2, recovery_timeout_s=60)
    config = AgentConfig("a", output_type=list[int], repairs=0)
    model = ScriptedAdapter(["no"] * 3 + [ModelUnavailable("down")] * 2)
    many = OpenMultiAgent(pool, model)
    for _ in range(3):
        with pytest.raises(AgentError):
            await many.arun_agent(config, "go")
    assert many.get_status()["state"] == "closed"
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await many.arun_agent(config, "go")
    assert many.get_status()["state"] == "open"
    with pytest.raises(CircuitOpenError):
        await many.arun_agent(config, "go")


async def test_a_budget_and_a_deadline_hold_for_one_agent_and_for_all():
    async def hang(prompt):
        await asyncio.Event().wait()

    pool = BudgetPool(usd=1)
    many = OpenMultiAgent(
        adapter=ScriptedAdapter([Reply("x", cost="0.25"), hang]), budget=pool
    )
    await many.arun_agent(AgentConfig("a"), "go")
    assert pool.snapshot().usd_spent == Decimal("0.25")
    with pytest.raises(DeadlineExceeded):
        await many.arun_agent(AgentConfig("a"), "go", deadline=0.01)
    many = OpenMultiAgent(
        adapter=ScriptedAdapter([Reply("x", cost="0.25"), hang]), budget=pool
    )
    result = await many.arun_tasks(chain(), team=two(), deadline=Deadline(0.05))
    assert isinstance(result["edit"].error, DeadlineExceeded)
    assert pool.snapshot().usd_spent == Decimal("0.5")


async def test_a_tasks_own_limit_holds_without_any_budget():
    dear = Reply("dear", cost="0.2", usage=Usage(1, 1))
    many = OpenMultiAgent(adapter=ScriptedAdapter([dear], repeat=True))
    tasks = [Task("x", "go", "a", usd="0.1"), Task("y", "go", "a", usd="0.3")]
    result = await many.arun_tasks(tasks, team=[AgentConfig("a")])
    assert isinstance(result["x"].error, BudgetExceeded)
    assert (result["y"].value, result["y"].usd) == ("dear", Decimal("0.2"))


async def test_a_teams_limit_is_a_share_of_what_there_is():
    dear = Reply("dear", cost="0.2", usage=Usage(1, 1))
    whole = BudgetPool(usd=1)
    many = OpenMultiAgent(adapter=ScriptedAdapter([dear], repeat=True), budget=whole)
    team = Team(
        "t", (AgentConfig("a"),), (Task("x", "go"), Task("y", "go")), {"usd": "0.3"}
    )
    result = await many.arun_tasks(team=team)
    assert sorted(one.status for one in result.values()) == ["done", "failed"]
    assert whole.snapshot().usd_spent <= Decimal("0.4")
    assert whole.snapshot().usd_held == 0
    team = Team("t", (AgentConfig("a"),), (Task("x", "go"),), {"usd": 9})
    with pytest.raises(BudgetExceeded):
        await many.arun_tasks(team=team)


async def test_a_teams_own_limits_hold_where_nothing_else_is_said():
    limits = {"usd": "0.1", "seconds": 5, "max_concurrent": 1, "stop_on_failure": True}
    team = Team("t", (AgentConfig("a"),), (Task("x", "go"), Task("y", "go")), limits)
    many = OpenMultiAgent(
        adapter=ScriptedAdapter([Reply("x", cost="0.2")], repeat=True)
    )
    result = await many.arun_tasks(team=team)
    assert (result.status, [one.status for one in result.values()]) == (
        "stopped", ["failed", "skipped"],
    )  # fmt: skip
    assert result["x"].error.reply == "x"
    assert (await many.arun_tasks(team=team, budget=BudgetPool(usd=9))).ok


async def test_on_a_shared_bus_agents_answer_while_a_run_wants_them():
    bus, gate, seen = EventBus(), asyncio.Event(), []

    async def slow(prompt):
        seen.append(prompt)
        if len(seen) == 2:
            begun.set()
        await gate.wait()
        return "late"

    begun = asyncio.Event()
    many = OpenMultiAgent(adapter=ScriptedAdapter([slow, slow, "x"]), bus=bus)
    config = AgentConfig("a")
    runs = [asyncio.create_task(many.arun_agent(config, "go")) for _ in range(2)]
    await begun.wait()
    assert list(bus.describe()) == ["agent:a"]
    with pytest.raises(AgentError, match="another agent 'a' answers on this bus"):
        await many.arun_agent(AgentConfig("a"), "go")
    gate.set()
    assert await asyncio.gather(*runs) == ["late", "late"]
    assert bus.describe() == {}
    assert await many.arun_agent(AgentConfig("a"), "go") == "x"


async def test_a_run_that_cannot_have_all_its_agents_leaves_none_on_the_bus():
    bus, gate, begun = EventBus(), asyncio.Event(), asyncio.Event()

    async def slow(prompt):
        begun.set()
        await gate.wait()
        return "late"

    many = OpenMultiAgent(adapter=ScriptedAdapter([slow]), bus=bus)
    run = asyncio.create_task(many.arun_agent(AgentConfig("b"), "go"))
    await begun.wait()
    with pytest.raises(AgentError, match="another agent 'b'"):
        await many.arun_tasks(
            [Task("x", "go", "a"), Task("y", "go", "b")],
            team=[AgentConfig("a"), AgentConfig("b")],
        )
    assert list(bus.describe()) == ["agent:b"]
    gate.set()
    assert await run == "late"
    assert bus.describe() == {}


async def test_tasks_may_go_to_topics_of_the_shared_bus():
    bus = EventBus()
    bus.on("intent:sum", lambda event: f"{event['task']}!")
    many = OpenMultiAgent(adapter="scripted:x", bus=bus)
    tasks = [Task("t", "go", "intent:sum"), Task("u", "go", "a", depends_on=["t"])]
    result = await many.arun_tasks(tasks, team=[AgentConfig("a")])
    assert [one.value for one in result.values()] == ["t!", "x"]


async def test_progress_streams_for_async_and_plain_readers():
    many = OpenMultiAgent(adapter="scripted:x")
    want = [("task:started", "draft"), ("task:finished", "draft")]
    want += [("task:started", "edit"), ("task:finished", "edit")]
    async with many.stream_tasks(chain(), team=two()) as stream:
        seen = [(item["event"], item["task"]) async for item in stream]
    assert (seen, stream.result.ok) == (want, True)
    with many.stream_tasks(chain(), team=two()) as stream:
        assert [(item["event"], item["task"]) for item in stream] == want
    with many.stream_agent(AgentConfig("a"), "go") as pieces:
        assert list(pieces) == ["x"]
    assert pieces.reply.agent == "a"


async def test_a_reader_of_progress_that_falls_behind_loses_the_oldest():
    from waybell_agents._multi import TeamStream

    many = OpenMultiAgent(adapter="scripted:x")
    full = many.stream_tasks(chain(), team=two())
    stream = TeamStream(full._work, ahead=1)
    async with stream:
        await asyncio.wait([await stream._start()])
        assert [(i["event"], i["task"]) async for i in stream] == [
            ("task:finished", "edit")
        ]


async def test_leaving_a_stream_of_progress_cancels_the_run():
    ended = asyncio.Event()

    async def hang(prompt):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    many = OpenMultiAgent(adapter=ScriptedAdapter([hang]))
    async with many.stream_tasks(chain(), team=two()) as stream:
        assert (await anext(stream))["event"] == "task:started"
        await anext_or_none(stream)
    assert ended.is_set()


async def anext_or_none(stream):
    try:
        async with asyncio.timeout(0.01):
            await anext(stream)
    except TimeoutError:
        return


async def test_an_agent_given_by_name_in_a_mapping_is_asked_directly():
    from waybell_scheduler import arun

    one = Agent(AgentConfig("a", adapter=ScriptedAdapter(["hi"])))
    result = await arun([Task("t", "go", "a")], agents={"a": one})
    assert result["t"].value == "hi"


async def test_an_agent_may_have_an_agent_for_a_tool_in_a_pool_of_one():
    inner = AgentConfig("inner", adapter=ScriptedAdapter(["deep"]))

    async def ask(question: str) -> str:
        """Ask the other one."""
        return await many.arun_agent(inner, question)

    script = ScriptedAdapter([ToolCall("1", "ask", {"question": "x"}), "so: deep"])
    many = OpenMultiAgent(AgentPool(1))
    async with asyncio.timeout(10):
        reply = await many.arun_agent(AgentConfig("outer", "", script, [ask]), "go")
    assert (reply, reply.steps[0].results[0]["text"]) == ("so: deep", "deep")


def test_one_agent_is_a_team():
    config = AgentConfig("a", adapter=ScriptedAdapter(["done"]))
    result = OpenMultiAgent().run_tasks([Task("t", "go")], team=config)
    assert result["t"].value == "done"
    assert [*OpenMultiAgent.create_team("desk", config)] == ["a"]


def test_limits_that_no_run_takes_are_refused():
    config = AgentConfig("a", adapter=ScriptedAdapter([]))
    with pytest.raises(ValueError, match=r"limits are usd, tokens, .*, not 'budget'"):
        Team("t", (config,), limits={"budget": 1})
