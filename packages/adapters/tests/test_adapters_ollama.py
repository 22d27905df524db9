import json

import pytest

from waybell_adapters import Reply, ToolCall, Usage
from waybell_adapters._ollama import address


def lines(*events):
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_a_recorded_stream_becomes_a_reply(serve, connect, wire):
    body = wire.recorded("aimock.ollama.stream")
    server = serve(wire.http(200, body, "application/x-ndjson", size=30))
    reply = connect(server, "ollama").generate("hi")
    assert reply == "Hello from aimock, this is a fixture reply."
    assert reply.usage.estimated  # it counted nothing
    assert (reply.cost, reply.stop_reason) == (None, "end")


def test_a_recorded_tool_call_is_read(serve, connect, wire):
    body = wire.recorded("aimock.ollama.tool.stream")
    server = serve(wire.http(200, body, "application/x-ndjson", size=30))
    reply = connect(server, "ollama").generate("hi")
    (call,) = reply.tool_calls
    assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
    assert call.id
    assert reply.stop_reason == "tool_use"


def test_counts_thinking_and_arguments_as_text(serve, connect, wire):
    call = {"function": {"name": "f", "arguments": '{"x": 1}'}}
    body = lines(
        {"message": {"thinking": "Let me "}},
        {"message": {"thinking": "see."}},
        {"message": {"content": "Yes"}},
        {"message": {"content": ".", "tool_calls": [call, call]}},
        {
            "done": True,
            "done_reason": "length",
            "prompt_eval_count": 3,
            "eval_count": 9,
        },
    )
    reply = connect(serve(wire.http(200, body, "text/plain")), "ollama").generate("hi")
    assert (reply, reply.usage, reply.stop_reason) == (
        "Yes.",
        Usage(3, 9),
        "max_tokens",
    )
    assert [dict(call.arguments) for call in reply.tool_calls] == [{"x": 1}, {"x": 1}]
    assert len({call.id for call in reply.tool_calls}) == 2
    assert reply.message["thinking"] == "Let me see."


def test_the_request_says_what_was_asked(serve, connect, wire):
    server = serve(wire.whole("ollama"))
    tool = {"name": "f", "description": "F.", "input_schema": {"type": "object"}}
    picture = {"type": "image", "source": {"media_type": "image/png", "data": "AAAA"}}
    connect(server, "ollama").generate(
        [
            {"role": "user", "content": [{"type": "text", "text": "See?"}, picture]},
            Reply("", tool_calls=[ToolCall("a", "f", {"x": 1})]).message,
            {"role": "tool", "tool_call_id": "a", "content": "ok"},
        ],
        system="Be kind.", tools=[tool], max_tokens=5, temperature=0.5, stop="END",
        output_schema={"type": "object"}, num_ctx=99, keep_alive="1m", think=True,
        options={"top_k": 3},
    )  # fmt: skip
    (request,) = server.requests
    assert request.path == "/api/chat"
    assert "authorization" not in request.headers
    sent = request.json
    assert sent.pop("messages") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "See?", "images": ["AAAA"]},
        {"role": "assistant", "content": "",
         "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "content": "ok", "tool_call_id": "a", "tool_name": "f"},
    ]  # fmt: skip
    assert sent.pop("tools")[0]["function"]["parameters"] == {"type": "object"}
    assert sent == {
        "model": "m", "stream": True, "format": {"type": "object"}, "keep_alive": "1m",
        "think": True, "options": {"num_predict": 5, "temperature": 0.5, "stop": ["END"],
                                   "num_ctx": 99, "top_k": 3},
    }  # fmt: skip


def test_a_picture_by_its_address_is_refused(serve, connect, wire):
    link = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    with pytest.raises(ValueError, match="base64"):
        connect(serve(wire.whole("ollama")), "ollama").generate(
            [{"role": "user", "content": [link]}]
        )


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:8080", "http://box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::1]", "http://[::1]:11434"),
        ("http://box", "http://box"),
        ("https://box/sub/", "https://box/sub"),
        ("https://ollama.com/api", "https://ollama.com"),
    ],
)
def test_its_host_is_read_as_ollama_reads_it(host, url):
    assert address(host) == url
