"""What an agent may be, and what it is given."""

import asyncio
import functools
import inspect
import re
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from types import SimpleNamespace

import pytest

from waybell_budget import BudgetExceeded, BudgetPool, Price
from waybell_bus import EventBus
from waybell_deadline import Deadline, abandoned
from waybell_patterns import (
    Broadcast,
    Fallback,
    IncompleteError,
    Pipeline,
    Retry,
    Router,
    Stage,
    Supervisor,
)


async def alone(agent, prompt="hi", **setting):
    return await Fallback(agent, **setting).run(prompt)


async def test_an_async_function_a_sync_one_and_a_topic_are_agents():
    bus = EventBus()
    bus.on("shout", lambda event: event["prompt"].upper())

    async def whisper(prompt):
        return prompt.lower()

    assert await alone(whisper, "Hi") == "hi"
    assert await alone(str.title, "hi") == "Hi"
    assert await alone("shout", "Hi", bus=bus) == "HI"


async def test_objects_answer_by_run_agenerate_or_generate():
    class Runs:
        async def run(self, prompt, *, budget=None, deadline=None):
            return f"ran {prompt}"

    class Model:
        name = "small"

        def generate(self, prompt, *, system=None, **options):
            return f"{prompt} {sorted(options)}"

    class Async(Model):
        async def agenerate(self, prompt, **options):
            return "async"

    assert await alone(Runs()) == "ran hi"
    result = await Pipeline([Model()]).run("hi")
    assert result.results == {"small": "hi ['budget']"}
    assert await alone(Async()) == "async"


async def test_an_async_call_method_and_a_partial_of_one_are_async():
    class Agent:
        async def __call__(self, prompt, mark=""):
            return (
                prompt
                + mark
                + str(threading.current_thread() is threading.main_thread())
            )

    assert await alone(Agent()) == "hiTrue"
    assert await alone(functools.partial(Agent(), mark="!")) == "hi!True"


async def test_a_sync_agent_runs_in_a_thread_in_the_callers_context():
    who = ContextVar("who")
    who.set("me")
    names = []

    def agent(prompt):
        names.append(threading.current_thread())
        return who.get()

    assert await alone(agent) == "me"
    assert names[0] is not threading.main_thread()


async def test_a_sync_function_that_returns_a_coroutine_is_awaited():
    async def twice(text):
        return text * 2

    assert await alone(lambda prompt: twice(prompt + "!")) == "hi!hi!"


async def test_an_agent_is_given_the_keywords_it_takes_and_no_others():
    seen = {}

    async def some(prompt, *, results, budget=None):
        seen["some"] = (results, budget is not None)
        return "1"

    async def every(prompt, **extras):
        seen["every"] = sorted(extras)
        return "2"

    stages = [Stage("a", some), Stage("b", every)]
    await Pipeline(stages, budget=BudgetPool()).run("hi", deadline=Deadline(10))
    assert seen["some"] == ({}, True)
    assert seen["every"] == ["budget", "deadline", "results", "stage"]


async def test_a_builtin_without_a_signature_is_given_the_prompt_only():
    assert await alone(dict.fromkeys, "ab") == {"a": None, "b": None}
    assert await alone(int, "12") == 12


async def test_what_is_no_agent_is_refused_when_the_pattern_is_made():
    with pytest.raises(TypeError, match="is no agent"):
        Fallback(42)
    with pytest.raises(
        TypeError, match="'topic' is a topic, so the pattern needs bus="
    ):
        Fallback("topic")


def test_a_setting_that_no_pattern_has_is_refused():
    meant = r"does not take 'timeout'; give deadline=Deadline\(seconds=\.\.\.\)"
    with pytest.raises(TypeError, match="Fallback " + meant):
        Fallback(str, timeout=3)
    with pytest.raises(TypeError, match="Fallback.run_sync " + meant):
        Fallback(str).run_sync("hi", timeout=3)
    with pytest.raises(
        TypeError, match=r"run_sync does not take 'usd'; there are 'budget'"
    ):
        Fallback(str).run_sync("hi", usd=3)
    with pytest.raises(
        TypeError, match=r"take 'classifier'; did you mean 'classify'\?"
    ):
        Router({}, classifier=str)
    with pytest.raises(TypeError, match=r"take 'budjet'; did you mean 'budget'\?"):
        Fallback(str, budjet=3)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"deadline": 5}, "deadline=5: give a Deadline, e.g. Deadline(seconds=5)"),
        ({"budget": "0.10"}, "budget='0.10': give a BudgetPool or a Budget"),
    ],
)
async def test_limits_of_a_wrong_type_are_refused(limit, said):
    with pytest.raises(TypeError, match=re.escape(said)):
        Pipeline([str], **limit)
    with pytest.raises(TypeError, match=re.escape(said)):
        await Pipeline([str]).run("hi", **limit)


async def test_agents_without_a_name_are_numbered_and_equal_names_told_apart():
    def agent(prompt):
        return "x"

    result = await Broadcast([agent, agent, lambda prompt: "y"]).run("hi")
    assert list(result.answers) == ["agent", "agent#2", "agent3"]


async def test_a_stages_prompt_is_applied_in_every_pattern():
    bus = EventBus()
    bus.on("echo", lambda event: event["prompt"])
    stage = Stage("echo", "echo", prompt=lambda prompt, results: f"<{prompt}>")
    assert await Retry(stage, bus=bus).run("hi") == "<hi>"
    assert await Fallback(stage, bus=bus).run("hi") == "<hi>"
    assert (await Broadcast([stage], bus=bus).run("hi")).answers == {"echo": "<hi>"}
    assert (await Broadcast(stage, bus=bus).run("hi")).value.popitem()[1] == "<hi>"
    assert (await Pipeline([stage], bus=bus).run("hi")).value == "<hi>"
    supervised = await Supervisor(stage, lambda prompt: True, bus=bus).run("hi")
    assert supervised.draft == "<hi>"


async def test_a_prompt_that_cannot_be_made_is_the_stages_failure(fakes):
    log = fakes.Log()
    stage = Stage("a", str.upper, prompt=lambda prompt, results: results["nobody"])
    result = await Pipeline([stage], log=log).run("hi")
    assert result.failed == "a"
    assert log.answers() == [("a", "error")]


async def test_nested_patterns_give_their_value_and_fail_as_incomplete():
    inner = Pipeline(
        [Stage("up", str.upper), Stage("same", lambda p, results: results["up"])]
    )
    outer = await Pipeline(
        [Stage("inner", inner), Stage("last", lambda p, results: results["inner"])]
    ).run("hi")
    assert outer.value == "HI"
    broken = Pipeline([Stage("bad", {}.__getitem__)])
    result = await Pipeline([Stage("inner", broken)]).run("hi")
    assert result.failed == "inner"
    assert isinstance(result.error, IncompleteError)
    assert result.error.result.failed == "bad"


async def test_a_pattern_answers_a_topic_and_spends_from_the_budget_of_the_event(fakes):
    bus, pool = EventBus(), BudgetPool(usd=1)
    bus.on("ask", Pipeline([lambda prompt: fakes.Reply("yes", cost=0.25)]))
    result = await Fallback("ask", bus=bus, budget=pool).run("hi")
    assert result == "yes"
    assert str(pool.snapshot().usd_spent) == "0.25"
    assert (await bus.request("ask", prompt="hi")).value == "yes"


def test_a_pattern_made_at_module_level_serves_loop_after_loop():
    pattern = Broadcast([str.upper, str.lower], deadline=Deadline.never())
    for _ in range(3):
        assert pattern.run_sync("Hi").ok
        assert asyncio.run(pattern.run("Hi")).ok


async def test_run_sync_on_a_loop_says_what_to_await():
    with pytest.raises(RuntimeError, match=r"await run\(\) instead"):
        Fallback(str.upper).run_sync("hi")


def test_an_error_from_run_sync_has_no_other_one_before_it():
    with pytest.raises(ZeroDivisionError) as caught:
        Retry(lambda prompt: 1 / 0).run_sync("hi")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (
            Pipeline([Stage("research", {}.__getitem__)]),
            "failed at 'research': KeyError",
        ),
        (Broadcast([Stage("a", {}.__getitem__)]), "0 of 1 answers: a failed (KeyError"),
        (
            Supervisor({}.__getitem__, str),
            "not approved: failed after 0 reviews: KeyEr",
        ),
        (Pipeline([Stage("nothing", lambda prompt: None)]), "None"),
    ],
)
def test_a_result_without_a_value_prints_what_failed(pattern, said):
    assert str(pattern.run_sync("hi")).startswith(said)


@pytest.mark.parametrize("kind", [Pipeline, Broadcast])
async def test_a_pool_that_refuses_the_first_holds_says_for_which_stages(kind):
    stages = [Stage("a", str, usd=1), Stage("free", str), Stage("b", str, tokens=9)]
    with pytest.raises(BudgetExceeded) as caught:
        await kind(stages).run("hi", budget=BudgetPool(usd="0.5"))
    assert caught.value.__notes__ == ["asked before the start, for all of a, b"]


async def test_a_sync_agent_that_hangs_is_abandoned_at_its_timeout(caplog):
    release = threading.Event()
    stage = Stage("stuck", lambda prompt: release.wait(30), timeout=0.02)
    result = await Pipeline([stage]).run("hi")
    left = abandoned()
    release.set()
    for thread in left:
        thread.join()
    assert result.failed == "stuck"
    assert isinstance(result.error, TimeoutError)
    assert len(left) == 1
    assert "abandoned a running thread" in caplog.text


@pytest.mark.simulate(seeds=10)
async def test_sync_agents_run_inline_in_a_simulation():
    result = await Broadcast([str.upper, str.lower]).run("Hi")
    assert result.answers == {"upper": "HI", "lower": "hi"}


async def test_a_log_that_fails_is_warned_of_and_fails_nobody(caplog):
    class Full:
        def record(self, **fields):
            raise OSError("disk full")

    assert await Fallback(str.upper, log=Full()).run("hi") == "HI"
    assert "a 'answer' record could not be written" in caplog.text


async def test_spans_nest_as_the_patterns_do(fakes):
    tracer = fakes.Tracer()
    inner = Pipeline([Stage("draft", str.upper)], tracer=tracer)
    await Fallback(Stage("inner", inner), tracer=tracer).run("hi")
    assert tracer.seen[-1] == "fallback/inner/pipeline/draft"
    assert tracer.open == []


async def test_two_stages_of_one_name_and_no_agents_are_refused():
    for pattern in (Pipeline, Broadcast, lambda agents: Fallback(*agents)):
        with pytest.raises(ValueError, match="two agents are called 'a'"):
            pattern([Stage("a", str.upper), Stage("a", str.lower)])
        with pytest.raises(ValueError, match="needs at least one agent"):
            pattern([])


async def test_what_an_async_agent_returns_is_awaited_too():
    async def later(prompt):
        return prompt + "!"

    async def agent(prompt):
        return later(prompt)  # where somebody forgot to await it

    assert await alone(agent) == "hi!"


async def test_generators_are_refused_when_the_pattern_is_made():
    def words(prompt):
        yield prompt

    async def awords(prompt):
        yield prompt

    for agent in (words, awords, functools.partial(awords)):
        with pytest.raises(TypeError, match="is a generator; an agent answers once"):
            Fallback(agent)


@pytest.mark.parametrize("many", [False, True])
async def test_a_handler_is_given_budget_and_deadline_as_fields_of_its_event(many):
    bus, seen = EventBus(), []
    bus.on("agent:x", lambda event: seen.append({**event}))
    pattern = Broadcast("agent:x", bus=bus) if many else Fallback("agent:x", bus=bus)
    await pattern.run("hi", deadline=Deadline(60))
    await pattern.run("hi", budget=BudgetPool(usd=1))
    assert 0 < seen[0]["deadline"].remaining() < 60
    assert "deadline" not in seen[1]
    assert seen[1]["budget"] is not None


async def test_the_span_of_an_agent_says_what_its_reply_used(fakes):
    def agent(usage, **more):
        return lambda prompt: fakes.Reply("ok", usage=usage, **more)

    tracer, pool = fakes.Meter(), BudgetPool(usd=1)
    stages = [
        Stage("map", agent({"input_tokens": 3, "output_tokens": 4}, cost=0, model="m")),
        Stage("object", agent(SimpleNamespace(input_tokens=5), cost="0.5")),
        Stage("plain", str.upper),
        Stage("inner", Pipeline([agent({}, cost=0)])),
        Stage("dear", agent({}, cost=2)),
    ]
    await Pipeline(stages, tracer=tracer, budget=pool).run("hi")
    nothing = dict.fromkeys(("model", "input_tokens", "output_tokens", "usd"))
    assert tracer.used == [
        ("map", {"model": "m", "input_tokens": 3, "output_tokens": 4, "usd": 0}),
        ("object", {**nothing, "input_tokens": 5, "usd": Decimal("0.5")}),
        ("stage1", {**nothing, "usd": 0}),
        ("dear", {**nothing, "usd": 2}),
    ]
    assert tracer.seen[:2] == ["pipeline", "pipeline/agent map"]


async def test_the_span_of_an_agent_carries_what_was_booked_for_it(fakes):
    tracer = fakes.Meter()
    pool = BudgetPool(usd=1, prices={"m": Price(input=1, output=2)})

    async def charges(prompt, budget):
        budget.charge(usd="0.25")
        raise OSError("down, but paid")

    used = {"input_tokens": 1000, "output_tokens": 1000}
    priced = Stage("priced", lambda prompt: fakes.Reply("x", usage=used, model="m"))
    await Pipeline([priced], tracer=tracer, budget=pool).run("hi")
    await Pipeline([Stage("charges", charges)], tracer=tracer, budget=pool).run("hi")
    await Pipeline([Stage("free", str.upper)], tracer=tracer, budget=pool).run("hi")
    assert [(name, usage["usd"]) for name, usage in tracer.used] == [
        ("priced", Decimal("0.003")),
        ("charges", Decimal("0.25")),
    ]


def test_a_pattern_tells_whoever_asks_its_signature_what_it_takes():
    taken = inspect.signature(Pipeline([str]).run).parameters
    assert list(taken) == ["prompt", "budget", "deadline"]


async def test_a_span_that_refuses_a_figure_is_warned_of_and_fails_nobody(
    fakes, caplog
):
    class Strict(fakes.Meter):
        @contextmanager
        def agent(self, name):
            yield SimpleNamespace(record_usage=lambda usd: None)

    reply = fakes.Reply("ok", usage={}, cost=0)
    assert await Fallback(lambda prompt: reply, tracer=Strict()).run("hi") == "ok"
    assert "usage could not be recorded" in caplog.text


async def test_nested_patterns_inherit_log_and_tracer_but_their_own_come_first(fakes):
    bus, log, own = EventBus(), fakes.Log(), fakes.Log()
    tracer = fakes.Tracer()
    bus.on("topic", Fallback(Stage("handler", str.upper)))
    stages = [
        Stage("plain", Fallback(Stage("inner", str.upper))),
        Stage("own", Fallback(Stage("mine", str.upper), log=own)),
        Stage("topic", "topic"),
        Stage("thread", lambda prompt: Fallback(Stage("deep", str.upper)).run_sync("")),
        Stage("panel", Broadcast("topic", bus=bus)),
    ]
    await Pipeline(stages, log=log, tracer=tracer, bus=bus).run("hi")
    asked = [name for name, _ in log.answers()]
    assert asked[:7] == ["inner", "plain", "own", "handler", "topic", "deep", "thread"]
    assert (asked[7], asked[-1]) == ("handler", "panel")
    assert own.answers() == [("mine", "ok")]
    assert "pipeline/own/fallback/mine" in tracer.seen
    assert "pipeline/thread/fallback/deep" in tracer.seen
    await Fallback(str.upper).run("hi")
    assert len(log.answers()) == len(asked)
