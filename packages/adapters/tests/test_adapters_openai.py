import gzip
import json
from decimal import Decimal

import pytest

from waybell_adapters import BadReply, ModelRefused, Reply, ToolCall, Usage


TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.mark.parametrize(
    "case",
    [
        ("llamacpp.chat.stream", " time is look now write there", Usage(1, 6, 24)),
        (
            "aimock.chat.stream",
            "Hello from aimock, this is a fixture reply.",
            Usage(7, 9),
        ),
    ],
)
def test_a_recorded_stream_becomes_a_reply(serve, connect, wire, case):
    name, text, usage = case
    server = serve(wire.http(200, wire.recorded(name), size=100, x_request_id="r-1"))
    reply = connect(server, price={"input": 1, "output": "2"}).generate("hi")
    assert (reply, reply.usage) == (text, usage)
    assert reply.request_id == "r-1"
    assert reply.message == {"role": "assistant", "content": text}
    (attempt,) = reply.attempts
    assert (attempt.status, attempt.error, attempt.usage) == (200, None, usage)
    tokens = usage.input_tokens + usage.cache_read_tokens + 2 * usage.output_tokens
    assert reply.cost == Decimal(tokens) / 10**6


@pytest.mark.parametrize(
    "name", ["llamacpp.chat.tool.stream", "aimock.chat.tool.stream"]
)
def test_a_recorded_tool_call_is_read(serve, connect, wire, name):
    server = serve(wire.http(200, wire.recorded(name), size=50))
    reply = connect(server).generate("weather?", tools=[TOOL])
    (call,) = reply.tool_calls
    assert (call.name, list(call.arguments)) == ("get_weather", ["city"])
    assert reply.stop_reason == "tool_use"
    assert reply.message["tool_calls"][0]["id"] == call.id


def test_a_gateway_without_usage_gives_an_estimate(serve, connect, wire):
    body = wire.recorded("litellm.chat.stream").replace(b'"usage"', b'"nothing"')
    reply = connect(serve(wire.http(200, body))).generate("hi")
    assert reply.usage.estimated
    assert reply.usage.output_tokens > 3
    assert not reply.partial


def test_a_server_that_does_not_stream_is_understood(serve, connect, wire):
    server = serve(wire.http(200, wire.recorded("llamacpp.chat"), "application/json"))
    reply = connect(server).generate("hi")
    assert (reply, reply.stop_reason) == (
        " many their been is look there",
        "max_tokens",
    )
    assert reply.usage == Usage(1, 6, 24)


def test_a_body_that_was_packed_unasked_is_unpacked(serve, connect, wire):
    body = gzip.compress(wire.chat("Hello", " there"))
    server = serve(wire.http(200, body, size=20, content_encoding="gzip"))
    assert connect(server).generate("hi") == "Hello there"
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_the_request_says_what_was_asked(serve, connect, wire):
    server = serve(wire.whole("openai"))
    model = connect(server, api_key="sk-1", headers={"X-Team": "blue"})
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    model.generate(
        "hi", system="Be kind.", tools=[TOOL], max_tokens=5, temperature=0.5,
        stop="END", tool_choice="get_weather", output_schema=schema, seed=3,
    )  # fmt: skip
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-1"
    assert request.headers["x-team"] == "blue"
    assert request.json == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "The weather of a city.",
                    "parameters": TOOL["input_schema"],
                },
            }
        ],
        "max_tokens": 5,
        "temperature": 0.5,
        "stop": ["END"],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": schema, "strict": True},
        },
        "seed": 3,
    }


def test_a_schema_that_openai_would_not_take_as_strict_is_not_called_so(
    serve, connect, wire
):
    server = serve(wire.whole("openai"))
    loose = {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}]}
    connect(server).generate("hi", output_schema=loose, tool_choice="required")
    assert "strict" not in server.requests[0].json["response_format"]["json_schema"]
    assert server.requests[0].json["tool_choice"] == "required"


def test_a_conversation_with_tools_and_pictures_is_sent_in_its_form(
    serve, connect, wire
):
    server = serve(wire.whole("openai"))
    native = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "a", "type": "function", "extra": 1,
             "function": {"name": "f", "arguments": "{}"}},
        ],
    }  # fmt: skip
    neutral = Reply("", tool_calls=[ToolCall("b", "g", {"x": 1})]).message
    foreign = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Wait."},
            {"type": "tool_use", "id": "c", "name": "h", "input": {}},
        ],
    }
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    link = {"type": "url", "url": "http://x/y.png"}
    picture = [
        {"type": "text", "text": "What is it?"},
        {"type": "image", "source": source},
        {"type": "image", "source": link},
        {"type": "image_url", "image_url": {"url": "http://x/z.png"}},
    ]
    result = {"type": "tool_result", "tool_use_id": "c", "content": "3"}
    connect(server).generate(
        [
            {"role": "user", "content": picture},
            native,
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            neutral,
            {"role": "tool", "tool_call_id": "b", "content": "2"},
            foreign,
            {"role": "user", "content": [result]},
        ]
    )
    sent = server.requests[0].json["messages"]
    urls = [part["image_url"]["url"] for part in sent[0]["content"][1:]]
    assert urls == ["data:image/png;base64,AAAA", "http://x/y.png", "http://x/z.png"]
    assert sent[1] == native
    assert [m["tool_call_id"] for m in sent if m["role"] == "tool"] == ["a", "b", "c"]
    assert sent[3]["tool_calls"][0]["function"] == {
        "name": "g",
        "arguments": '{"x": 1}',
    }
    assert sent[5]["content"] == "Wait."
    assert sent[5]["tool_calls"][0]["id"] == "c"
    assert len(sent) == 7


def test_stream_options_that_are_refused_are_left_out_from_then_on(
    serve, connect, wire
):
    no = {"error": {"message": "Unknown field: stream_options", "type": "invalid"}}
    server = serve(wire.http(400, no), wire.whole("openai"))
    model = connect(server)
    reply = model.generate("hi", attempts=1)
    assert [attempt.status for attempt in reply.attempts] == [400, 200]
    model.generate("hi")
    assert ["stream_options" in r.json for r in server.requests] == [True, False, False]


def test_the_other_name_of_the_limit_is_learned(serve, connect, wire):
    message = (
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    )
    server = serve(
        wire.http(400, {"error": {"message": message}}), wire.whole("openai")
    )
    model = connect(server)
    assert model.generate("hi", max_tokens=9) == "Hello there"
    model.generate("hi", max_tokens=9)
    assert [r.json.get("max_completion_tokens") for r in server.requests] == [
        None,
        9,
        9,
    ]


def test_a_limit_that_is_too_high_is_no_reason_to_rename_it(serve, connect, wire):
    no = {"error": {"message": "max_tokens is too large: 9"}}
    server = serve(wire.http(400, no))
    with pytest.raises(ModelRefused, match="too large"):
        connect(server).generate("hi", max_tokens=9)
    assert len(server.requests) == 1


def deltas(*items):
    return [{"tool_calls": [item]} for item in items]


def fn(**fields):
    return {"function": fields}


ODD_CALLS = {
    "no ids": (
        deltas({"index": 0, **fn(name="f", arguments='{"x"')}, {"index": 0, **fn(arguments=":1}")}),
        [("f", {"x": 1})],
    ),
    "no index": (
        deltas({"id": "a", **fn(name="f", arguments="{")}, fn(arguments="}"),
               {"id": "b", **fn(name="g", arguments="{}")}),
        [("f", {}), ("g", {})],
    ),
    "one id for two calls": (
        deltas({"index": 0, "id": "a", **fn(name="f", arguments='{"x":1}')},
               {"index": 1, "id": "a", **fn(name="f", arguments='{"x":2}')}),
        [("f", {"x": 1}), ("f", {"x": 2})],
    ),
    "one index for two calls": (
        deltas({"index": 0, "id": "a", **fn(name="f", arguments='{"x":1}')},
               {"index": 0, "id": "b", **fn(name="g", arguments='{"x":2}')}),
        [("f", {"x": 1}), ("g", {"x": 2})],
    ),
    "id and name repeated": (
        deltas(*({"index": 0, "id": "a", **fn(name="f", arguments=part)} for part in ('{"x"', ":1}"))),
        [("f", {"x": 1})],
    ),
    "arguments as an object": (
        deltas({"index": 0, "id": "a", **fn(name="f", arguments={"x": 1})}),
        [("f", {"x": 1})],
    ),
    "no arguments": (deltas({"index": 0, "id": "a", **fn(name="f")}), [("f", {})]),
    "an empty object first": (
        deltas({"index": 0, "id": "a", **fn(name="f", arguments='{}{"x":1}')}),
        [("f", {"x": 1})],
    ),
    "two glued": (
        deltas({"index": 0, "id": "a", **fn(name="f", arguments='{"x":1}{"x":2}')}),
        [("f", {"x": 1}), ("f", {"x": 2})],
    ),
    "quoted twice": (
        deltas({"index": 0, "id": "a", **fn(name="f", arguments=json.dumps('{"x":1}'))}),
        [("f", {"x": 1})],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD_CALLS)
def test_tool_calls_of_deviant_servers_are_borne(serve, connect, wire, case):
    given, expected = ODD_CALLS[case]
    server = serve(wire.http(200, wire.chat(*given, stop="stop")))
    reply = connect(server).generate("hi")
    assert [(c.name, dict(c.arguments)) for c in reply.tool_calls] == expected
    assert len({call.id for call in reply.tool_calls}) == len(expected)
    assert all(call.id for call in reply.tool_calls)
    assert [c["id"] for c in reply.message["tool_calls"]] == [
        call.id for call in reply.tool_calls
    ]
    assert reply.stop_reason == "tool_use"


@pytest.mark.parametrize("arguments", ['{"x":', "[1]", "nonsense"])
def test_arguments_that_cannot_be_read_are_a_bad_reply_that_is_paid(
    serve, connect, wire, spies, arguments
):
    call = {"index": 0, "id": "a", **fn(name="f", arguments=arguments)}
    server = serve(wire.http(200, wire.chat("Hm.", *deltas(call))))
    budget = spies.Budget()
    with pytest.raises(BadReply, match="arguments of 'f'") as caught:
        connect(server).generate("hi", budget=budget)
    assert caught.value.reply == "Hm."
    assert (len(server.requests), len(budget.charged)) == (1, 1)


def test_a_call_that_the_limit_cut_is_left_out(serve, connect, wire):
    call = {"index": 0, "id": "a", **fn(name="f", arguments='{"x":')}
    server = serve(wire.http(200, wire.chat("Hm.", *deltas(call), stop="length")))
    reply = connect(server).generate("hi")
    assert (reply, reply.tool_calls, reply.stop_reason) == ("Hm.", (), "max_tokens")
    assert "tool_calls" not in reply.message


def test_what_else_a_server_sends_goes_back_verbatim(serve, connect, wire):
    parts = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me "},
        {"reasoning_content": "think.", "details": [{"sig": "a"}]},
        {"details": [{"sig": "b"}]},
        {"content": [{"type": "text", "text": "Yes."}]},
    ]
    reply = connect(serve(wire.http(200, wire.chat(*parts)))).generate("hi")
    assert reply.message == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_content": "Let me think.",
        "details": [{"sig": "a"}, {"sig": "b"}],
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4,
          "prompt_tokens_details": {"cached_tokens": 6}}, Usage(4, 4, 6)),
        ({"prompt_tokens": 10, "completion_tokens": 4,
          "prompt_tokens_details": None, "prompt_cache_hit_tokens": 3}, Usage(7, 4, 3)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
          "completion_tokens_details": {"reasoning_tokens": 3}}, Usage(10, 4)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 17,
          "completion_tokens_details": {"reasoning_tokens": 3}}, Usage(10, 7)),
        ({"prompt_tokens": 10, "completion_tokens": None}, Usage(10, 2, estimated=True)),
    ],
)  # fmt: skip
def test_usage_has_one_form(serve, connect, wire, usage, expected):
    body = wire.chat("one two", usage=usage)
    assert connect(serve(wire.http(200, body))).generate("hi").usage == expected


def test_usage_that_grows_with_each_chunk_is_not_summed(serve, connect, wire):
    events = [
        {"choices": [{"delta": {"content": "a"}}],
         "usage": {"prompt_tokens": 3, "completion_tokens": n}}
        for n in (1, 2, 3)
    ]  # fmt: skip
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    reply = connect(serve(wire.http(200, wire.sse(*events)))).generate("hi")
    assert (reply, reply.usage) == ("aaa", Usage(3, 3))


@pytest.mark.parametrize(
    "case",
    [
        ("gpt-x", "gpt-x-2026-01-01", "gpt-x"),
        ("auto", "vendor/large", "vendor/large"),
        ("gpt-x", None, "gpt-x"),
    ],
)
def test_a_dated_name_is_told_as_the_model_that_was_asked(serve, connect, wire, case):
    asked, answered, told = case
    choice = {"delta": {"content": "Yes"}, "finish_reason": "stop"}
    server = serve(wire.http(200, wire.sse({"model": answered, "choices": [choice]})))
    assert connect(server, model=asked).generate("hi").model == told


def test_only_the_first_of_several_answers_is_the_reply(serve, connect, wire):
    events = [
        {
            "choices": [
                {"index": n, "delta": {"content": str(n)}, "finish_reason": "stop"}
            ]
        }
        for n in (0, 1)
    ]
    assert connect(serve(wire.http(200, wire.sse(*events)))).generate("hi", n=2) == "0"


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_character_that_was_cut_in_two_is_whole_again(serve, connect, wire, vendor):
    pieces = ["a\ud83c", "\udf89b", "\ud83d", "\ude00"]
    if vendor == "openai":
        answer = wire.http(200, wire.chat(*pieces))
    else:
        deltas = [
            {"type": "content_block_delta", "index": 0,
             "delta": {"type": "text_delta", "text": text}}
            for text in pieces
        ]  # fmt: skip
        answer = wire.http(200, wire.sse(*deltas, {"type": "message_stop"}))
    with connect(serve(answer), vendor).stream("hi") as stream:
        assert list(stream) == ["a", "🎉b", "😀"]
    assert "a🎉b😀" in str(stream.reply.message)


def test_a_refusal_is_text_and_says_so(serve, connect, wire):
    body = wire.chat({"refusal": "I can"}, {"refusal": "not."})
    reply = connect(serve(wire.http(200, body))).generate("hi")
    assert (reply, reply.stop_reason) == ("I cannot.", "refusal")
