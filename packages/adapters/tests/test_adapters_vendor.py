import asyncio
import copy
import gc
import logging
import pickle
import subprocess
import sys
import traceback

import pytest

from waybell_adapters import (
    AdapterError,
    AnthropicAdapter,
    LLMAdapter,
    ModelRefused,
    ModelUnavailable,
    OllamaAdapter,
    OpenAIAdapter,
    adapter,
)


KEY = "sk-very-secret-0123456789"
NAMES = {
    "openai": (OpenAIAdapter, "OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    "anthropic": (AnthropicAdapter, "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ""),
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for _, key, url, _ in NAMES.values():
        monkeypatch.delenv(key, raising=False)
        monkeypatch.delenv(url, raising=False)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


@pytest.mark.parametrize("vendor", NAMES)
def test_a_missing_key_names_its_variable_at_the_first_call(vendor):
    kind, key, _, _ = NAMES[vendor]
    model = kind("m")
    assert isinstance(model, LLMAdapter)
    with pytest.raises(ModelRefused, match=f"no key: set {key}") as caught:
        model.generate("hi")
    assert (caught.value.provider, caught.value.model) == (vendor, "m")
    assert caught.value.status == 401  # nobody takes it for a broken provider
    with pytest.raises(ModelRefused, match=key):
        asyncio.run(model.agenerate("hi"))


@pytest.mark.parametrize("vendor", NAMES)
def test_key_and_address_are_read_at_the_first_call(serve, wire, monkeypatch, vendor):
    server = serve(wire.whole(vendor))
    kind, key, url, path = NAMES[vendor]
    model = kind("m")
    monkeypatch.setenv(key, f" {KEY}\n")
    monkeypatch.setenv(url, f"{server.url}{path}/")
    with model:
        assert model.generate("hi") == "Hello there"
    headers = server.requests[0].headers
    assert KEY in (headers.get("x-api-key"), headers.get("authorization", "")[7:])


@pytest.mark.parametrize("vendor", NAMES)
def test_the_key_of_the_environment_is_not_for_a_server_given_in_code(
    serve, wire, monkeypatch, vendor
):
    server = serve(wire.whole(vendor))
    kind, key, _, path = NAMES[vendor]
    monkeypatch.setenv(key, KEY)
    with kind("m", base_url=server.url + path) as model:
        model.generate("hi")
    with kind("m", base_url=server.url + path, api_key="sk-own") as model:
        model.generate("hi")
    sent = [str(request.headers) for request in server.requests]
    assert [KEY in text for text in sent] == [False, False]
    assert "sk-own" in sent[1]


def test_ollama_is_found_through_its_own_variable(serve, wire, monkeypatch):
    server = serve(wire.whole("ollama"))
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.port}")
    with OllamaAdapter("m") as model:
        assert model.generate("hi") == "Hello there"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"base_url": "ftp://x"}, "not a web address"),
        ({"base_url": "x"}, "not a web address"),
        ({"base_url": f"http://ann:{KEY}@x/v1"}, "carries no user"),
        ({"api_key": f"{KEY}\n"}, "a character it cannot carry"),
        ({"api_key": f"{KEY}é"}, "a character it cannot carry"),
        ({"base_url": "http://x:99999/v1"}, "nothing can be sent"),
        ({"base_url": f"http://ann:{KEY}@[::1"}, "not a web address"),
        ({"headers": {"X Y": KEY}}, "not a name of a header: 'X Y'"),
        ({"headers": {"X\0": KEY}}, "not a name of a header"),
        ({"headers": {"X\r\nY": KEY}}, "not a name of a header"),
        ({"headers": {"": KEY}}, "not a name of a header"),
        ({"headers": {"É": KEY}}, "not a name of a header"),
        ({"headers": {5: KEY}}, "nothing can be sent"),
        ({"headers": {"X": f"{KEY}\r\nY: 1"}}, "a character it cannot carry"),
        ({"headers": {"X": KEY.encode()}}, "a character it cannot carry"),
        ({"headers": {"X": None}}, "a character it cannot carry"),
    ],
)
def test_what_cannot_be_sent_is_said_without_secrets(options, text):
    model = OpenAIAdapter("m", **{"base_url": "http://x/v1", **options})
    with pytest.raises(ModelUnavailable, match=text) as caught:
        model.generate("hi")
    told = "".join(traceback.format_exception(caught.value)) + repr(model)
    assert KEY not in told


@pytest.mark.parametrize("header", ["Transfer-Encoding", "CONTENT-LENGTH"])
def test_a_header_of_ours_cannot_say_where_the_request_ends(
    serve, connect, wire, header
):
    server = serve(wire.whole("openai"))
    model = connect(server, headers={header: "chunked", "host": "a.example"})
    assert model.generate("hi") == "Hello there"
    (request,) = server.requests
    assert "transfer-encoding" not in request.headers
    assert int(request.headers["content-length"]) == len(request.body)
    assert request.headers["host"] == "a.example"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://ann:word@[::1]:5/a@b?key=1#c", "http://[::1]:5/a@b"),
        ("ann:word@x/a", "x/a"),
        ("http://[::1", "http://[::1"),
    ],
)
def test_an_address_is_shown_without_a_password_or_a_query(url, shown):
    assert f"base_url={shown!r}" in repr(OpenAIAdapter("m", base_url=url))


def said_of(error):
    return "".join([
        *traceback.format_exception(error), repr(error), str(error), str(error.body),
        str(vars(error)), str(error.attempts), str(pickle.loads(pickle.dumps(error))),
    ])  # fmt: skip


def test_secrets_are_nowhere_to_be_seen(serve, connect, wire, caplog):
    import requests

    caplog.set_level(logging.DEBUG)
    echo = {"error": {"message": f"Incorrect API key provided: {KEY}; {KEY}-header"}}
    session = requests.Session()
    session.trust_env = False
    answers = [
        wire.http(401, echo),
        wire.http(200, f"data: not json {KEY}\n\n".encode()),
        wire.http(200, wire.sse(echo)),
        wire.http(200, f"<p>{KEY}</p>".encode(), "text/html"),
        lambda conn, request: conn.sendall(f"HTTP/1.1 {KEY} {KEY}\r\n\r\n".encode()),
    ]
    for answer in answers:
        server = serve(answer)
        model = connect(
            server, api_key=KEY, headers={"X-Token": f"{KEY}-header"}, session=session
        )
        with pytest.raises(AdapterError) as caught:
            model.generate("hi", attempts=1)
        assert KEY not in said_of(caught.value) + repr(model)
        assert KEY in server.requests[0].headers["authorization"]
    assert KEY not in caplog.text
    session.proxies = {"http": f"http://ann:{KEY}@127.0.0.1:1"}
    with pytest.raises(AdapterError) as caught:
        connect(serve(b""), session=session).generate("hi", attempts=1)
    assert KEY not in said_of(caught.value)


def test_one_line_changes_the_provider():
    for spec, kind in (
        ("anthropic:claude-x", AnthropicAdapter),
        ("openai:gpt-x", OpenAIAdapter),
        ("ollama:llama3.2:3b", OllamaAdapter),
    ):
        model = adapter(spec)
        assert type(model) is kind
        assert model.model == spec.partition(":")[2]
        assert repr(model) == f"{kind.__name__}({model.model!r})"
    assert "base_url" in repr(adapter("openai:m", base_url="http://x/v1?k=1"))
    assert "k=1" not in repr(adapter("openai:m", base_url="http://x/v1?k=1"))
    with pytest.raises(ValueError, match="openai:MODEL"):
        adapter("openai")


def test_a_bad_argument_is_refused_before_anything_is_sent(serve, connect, wire):
    server = serve(wire.whole("openai"))
    model = connect(server)
    for options, text in (
        ({"max_tokens": 0}, "max_tokens is at least 1"),
        ({"max_tokens": True}, "max_tokens is at least 1"),
        ({"attempts": 0}, "attempts is at least 1"),
        ({"tools": ["x"]}, r"tools\[0\] has a name"),
        ({"tools": [{"name": "x"}]}, r"tools\[0\] has a name"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            model.generate("hi", **options)
    with pytest.raises(ValueError, match="prompt has no message"):
        model.generate([])
    assert server.requests == []


def test_tools_may_be_objects(serve, connect, wire):
    class Tool:
        name, description, input_schema = "f", "F.", {"type": "object"}

    server = serve(wire.whole("openai"))
    connect(server).generate("hi", tools=[Tool()])
    assert server.requests[0].json["tools"][0]["function"]["name"] == "f"


def test_a_wrapper_sees_every_call_through_the_protocol_alone(serve, connect, wire):
    class Recording:
        def __init__(self, inner):
            self.inner, self.tape = inner, []

        def generate(self, prompt, **options):
            self.tape.append((prompt, options, self.inner.generate(prompt, **options)))
            return self.tape[-1][2]

        def stream(self, prompt, **options):
            return self.inner.stream(prompt, **options)

    model = Recording(connect(serve(wire.whole("openai"))))
    assert isinstance(model, LLMAdapter)
    reply = model.generate("hi", temperature=0)
    assert model.tape == [("hi", {"temperature": 0}, "Hello there")]
    assert pickle.loads(pickle.dumps(reply)).message == reply.message
    assert copy.deepcopy(reply).attempts == reply.attempts


def test_importing_the_package_loads_no_network():
    code = (
        "import sys, waybell_adapters as w; w.OpenAIAdapter('m'); "
        "print([m for m in ('requests', 'urllib3', 'tenacity', 'asyncio', 'ssl', "
        "'http.client') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


async def test_a_stream_that_was_dropped_unread_sent_nothing(
    serve, connect, wire, spies
):
    server, budget = serve(wire.whole("openai")), spies.Budget()
    stream = connect(server).stream("hi", budget=budget)
    stream.close()
    assert server.requests == []
    assert (stream.reply, stream.reply.cost, stream.reply.usage.total) == ("", 0, 0)
    del stream
    gc.collect()
