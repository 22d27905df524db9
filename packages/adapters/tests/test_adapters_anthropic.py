import asyncio
from decimal import Decimal

import pytest

from waybell_adapters import Reply, ToolCall, Usage


@pytest.mark.parametrize(
    "case",
    [
        ("llamacpp.messages.stream", " their now their go they thing", Usage(1, 6, 24)),
        ("aimock.messages.stream", "Hello from aimock, this is a fixture reply.", Usage(7, 9)),
        ("litellm.messages.stream", None, None),
    ],
)  # fmt: skip
def test_a_recorded_stream_becomes_a_reply(serve, connect, wire, case):
    name, text, usage = case
    server = serve(wire.http(200, wire.recorded(name), size=100, request_id="r-1"))
    price = {"input": 3, "output": 15, "cache_read": "0.3", "cache_write": 3.75}
    reply = connect(server, "anthropic", price=price).generate("hi")
    if text is not None:
        assert (reply, reply.usage) == (text, usage)
    assert reply.usage.input_tokens > 0
    assert not reply.usage.estimated
    assert reply.request_id == "r-1"
    assert reply.message["content"] == [{"type": "text", "text": reply.text}]
    assert reply.cost > 0


@pytest.mark.parametrize(
    "name", ["llamacpp.messages.tool.stream", "aimock.messages.tool.stream"]
)
def test_a_recorded_tool_call_is_read(serve, connect, wire, name):
    server = serve(wire.http(200, wire.recorded(name), size=50))
    reply = connect(server, "anthropic").generate("weather?")
    (call,) = reply.tool_calls
    assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
    (block,) = reply.message["content"]
    assert (block["id"], block["input"]) == (call.id, {"city": "Paris"})
    assert reply.stop_reason == "tool_use"


def test_the_request_says_what_was_asked(serve, connect, wire):
    server = serve(wire.whole("anthropic"))
    model = connect(server, "anthropic", api_key="sk-ant-1")
    tool = {"name": "f", "description": "F.", "input_schema": {"type": "object"}}
    search = {"type": "web_search_20250305", "name": "web_search"}
    schema = {"type": "object"}
    model.generate(
        "hi", system="Be kind.", tools=[tool, search], temperature=0, stop=["END"],
        tool_choice="required", output_schema=schema, thinking={"type": "adaptive"},
    )  # fmt: skip
    (request,) = server.requests
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == "sk-ant-1"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.json == {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "stream": True,
        "system": "Be kind.",
        "tools": [tool, search],
        "max_tokens": 4096,
        "temperature": 0,
        "stop_sequences": ["END"],
        "tool_choice": {"type": "any"},
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "thinking": {"type": "adaptive"},
    }


def thinking_stream(wire):
    def block(n, block, *deltas):
        return [
            {"type": "content_block_start", "index": n, "content_block": block},
            *({"type": "content_block_delta", "index": n, "delta": d} for d in deltas),
            {"type": "content_block_stop", "index": n},
        ]

    return wire.sse(
        {"type": "message_start", "message": {"model": "c", "usage": {
            "input_tokens": 5, "cache_creation_input_tokens": 40,
            "cache_read_input_tokens": 30, "output_tokens": 1}}},
        {"type": "ping"},
        *block(0, {"type": "thinking", "thinking": "", "signature": ""},
               {"type": "thinking_delta", "thinking": "Let me "},
               {"type": "thinking_delta", "thinking": "see."},
               {"type": "signature_delta", "signature": "EqQ"},
               {"type": "signature_delta", "signature": "=="}),
        *block(1, {"type": "redacted_thinking", "data": "xyz"}),
        *block(2, {"type": "text", "text": ""},
               {"type": "text_delta", "text": "Yes."},
               {"type": "citations_delta", "citation": {"cited_text": "y"}}),
        *block(3, {"type": "brand_new", "payload": {"a": 1}},
               {"type": "brand_new_delta", "note": "n"}),
        *block(4, {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
               {"type": "input_json_delta", "partial_json": ""},
               {"type": "input_json_delta", "partial_json": '{"x": 1}'}),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"},
         "usage": {"output_tokens": 20}},
        {"type": "message_stop"},
    )  # fmt: skip


def test_thinking_and_unknown_blocks_go_back_verbatim(serve, connect, wire):
    server = serve(wire.http(200, thinking_stream(wire)), wire.whole("anthropic"))
    model = connect(server, "anthropic", price={"input": 1, "output": 1})
    reply = model.generate("hi")
    assert (reply, reply.usage) == ("Yes.", Usage(5, 20, 30, 40))
    assert reply.cost is None  # what writing to the cache costs was not stated
    assert reply.message["content"] == [
        {"type": "thinking", "thinking": "Let me see.", "signature": "EqQ=="},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "Yes.", "citations": [{"cited_text": "y"}]},
        {"type": "brand_new", "payload": {"a": 1}, "note": "n"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
    ]
    result = {"role": "tool", "tool_call_id": "t1", "content": "ok"}
    model.generate([{"role": "user", "content": "hi"}, reply.message, result])
    sent = server.requests[1].json["messages"]
    assert sent[1] == reply.message
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
    ]


async def test_a_thought_that_was_cut_is_not_sent_back(serve, connect, wire):
    whole = thinking_stream(wire)
    cut = whole[: whole.index(b"signature_delta")].rpartition(b"data:")[0]
    stream = connect(
        serve(wire.stall(wire.head() + wire.chunk(cut))), "anthropic"
    ).stream("hi", deadline=None)
    call = stream._source.call
    reading = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(5):
        while call._now is None or not call._now.reader.begun:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    stream.close()
    with pytest.raises(StopAsyncIteration):
        await reading
    assert stream.reply.message["content"] == []
    assert stream.reply.usage.input_tokens == 5
    assert stream.reply.usage.estimated


def test_a_conversation_is_sent_in_its_form(serve, connect, wire):
    server = serve(wire.whole("anthropic"))
    neutral = Reply("Wait.", tool_calls=[ToolCall("call:1", "g", {"x": 1})]).message
    href = "data:image/png;base64,AAAA"
    connect(server, "anthropic").generate(
        [
            {"role": "system", "content": "A."},
            {"role": "developer", "content": [{"type": "text", "text": "B.",
                                               "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": href}},
                {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
            ]},
            neutral,
            {"role": "tool", "tool_call_id": "call:1", "content": "no", "is_error": True},
            {"role": "user", "content": "and?"},
            {"role": "assistant", "content": ""},
        ]
    )  # fmt: skip
    sent = server.requests[0].json
    assert [block["text"] for block in sent["system"]] == ["A.", "B."]
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    sources = [block["source"] for block in sent["messages"][0]["content"]]
    assert sources == [
        {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        {"type": "url", "url": "http://x/y.png"},
    ]
    assert sent["messages"][1]["content"][1] == {
        "type": "tool_use", "id": "call_1", "name": "g", "input": {"x": 1},
    }  # fmt: skip
    result, text = sent["messages"][2]["content"]
    assert result["tool_use_id"] == "call_1"
    assert result["is_error"] is True
    assert text["text"] == "and?"


def test_usage_that_comes_late_or_grows_is_read_once(serve, connect, wire):
    body = wire.sse(
        {"type": "message_start", "message": {"usage": {"input_tokens": 0}}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
         "usage": {"input_tokens": 9, "output_tokens": 5}},
        {"type": "message_stop"},
    )  # fmt: skip
    reply = connect(serve(wire.http(200, body)), "anthropic").generate("hi")
    assert (reply, reply.usage) == ("Hi", Usage(9, 5))


def test_a_whole_message_instead_of_a_stream_is_understood(serve, connect, wire):
    message = {
        "type": "message", "model": "c", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "name": "f",
                                                    "id": "", "input": {"x": 1}}],
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }  # fmt: skip
    server = serve(wire.http(200, message))
    reply = connect(server, "anthropic").generate("hi")
    assert (reply, reply.usage, reply.model) == ("Hi", Usage(3, 2), "c")
    (call,) = reply.tool_calls
    assert call.id
    assert reply.message["content"][1]["id"] == call.id


def test_prices_are_rounded_up_to_the_nano_dollar(serve, connect, wire):
    server = serve(wire.whole("anthropic"))
    price = {"input": "0.0001", "output": 0}
    reply = connect(server, "anthropic", price=price).generate("hi")
    assert reply.cost == Decimal("1E-9")
    for bad in ({"input": 1}, {"input": 1, "output": 2, "more": 3}, {"input": -1, "output": 1},
                {"input": True, "output": 1}, {"input": "x", "output": 1}):  # fmt: skip
        with pytest.raises(ValueError, match="price"):
            connect(server, "anthropic", price=bad)
