import asyncio
import threading
from contextvars import ContextVar
from decimal import Decimal

import pytest

from waybell_adapters import (
    AdapterError,
    LLMAdapter,
    RateLimited,
    Reply,
    ReplyStream,
    ScriptedAdapter,
    ToolCall,
    Usage,
    adapter,
    agenerate,
    astream,
)


def test_the_lines_come_in_turn_and_the_calls_are_kept():
    paid = Reply("two", usage=Usage(10, 20), cost="0.01")
    model = ScriptedAdapter(["one", paid, lambda prompt: prompt.upper()])
    assert model.generate("a", system="be brief", stop=None) == "one"
    assert model.generate([{"role": "user", "content": "b"}]) is paid
    assert model.generate("c") == "C"
    assert model.calls == [
        ("a", {"system": "be brief"}),
        ([{"role": "user", "content": "b"}], {}),
        ("c", {}),
    ]
    assert model.calls[0].options == {"system": "be brief"}


def test_a_text_is_counted_and_free():
    reply = ScriptedAdapter(["two words"], model="m").generate("one", system="be kind")
    assert reply.usage == Usage(3, 2)
    assert (reply.cost, reply.model, reply.tokens) == (Decimal(0), "m", 5)


def test_tool_calls_come_alone_or_as_a_list():
    call = ToolCall("1", "add", {"a": 1})
    model = ScriptedAdapter([call, [call, call]])
    assert model.generate("x").tool_calls == (call,)
    reply = model.generate("x")
    assert reply.tool_calls == (call, call)
    assert reply.stop_reason == "tool_use"


def test_an_exception_is_raised_whether_made_or_not():
    model = ScriptedAdapter([RateLimited("slow", retry_after=2), ConnectionError])
    with pytest.raises(RateLimited) as caught:
        model.generate("x")
    assert caught.value.retry_after == 2
    with pytest.raises(ConnectionError):
        model.stream("x")


def test_an_ended_script_says_how_many_were_asked():
    model = ScriptedAdapter(["one"])
    model.generate("x")
    with pytest.raises(AdapterError, match="has 1 replies, and this is call 2"):
        model.generate("x")
    assert len(model.calls) == 2


def test_a_script_can_repeat():
    model = ScriptedAdapter(["a", "b"], repeat=True)
    assert [model.generate("x") for _ in range(5)] == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize("line", [3, None, [], ["text"], {"a": 1}])
def test_what_no_model_says_is_refused(line):
    with pytest.raises(TypeError, match="a script has texts"):
        ScriptedAdapter([line]).generate("x")


def test_a_single_text_is_no_script():
    with pytest.raises(TypeError, match=r"write \[text\]"):
        ScriptedAdapter("one")


def test_a_spent_deadline_stops_the_call_before_it_is_counted(spies):
    model = ScriptedAdapter(["one"])
    with pytest.raises(TimeoutError):
        model.generate("x", deadline=spies.Deadline(0))
    assert model.calls == []


def test_a_budget_is_asked_before_and_charged_after(spies):
    budget = spies.Budget()
    reply = ScriptedAdapter(["one"], model="m").generate("x", budget=budget)
    assert budget.checked == [{"tokens": 0}]
    assert budget.charged == [
        {"usd": Decimal(0), "model": "m", "usage": reply.usage, "line": "free"},
    ]
    paid = Reply("x", cost="0.5", usage=Usage(1, 2), model="m")
    guessed = Reply("x", model="m")
    for said in (paid, guessed):
        ScriptedAdapter([said]).generate("x", budget=budget)
    assert [charge.get("line") for charge in budget.charged] == [
        "free",
        None,
        "estimated",
    ]
    assert budget.charged[2]["usd"] is None
    with pytest.raises(spies.Overspent) as caught:
        ScriptedAdapter(["one"]).generate("x", budget=spies.Budget(1))
    assert caught.value.reply == "one"


def test_streams_come_in_pieces():
    with ScriptedAdapter(["one two, three"]).stream("x") as stream:
        assert list(stream) == ["one", " two", ",", " three"]
    assert stream.reply == "one two, three"


def test_threads_share_a_script():
    model = ScriptedAdapter([str(n) for n in range(200)])
    said = []

    def ask():
        for _ in range(50):
            said.append(model.generate("x"))  # noqa: PERF401 - one call at a time

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said, key=int) == [str(n) for n in range(200)]


async def test_the_async_doors_say_the_same_and_await_async_lines(spies):
    async def slow(prompt):
        await asyncio.sleep(0)
        return f"after {prompt}"

    budget = spies.Budget()
    model = ScriptedAdapter(["one", slow, "three four", slow])
    assert await agenerate(model, "x", budget=budget) == "one"
    assert await model.agenerate("y") == "after y"
    async with await astream(model, "z", budget=budget) as stream:
        assert [piece async for piece in stream] == ["three", " four"]
    assert len(budget.charged) == 2
    with pytest.raises(TypeError, match="needs agenerate"):
        model.generate("y")


class Shouting:
    """A user's own adapter, with the two methods only."""

    def generate(self, prompt, **options):
        return self.stream(prompt, **options).read()

    def stream(self, prompt, *, deadline=None, budget=None, **options):
        assert options == {"temperature": 0}
        words = (f"{word.upper()} {place.get()} " for word in prompt.split())
        return ReplyStream(words, deadline=deadline, budget=budget)


place = ContextVar("place", default="nowhere")


async def test_an_adapter_of_two_methods_runs_in_threads_with_the_context(spies):
    model = Shouting()
    assert isinstance(model, LLMAdapter)
    assert isinstance(ScriptedAdapter([]), LLMAdapter)
    assert not isinstance(object(), LLMAdapter)
    place.set("here")
    said = await agenerate(model, "hi you", temperature=0, deadline=spies.Deadline())
    assert said == "HI here YOU here "
    async with await astream(model, "hi", temperature=0) as stream:
        assert [piece async for piece in stream] == ["HI here "]


def test_a_spec_names_a_model():
    model = adapter("scripted:always this", model="m")
    assert [model.generate("x") for _ in range(3)] == ["always this"] * 3
    assert model.generate("x").model == "m"


def test_an_unknown_provider_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError,
        match="of anthropic, offline, ollama, openai, scripted; did you mean 'scripted'",
    ):
        adapter("scriptd:x")
    with pytest.raises(ValueError, match="no provider ''"):
        adapter("")


def test_a_script_that_is_a_generator_is_asked_by_one_thread_at_a_time():
    def script():
        entered.set()
        gate.wait(10)
        yield "one"
        yield "two"

    def ask():
        said.append(model.generate("x"))

    entered, gate, said = threading.Event(), threading.Event(), []
    model = ScriptedAdapter(script())
    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    first.start()
    entered.wait(10)
    second.start()
    second.join(0.05)  # without a lock it has failed by now
    gate.set()
    first.join(10)
    second.join(10)
    assert sorted(said) == ["one", "two"]


def test_a_call_that_was_kept_does_not_change_with_its_message():
    message = {"role": "user", "content": "before"}
    model = ScriptedAdapter(["fine"])
    model.generate([message])
    message["content"] = "after"
    assert model.calls[0].prompt == [{"role": "user", "content": "before"}]
