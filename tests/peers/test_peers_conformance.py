"""What every adapter promises, kept against real servers."""

import asyncio
import time

import pytest

from waybell_adapters import (
    ContextTooLong,
    LLMAdapter,
    ModelRefused,
    ModelUnavailable,
    Usage,
    agenerate,
    astream,
)
from waybell_deadline import Deadline, DeadlineExceeded


TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def test_it_answers(peer, model):
    assert isinstance(model, LLMAdapter)
    reply = model.generate("hello", max_tokens=8, temperature=0)
    assert reply.strip()
    assert not reply.partial
    assert reply.stop_reason in ("end", "max_tokens")
    assert [attempt.status for attempt in reply.attempts] == [200]
    assert reply.message["role"] == "assistant"


def test_it_counts_tokens_and_dollars(peer, model):
    reply = model.generate("hello", max_tokens=8)
    usage = reply.usage
    assert usage.estimated == (peer.vendor == "ollama")
    if peer.real:
        assert usage.output_tokens == 8
        assert usage.input_tokens + usage.cache_read_tokens > 8
    elif not usage.estimated:
        assert usage == Usage(7, 9)
    given = usage.input_tokens + usage.cache_read_tokens
    assert reply.cost * 10**6 == given + 2 * usage.output_tokens


async def test_its_pieces_are_the_reply_through_every_door(peer, model):
    options = {"max_tokens": 12, "temperature": 0}
    with model.stream("hello", **options) as stream:
        pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == stream.reply
    async with await astream(model, "hello", **options) as stream:
        assert [piece async for piece in stream] == pieces
    assert stream.reply == await agenerate(model, "hello", **options)


def test_a_tool_goes_round(peer, model):
    asked = [{"role": "user", "content": "weather"}]
    reply = model.generate(asked, tools=[TOOL], max_tokens=400)
    # The tiny model may call until its limit.
    assert reply.stop_reason in ("tool_use", "max_tokens" if peer.real else "tool_use")
    assert {call.name for call in reply.tool_calls} == {"get_weather"}
    assert all(isinstance(call.arguments["city"], str) for call in reply.tool_calls)
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "It is sunny."}
        for call in reply.tool_calls
    ]
    turns = [*asked, reply.message, *results]
    answer = model.generate(turns, tools=[TOOL], max_tokens=12)
    assert answer.strip()
    assert answer.tool_calls == ()


def test_a_schema_bounds_what_it_says(peer, model, only):
    only("llamacpp")
    if peer.vendor == "anthropic":
        pytest.skip("llama.cpp does not read output_config")
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    reply = model.generate("yes or no?", output_schema=schema, max_tokens=300)
    assert '"answer"' in reply
    assert "yes" in reply or "no" in reply


def test_any_text_can_be_sent_and_come_back(peer, model):
    prompt = "unicode: Smörgåsbord — 東京 🎉 \u0000 \ud800 e\u0301"
    reply = model.generate(prompt, system="\U0001f600", max_tokens=8)
    assert reply
    if not peer.real:
        assert reply == "Smörgåsbord — 東京 🎉 e\u0301"


def test_a_prompt_that_is_too_long_is_said_to_be(peer, model, only):
    only("llamacpp")
    with pytest.raises(ContextTooLong) as caught:
        model.generate("word " * 5000, max_tokens=8)
    assert caught.value.status == 400
    assert caught.value.provider == peer.vendor


@pytest.mark.parametrize("prompt", ["bad request", "quota"])
def test_a_refusal_is_not_repeated(peer, model, only, prompt):
    only("aimock")
    with pytest.raises(ModelRefused) as caught:
        model.generate(prompt)
    assert len(caught.value.attempts) == 1


def test_an_overloaded_server_is_asked_again_and_then_given_up(peer, model, only):
    only("aimock")
    with pytest.raises(ModelUnavailable) as caught:
        model.generate("overload")
    assert [attempt.status for attempt in caught.value.attempts] == [529] * 3


def test_a_limited_server_is_given_its_time(peer, model, only):
    only("aimock")
    reply = model.generate(f"flaky {peer.vendor}")
    assert reply == "Recovered."
    assert [attempt.status for attempt in reply.attempts] == [429, 200]


def test_a_stream_that_breaks_leaves_what_came(peer, model, only):
    only("aimock")
    with pytest.raises(ModelUnavailable) as caught:
        model.generate("cut stream")
    reply = caught.value.reply
    assert "This answer is cut in the middle".startswith(reply[:10])
    assert reply.partial
    assert reply.usage.estimated
    assert len(caught.value.attempts) == 1


async def test_a_deadline_ends_it(peer, model):
    if peer.real and peer.vendor == "anthropic":
        pytest.skip("llama.cpp may end its turn sooner there")
    deadline, began = Deadline(0.05 if peer.real else 0.3), time.monotonic()
    prompt, options = ("slow", {}) if not peer.real else ("hi", {"ignore_eos": True})
    with pytest.raises(DeadlineExceeded) as caught:
        await model.agenerate(prompt, max_tokens=4000, deadline=deadline, **options)
    assert time.monotonic() - began < 5
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("how", ["leave", "cancel", "deadline"])
async def test_generation_stops_on_the_server(peer, model, only, how):
    only("llamacpp")
    if how == "deadline" and peer.vendor == "anthropic":
        pytest.skip("llama.cpp may end its turn sooner there")
    endless = {"max_tokens": 1900, "ignore_eos": True}
    before = peer.metric("tokens_predicted_total")
    if how == "leave":
        async with await model.astream("go on", **endless) as stream:
            await anext(stream)
    elif how == "cancel":
        task = asyncio.create_task(model.agenerate("go on", **endless))
        await asyncio.to_thread(peer.wait_for, "requests_processing", 1)
        task.cancel()
        await asyncio.wait({task})
    else:
        async with await model.astream(
            "go on", deadline=Deadline(0.05), **endless
        ) as s:
            with pytest.raises(DeadlineExceeded):
                [piece async for piece in s]
    assert await asyncio.to_thread(peer.wait_for, "requests_processing", 0)
    made = peer.metric("tokens_predicted_total") - before
    assert made < 1900, "the server wrote to the end although nobody read"


async def test_many_at_once_all_answer(peer, model):
    replies = await asyncio.gather(
        *(model.agenerate("hello", max_tokens=4) for _ in range(32))
    )
    assert len(replies) == 32
    assert all(reply.strip() for reply in replies)
