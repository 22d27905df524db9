"""Inside a journaled task nothing is paid for twice, and what is unclear waits."""

import re
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import pytest

from waybell_adapters import (
    BadReply,
    ModelUnavailable,
    Reply,
    ScriptedAdapter,
    ToolCall,
    Usage,
)
from waybell_agents import Agent, AgentConfig, OpenMultiAgent, OutputError
from waybell_budget import BudgetExceeded, BudgetPool
from waybell_scheduler import JournalError, Pending, SchedulerError, Steps, Task
from waybell_tools import ToolRegistry


AT_ONCE = SimpleNamespace(
    stop=lambda state: state.attempt_number > 1, wait=None, retry=lambda state: True
)


class Died(BaseException):
    """What a process ends with, as far as these tests can."""


@pytest.fixture
def runs(tmp_path):
    """Runs one task of one agent on one journal; each call is another process."""

    def run(replies, tools=(), tasks=None, **settings):
        model = ScriptedAdapter(replies)
        given = [Task("t", "go")] if tasks is None else tasks
        named = ("decisions", "budget", "retry_failed")
        terms = {name: settings.pop(name) for name in named if name in settings}
        config = AgentConfig("a", "Go.", model, tools, **settings)
        result = OpenMultiAgent().run_tasks(
            given, team=[config], journal=tmp_path / "j", **terms
        )
        return result, model

    return run


def call(name, **arguments):
    return ToolCall(f"id-{name}", name, arguments)


def test_replies_and_results_before_a_crash_are_recalled(runs):
    done = Counter()

    def pay() -> str:
        done["pay"] += 1
        return "paid"

    with pytest.raises(Died):
        runs([[call("pay")], Died()], [pay])
    paid = BudgetPool(usd=1)
    result, model = runs(
        [Reply("fin", cost="0.5", usage=Usage(1, 1))], [pay], budget=paid
    )
    assert result["t"].value == "fin"
    assert (done["pay"], len(model.calls)) == (1, 1)
    assert model.calls[0].prompt[-1]["content"] == "paid"
    assert [step.recalled for step in result["t"].value.steps] == [True, False]
    assert paid.snapshot().usd_spent == Decimal("0.5")


def test_a_tool_whose_outcome_is_unknown_is_not_repeated_but_asked_about(runs):
    done = []

    def pay(idempotency_key: str) -> str:
        done.append(idempotency_key)
        if len(done) == 1:
            raise Died
        return "paid"

    with pytest.raises(Died):
        runs([[call("pay")]], [pay])
    result, model = runs([], [pay])
    assert (result.status, len(done), model.calls) == ("suspended", 1, [])
    (key, waits), *_ = result.pending.items()
    assert (waits.reason, waits.data["tool"]) == ("tool call outcome unknown", "pay")
    result, model = runs(["fin"], [pay], decisions={key: "repeat"})
    assert result["t"].value == "fin"
    assert len(done) == 2
    assert done[0] == done[1]  # by which the other side can tell


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        ("it was paid", "it was paid"),
        ({"id": 7}, '{"id": 7}'),
        (False, "not to be repeated"),
    ],
)
def test_the_outcome_of_a_tool_may_be_stated(runs, decision, told):
    done = []

    def pay() -> str:
        done.append(1)
        raise Died

    with pytest.raises(Died):
        runs([[call("pay")]], [pay])
    result, _ = runs([], [pay])
    result, model = runs(
        ["fin"], [pay], decisions=dict.fromkeys(result.pending, decision)
    )
    assert result["t"].value == "fin"
    assert told in model.calls[0].prompt[-1]["content"]
    assert done == [1]


def test_a_tool_that_is_safe_to_repeat_is_repeated(runs):
    registry, done = ToolRegistry(), []

    @registry.tool(safe_to_repeat=True)
    def look() -> str:
        done.append(1)
        if len(done) == 1:
            raise Died
        return "seen"

    with pytest.raises(Died):
        runs([[call("look")]], registry)
    result, _ = runs(["fin"], registry)
    assert (result["t"].value, len(done)) == ("fin", 2)


def test_changed_instructions_and_tools_repeat_nothing_and_hide_no_unknown_outcome(
    tmp_path,
):
    sent = []

    def pay() -> str:
        sent.append("paid")
        return "paid"

    async def die() -> str:
        sent.append("died")
        raise Died

    def run(prompt, replies, tools, **terms):
        model = ScriptedAdapter(replies)
        config = AgentConfig("a", prompt, model, tools)
        many, tasks = OpenMultiAgent(), [Task("t", "go")]
        return many.run_tasks(tasks, team=[config], journal=tmp_path / "j", **terms)

    with pytest.raises(Died):
        run("Old.", [[call("pay")], [call("die")]], [pay, die])
    result = run("New.", [], [die])
    assert result.status == "suspended"
    assert sent == ["paid", "died"]
    decisions = dict.fromkeys(result.pending, "it came through")
    result = run("Newer.", ["fin"], [], decisions=decisions)
    assert (result["t"].value, sent) == ("fin", ["paid", "died"])


@pytest.mark.parametrize(
    ("decision", "told"), [(True, "sent"), (False, "not approved"), ("later", "later")]
)
def test_an_approval_may_outlive_the_process(runs, decision, told):
    registry, sent = ToolRegistry(), []

    @registry.tool(approve=True)
    def send(to: str) -> str:
        sent.append(to)
        return "sent"

    def ask(name, arguments):
        return Pending("may it be sent?", **arguments)

    def look() -> str:
        return "seen"

    wanted = [[call("send", to="Ann"), call("look")]]
    result, _ = runs(wanted, [registry, look], approve=ask)
    assert (result.status, sent) == ("suspended", [])
    (key, waits), *_ = result.pending.items()
    assert waits.reason == "may it be sent?"
    assert waits.data == {"to": "Ann", "tool": "send"}
    result, model = runs(
        ["fin"], [registry, look], approve=ask, decisions={key: decision}
    )
    assert result["t"].value == "fin"
    assert told in model.calls[0].prompt[-2]["content"]
    assert model.calls[0].prompt[-1]["content"] == "seen"
    assert sent == (["Ann"] if decision is True else [])


@pytest.fixture
def asking(runs):
    """Runs an agent that wants to call `send`, which waits for its approval."""
    registry, sent = ToolRegistry(), []

    @registry.tool(approve=True)
    def send(to: str) -> None:
        sent.append(to)

    def run(replies, **terms):
        def ask(name, arguments):
            return Pending(f"may {name} be called?")

        return runs(replies, registry, approve=ask, **terms)[0]

    run.sent = sent
    return run


def wish(*values):
    return [ToolCall(f"id-{value}", "send", {"to": value}) for value in values]


@pytest.mark.parametrize("name", ["send", "t"])
def test_a_decision_may_name_the_tool_or_the_task(asking, name):
    assert asking([wish("a")]).status == "suspended"
    assert asking(["fin"], decisions={name: True})["t"].value == "fin"
    assert asking.sent == ["a"]


def test_one_pending_may_be_given_for_several_tools(runs):
    registry, done, later = ToolRegistry(), [], Pending("may I?")
    for name in ("pay", "send"):
        registry.tool(lambda: done.append(1), name=name, description=name, approve=True)

    def run(replies, **terms):
        return runs(replies, registry, approve=lambda n, a: later, **terms)[0]

    waits = run([[call("pay"), call("send")]]).pending
    assert [each.data for each in waits.values()] == [{"tool": "pay"}, {"tool": "send"}]
    assert (later.data, later.key) == ({}, "")
    assert run(["fin"], decisions={"send": True, "pay": False}).ok
    assert done == [1]


def test_a_decision_may_name_a_tool_whose_call_has_an_unknown_outcome(runs):
    done = []

    def pay() -> str:
        done.append(1)
        if len(done) == 1:
            raise Died
        return "paid"

    with pytest.raises(Died):
        runs([[call("pay")]], [pay])
    assert runs([], [pay])[0].status == "suspended"
    result, _ = runs(["fin"], [pay], decisions={"pay": "repeat"})
    assert (result["t"].value, len(done)) == ("fin", 2)


def test_a_tool_of_which_several_calls_wait_must_not_be_named_alone(asking):
    first, second = asking([wish("a", "b")]).pending
    told = f"several calls of 'send' wait: name {first!r} or {second!r}"
    for answers in ({"send": True}, {first: False, "send": True}):
        with pytest.raises(JournalError, match=re.escape(told)):
            asking([], decisions=answers)
    half = asking([], decisions={first: False})
    assert [*half.pending] == [second]
    with pytest.raises(JournalError, match="is decided twice"):
        asking([], decisions={second: True, "send": True})
    with pytest.raises(JournalError, match="is decided twice"):
        asking([], decisions={"t": True, "send": True})
    assert asking(["fin"], decisions={"send": True}).ok  # only one waits now
    assert asking.sent == ["b"]


def test_a_name_that_nothing_waits_for_is_refused_with_the_names_of_what_waits(asking):
    (key,) = asking([wish("a")]).pending
    with pytest.raises(JournalError, match=f"'sned', but for '{re.escape(key)}'"):
        asking([], decisions={"sned": True})
    asking(["fin"], decisions={key: True})
    with pytest.raises(JournalError, match="does not wait for 'send'"):
        asking([], decisions={"send": True})


def test_a_task_goes_before_a_tool_of_its_name(asking):
    tasks = [Task("t", "go"), Task("send", "go, too")]
    result = asking([wish("a"), wish("b")], tasks=tasks)
    key = next(key for key in result.pending if key.startswith("send/"))
    result = asking(["fin"], tasks=tasks, decisions={"send": False})
    assert result["send"].value == "fin"
    assert asking.sent == []
    assert key not in result.pending
    assert len(result.pending) == 1


def test_a_decision_by_a_tools_name_leaves_a_damaged_journal_to_its_reader(
    asking, tmp_path
):
    (tmp_path / "j").write_text('{"waybell_journal": 1}\nnonsense\n[1]\n')
    with pytest.raises(JournalError, match="damaged"):
        asking([], decisions={"send": True})


@pytest.mark.parametrize("terms", [{"decisions": ["send"]}, {"journal": None}, {}])
def test_decisions_that_are_none_are_the_schedulers_to_refuse(tmp_path, terms):
    given = {"journal": tmp_path / "j", "decisions": {"send": True}} | terms
    config = AgentConfig("a", adapter=ScriptedAdapter([]))
    with pytest.raises((SchedulerError, TypeError), match=r"decisions|wait for"):
        OpenMultiAgent().run_tasks([Task("t", "go")], team=[config], **given)


def test_without_a_journal_a_pending_approval_is_a_refusal_that_says_why():
    registry = ToolRegistry()
    registry.tool(lambda: 1, name="send", description="Send.", approve=True)
    model = ScriptedAdapter([[call("send")], "fin"])
    config = AgentConfig(
        "a", "", model, registry, approve=lambda n, a: Pending("may I?")
    )
    reply = Agent(config).run_sync("go")
    assert "may I?), and there is no journal" in reply.steps[0].results[0]["text"]


def test_an_approval_may_raise_pending_as_well_as_return_it(runs):
    registry, sent = ToolRegistry(), []
    registry.tool(
        lambda: sent.append(1), name="send", description="Send.", approve=True
    )

    async def ask(name, arguments):
        raise Pending("may I?")

    model = ScriptedAdapter([[call("send")], "fin"])
    reply = Agent(AgentConfig("a", "", model, registry, approve=ask)).run_sync("go")
    assert "may I?), and there is no journal" in reply.steps[0].results[0]["text"]
    result, _ = runs([[call("send"), call("send")]], registry, approve=ask)
    assert (len(result.pending), sent) == (2, [])
    decisions = dict.fromkeys(result.pending, True)
    result, _ = runs(["fin"], registry, approve=ask, decisions=decisions)
    assert (result["t"].value, sent) == ("fin", [1, 1])


def test_another_attempt_of_the_task_goes_on_where_the_first_was_cut(runs):
    done = []

    def pay() -> str:
        done.append(1)
        return "paid"

    tasks = [Task("t", "go", retries=AT_ONCE)]
    result, model = runs([[call("pay")], OSError("cut"), "fin"], [pay], tasks=tasks)
    assert (result["t"].value, done, len(model.calls)) == ("fin", [1], 3)


def test_another_attempt_after_an_unusable_answer_begins_anew(runs):
    tasks = [Task("t", "go", retries=AT_ONCE)]
    result, model = runs(
        ["no", '{"value": [1]}'], tasks=tasks, output_type=list[int], repairs=0
    )
    assert result["t"].value.value == [1]
    assert len(model.calls) == 2


def test_an_unusable_answer_is_not_asked_for_again_after_a_crash(runs):
    lost = Reply("{", usage=Usage(50, 1))
    with pytest.raises(Died):
        runs([BadReply("garbage", reply=lost), Died()])
    result, model = runs(["fin"])
    assert (result["t"].value, len(model.calls)) == ("fin", 1)
    assert "garbage" in model.calls[0].prompt[-1]["content"]
    assert result["t"].value.usage.input_tokens > 50


def test_a_reply_that_was_too_dear_is_kept_for_whoever_pays_more(runs):
    dear = Reply("dear", cost="0.5", usage=Usage(1, 1))
    result, _ = runs([dear], budget=BudgetPool(usd="0.1"))
    assert isinstance(result["t"].error, BudgetExceeded)
    pool = BudgetPool(usd="0.1")
    result, model = runs([], budget=pool, retry_failed=True)
    assert (result["t"].value, model.calls) == ("dear", [])
    assert result["t"].value.cost == Decimal("0.5")
    assert pool.snapshot().usd_spent == 0  # it was paid for in the first run


def test_another_attempt_of_a_function_recalls_the_runs_that_ended_well(tmp_path):
    model, failures = ScriptedAdapter(["one", "two", "three"]), [OSError("off")]
    agent = Agent(AgentConfig("a", adapter=model))

    async def both():
        found = [(await agent.run("go")).text for _ in range(2)]
        if failures:
            raise failures.pop()
        return [*found, (await agent.run("go")).text]

    task = Task("t", run=both, retries=AT_ONCE)
    result = OpenMultiAgent().run_tasks(
        [task], team=[agent.config], journal=tmp_path / "j"
    )
    assert result["t"].value == ["one", "two", "three"]
    assert (result["t"].attempts, len(model.calls)) == (2, 3)


def test_a_run_that_was_cut_and_is_repeated_in_its_task_goes_on(tmp_path):
    done = []

    def pay() -> str:
        done.append(1)
        return "paid"

    model = ScriptedAdapter([[call("pay")], OSError("cut"), "fin"])
    agent = Agent(AgentConfig("a", "", model, [pay]))

    async def twice():
        with pytest.raises(OSError, match="cut"):
            await agent.run("go")
        return (await agent.run("go")).text

    task = Task("t", run=twice)
    result = OpenMultiAgent().run_tasks(
        [task], team=[agent.config], journal=tmp_path / "j"
    )
    assert (result["t"].value, done, len(model.calls)) == ("fin", [1], 3)
    assert model.calls[2].prompt[-1]["content"] == "paid"


def test_a_recalled_reply_is_streamed_as_if_it_came_now(tmp_path):
    pieces, failures = [], [OSError("off")]
    agent = Agent(AgentConfig("a", adapter=ScriptedAdapter(["one two"])))

    async def read():
        async with agent.stream("go") as stream:
            pieces.append([piece async for piece in stream])
        if failures:
            raise failures.pop()
        return stream.reply.text

    task = Task("t", run=read, retries=AT_ONCE)
    result = OpenMultiAgent().run_tasks(
        [task], team=[agent.config], journal=tmp_path / "j"
    )
    assert (result["t"].value, pieces) == ("one two", [["one", " two"], ["one two"]])


def test_what_an_agent_did_as_a_tool_of_another_is_recalled_too(tmp_path):
    def process(outer, inner):
        deep = Agent(AgentConfig("deep", "", ScriptedAdapter(inner), [look]))
        registry = ToolRegistry()

        @registry.tool(safe_to_repeat=True)
        async def ask(question: str) -> str:
            return await deep.run(question)

        model = ScriptedAdapter(outer)
        config = AgentConfig("outer", "", model, registry)
        run = OpenMultiAgent().run_tasks(
            [Task("t", "go")], team=[config], journal=tmp_path / "j"
        )
        return run, model

    def look() -> str:
        looks.append(1)
        return "seen"

    looks: list[int] = []
    with pytest.raises(Died):
        process([[call("ask", question="what?")]], [[call("look")], Died()])
    result, model = process(["fin"], ["deep down"])
    assert (result["t"].value, looks) == ("fin", [1])
    assert model.calls[0].prompt[-1]["content"] == "deep down"


def test_a_reply_that_was_cut_short_is_not_taken_for_a_whole_one(runs):
    cut = ModelUnavailable("cut", reply=Reply("ha", partial=True))
    tasks = [Task("t", "go", retries=AT_ONCE)]
    result, model = runs([cut, "half"], tasks=tasks)
    assert (result["t"].value, len(model.calls)) == ("half", 2)


def test_runs_alike_in_one_task_are_told_apart_and_recalled(tmp_path):
    model = ScriptedAdapter(["one", "two", Died()])
    agent = Agent(AgentConfig("a", adapter=model))

    async def both():
        return [(await agent.run("go")).text for _ in range(3)]

    many = OpenMultiAgent(adapter="offline")
    with pytest.raises(Died):
        many.run_tasks(
            [Task("t", run=both)], team=[agent.config], journal=tmp_path / "j"
        )
    model = ScriptedAdapter(["three"])
    agent = Agent(AgentConfig("a", adapter=model))
    result = many.run_tasks(
        [Task("t", run=both)], team=[agent.config], journal=tmp_path / "j"
    )
    assert result["t"].value == ["one", "two", "three"]


def test_a_journal_that_cannot_be_written_ends_the_run_before_the_tool(runs):
    registry, sent = ToolRegistry(), []

    @registry.tool(approve=True)
    def send() -> None:
        sent.append(1)

    async def ask(name, arguments):
        Steps.current()._journal.close()
        return True

    with pytest.raises(JournalError, match="has ended"):
        runs([[call("send")], "fin"], registry, approve=ask)
    assert sent == []


def test_the_value_of_a_recalled_result_can_be_read_again(tmp_path):
    model = ScriptedAdapter(['{"value": [1, 2]}'])
    config = AgentConfig("a", adapter=model, output_type=list[int])

    def add(results):
        return sum(config.output.read(results["t"]))

    tasks = [Task("t", "go", "a"), Task("sum", run=add, depends_on=["t"])]
    for _ in range(2):
        result = OpenMultiAgent().run_tasks(
            tasks, team=[config], journal=tmp_path / "j"
        )
        assert result["sum"].value == 3


def test_outside_of_a_journaled_task_there_are_no_steps():
    assert Steps.current() is None
    one = Agent(
        AgentConfig(
            "a", adapter=ScriptedAdapter(["x"]), output_type=list[int], repairs=0
        )
    )
    with pytest.raises(OutputError):
        one.run_sync("go")
