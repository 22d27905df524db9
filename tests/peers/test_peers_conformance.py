"""What every adapter promises, kept against real servers."""

import asyncio
import time

import pytest

from waybell_adapters import (
    BadReply,
    ContextTooLong,
    LLMAdapter,
    ModelRefused,
    ModelUnavailable,
    RateLimited,
    Usage,
    agenerate,
    astream,
)
from waybell_deadline import Deadline, DeadlineExceeded


ENDLESS = {"temperature": 0}  # the tiny model repeats a word to "hello", for ever
# Peers that can show what a test is about, where not all can.
computes = pytest.mark.parametrize(
    "peer", ["llamacpp-openai", "llamacpp-anthropic"], indirect=True
)
plays = pytest.mark.parametrize(
    "peer", ["aimock-openai", "aimock-anthropic", "aimock-ollama"], indirect=True
)
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
    reply = model.generate("hello", max_tokens=8, temperature=0)
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


@pytest.mark.parametrize("peer", ["llamacpp-openai"], indirect=True)
def test_a_schema_bounds_what_it_says(peer, model):
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


@computes
def test_a_prompt_that_is_too_long_is_said_to_be(peer, model):
    with pytest.raises(ContextTooLong) as caught:
        model.generate("word " * 5000, max_tokens=8)
    assert caught.value.status == 400
    assert caught.value.provider == peer.vendor


@plays
@pytest.mark.parametrize("prompt", ["bad request", "quota"])
def test_a_refusal_is_not_repeated(peer, model, prompt):
    with pytest.raises(ModelRefused) as caught:
        model.generate(prompt)
    assert len(caught.value.attempts) == 1


@plays
def test_an_overloaded_server_is_asked_again_and_then_given_up(peer, model):
    with pytest.raises(ModelUnavailable) as caught:
        model.generate("overload")
    assert [attempt.status for attempt in caught.value.attempts] == [529] * 3


@plays
def test_a_limited_server_is_given_its_time(peer, model):
    reply = model.generate(f"flaky {peer.vendor}")
    assert reply == "Recovered."
    assert [attempt.status for attempt in reply.attempts] == [429, 200]


@plays
def test_a_stream_that_breaks_leaves_what_came(peer, model):
    with pytest.raises(ModelUnavailable) as caught:
        model.generate("cut stream")
    reply = caught.value.reply
    assert "This answer is cut in the middle".startswith(reply[:10])
    assert reply.partial
    assert reply.usage.estimated
    assert len(caught.value.attempts) == 1


async def test_a_deadline_ends_it(peer, model):
    deadline, began = Deadline(0.05 if peer.real else 0.3), time.monotonic()
    prompt, options = ("slow", {}) if not peer.real else ("hello", ENDLESS)
    with pytest.raises(DeadlineExceeded) as caught:
        await model.agenerate(prompt, max_tokens=4000, deadline=deadline, **options)
    assert time.monotonic() - began < 5
    assert isinstance(caught.value, TimeoutError)


@computes
@pytest.mark.parametrize("how", ["leave", "cancel", "deadline"])
async def test_generation_stops_on_the_server(peer, model, how):
    endless = {"max_tokens": 1900, **ENDLESS}
    before = peer.metric("tokens_predicted_total")
    if how == "leave":
        async with await model.astream("hello", **endless) as stream:
            await anext(stream)
    elif how == "cancel":
        task = asyncio.create_task(model.agenerate("hello", **endless))
        await asyncio.to_thread(peer.wait_for, "requests_processing", 1)
        task.cancel()
        await asyncio.wait({task})
    else:
        async with await model.astream(
            "hello", deadline=Deadline(0.05), **endless
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


def test_a_stop_sequence_ends_it(peer, model):
    whole = model.generate("hello", max_tokens=12, temperature=0)
    assert "e" in whole
    if peer.real:
        cut = model.generate("hello", max_tokens=12, temperature=0, stop="e")
        assert cut == whole.partition("e")[0]
        assert cut.usage.output_tokens < whole.usage.output_tokens


def test_a_conversation_goes_on(peer, model):
    turns = [{"role": "user", "content": "hello"}]
    first = model.generate(turns, system="Be kind.", max_tokens=8)
    turns += [first.message, {"role": "user", "content": "unicode"}]
    second = model.generate(turns, system="Be kind.", max_tokens=8)
    assert second.strip()
    if peer.real:
        given = second.usage.input_tokens + second.usage.cache_read_tokens
        assert given > first.usage.input_tokens + first.usage.cache_read_tokens


@plays
def test_a_failed_tool_is_told_to_the_model(peer, model, journal):
    asked = [{"role": "user", "content": "weather"}]
    reply = model.generate(asked, tools=[TOOL])
    [call] = reply.tool_calls
    failed = {"role": "tool", "tool_call_id": call.id, "content": "no such city",
              "is_error": True}  # fmt: skip
    answer = model.generate([*asked, reply.message, failed], tools=[TOOL])
    assert answer == "It is sunny in Paris."
    assert "no such city" in str(journal()[-1])


FAULTS = {
    "drop": (ModelUnavailable, 3),
    "malformed": (BadReply, 1),
    "ratelimit": (RateLimited, 3),
    "disconnect": (ModelUnavailable, 3),
}


@plays
@pytest.mark.parametrize("fault", FAULTS)
def test_injected_faults_are_documented_errors(peer, fault):
    kind, attempts = FAULTS[fault]
    chaos = {f"x-aimock-chaos-{fault}": "1"}
    with (
        peer.adapter(headers=chaos, max_wait=0.5) as model,
        pytest.raises(kind) as caught,
    ):
        model.generate("hello")
    assert len(caught.value.attempts) <= attempts
    assert caught.value.provider == peer.vendor


@plays
@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_a_server_that_is_late_is_left(peer, how):
    began = time.monotonic()
    with peer.adapter(headers={"x-aimock-chaos-latency": "20000"}) as model:
        if how == "deadline":
            with pytest.raises(DeadlineExceeded):
                await model.agenerate("hello", deadline=Deadline(0.2))
        else:
            task = asyncio.create_task(model.agenerate("hello"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert time.monotonic() - began < 10


@plays
@pytest.mark.parametrize("how", ["leave", "cancel", "deadline"])
async def test_nothing_connects_to_a_server_that_nobody_reads(peer, model, how):
    if how == "cancel":
        task = asyncio.create_task(model.agenerate("slow"))
        assert await asyncio.to_thread(peer.wait_for, "connections", 1)
        task.cancel()
        await asyncio.wait({task})
    else:
        deadline = Deadline(2) if how == "deadline" else None
        async with await model.astream("slow", deadline=deadline) as stream:
            await anext(stream)
            if deadline is not None:
                with pytest.raises(DeadlineExceeded):
                    [piece async for piece in stream]
        assert stream.reply.partial
    assert await asyncio.to_thread(peer.wait_for, "connections", 0)


def test_nobody_there_is_an_error_in_time(peer):
    with (
        peer.adapter(base_url="http://127.0.0.1:9/v1") as model,
        pytest.raises(ModelUnavailable) as caught,
    ):
        model.generate("hello")
    assert [attempt.status for attempt in caught.value.attempts] == [None] * 3
    assert caught.value.reply is None
