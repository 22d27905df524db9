import asyncio
import copy
import gc
import gzip
import json
import pickle
import socket
import subprocess
import sys
import threading
import weakref
import zlib

import pytest

from waybell_adapters import (
    AdapterError,
    AnthropicAdapter,
    BadReply,
    ModelRefused,
    ModelUnavailable,
    OllamaAdapter,
    OpenAIAdapter,
)


SOON = 5.0  # seconds in which what is prompt has happened, however busy the machine
VENDORS = ("openai", "anthropic", "ollama")
each_vendor = pytest.mark.parametrize("vendor", VENDORS)


def body_of(wire, vendor, text="Hello there"):
    """A whole stream of a vendor's, not chunked."""
    _, _, rest = wire.whole(vendor, text).partition(b"\r\n\r\n")
    out = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        out, rest = out + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return out


def kind_of(vendor):
    return "application/x-ndjson" if vendor == "ollama" else "text/event-stream"


@each_vendor
@pytest.mark.parametrize("size", [1, 10**6], ids=["bytes", "one packet"])
def test_what_comes_after_the_end_is_not_of_the_reply(
    serve, connect, wire, vendor, size
):
    more = wire.part(vendor, "MORE")
    body = body_of(wire, vendor) + more

    def answer(conn, request):
        conn.sendall(wire.head(kind_of(vendor)))
        for at in range(0, len(body), size):
            conn.sendall(wire.chunk(body[at : at + size]))
        conn.recv(1)  # and the stream stays open

    reply = connect(serve(answer), vendor, timeout=SOON).generate("hi")
    assert reply == "Hello there"
    assert not reply.partial
    assert reply.usage.output_tokens == 2


@each_vendor
@pytest.mark.parametrize("how", ["reset", "silence", "truncated"])
def test_a_connection_lost_after_the_models_last_word_loses_nothing(
    serve, connect, wire, vendor, how
):
    body = body_of(wire, vendor)
    last = {"openai": b"data: [DONE]", "anthropic": b'data: {"type": "message_stop"}'}
    body = body.partition(last.get(vendor, b"\0"))[0]

    def answer(conn, request):
        conn.sendall(wire.head(kind_of(vendor)) + wire.chunk(body))
        if how == "silence":
            conn.recv(1)
        if how == "truncated":
            conn.sendall(b"ff\r\n: keep")
        raise OSError("gone")

    reply = connect(serve(answer), vendor, timeout=0.2).generate("hi")
    assert reply == "Hello there"
    assert not reply.partial
    assert len(reply.attempts) == 1


@each_vendor
@pytest.mark.parametrize(
    "kind",
    ["text/event-stream", "application/json", "text/plain", "application/x-ndjson", ""],
)
def test_a_wrong_content_type_changes_nothing(serve, connect, wire, vendor, kind):
    server = serve(wire.http(200, body_of(wire, vendor), kind, size=7))
    assert connect(server, vendor).generate("hi") == "Hello there"


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "application/json", "text/plain"]
)
def test_a_whole_completion_with_blank_lines_is_read(serve, connect, wire, kind):
    whole = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    text = json.dumps(whole, indent=1).replace("\n", "\n\n").encode()
    reply = connect(serve(wire.http(200, text, kind, size=9))).generate("hi")
    assert (reply, reply.stop_reason) == ("Hi", "end")


@pytest.mark.parametrize("early", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_an_answer_before_the_answer_is_passed_over(serve, connect, wire, early):
    first = f"HTTP/1.1 {early}\r\nlink: </a>\r\n\r\n".encode()

    def answer(conn, request):
        conn.sendall(first)
        threading.Event().wait(0.05)
        conn.sendall(first + wire.whole("openai"))

    server = serve(answer)
    model = connect(server, attempts=1)
    assert model.generate("hi") == model.generate("hi") == "Hello there"
    assert server.connections == 1


async def test_an_early_answer_alone_keeps_no_other_call_waiting(serve, connect, wire):
    count, all_in = 16, threading.Event()

    def early(conn, request):
        if len(server.requests) == count:
            all_in.set()
        wire.stall(b"HTTP/1.1 100 Continue\r\n\r\n")(conn, request)

    server = serve(*[early] * count, wire.whole("openai"))
    model = connect(server)
    tasks = [asyncio.create_task(model.agenerate("hi")) for _ in range(count)]
    assert await asyncio.to_thread(all_in.wait, SOON)
    async with asyncio.timeout(SOON):
        assert await model.agenerate("hi") == "Hello there"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(serve, connect, wire, status):
    other = serve(wire.whole("openai"))
    server = serve(wire.http(status, b"", location=f"{other.url}/v1?key=secret"))
    with pytest.raises(ModelRefused) as caught:
        connect(server, api_key="sk-secret").generate("hi")
    assert caught.value.status == status
    assert other.requests == []
    assert "secret" not in f"{caught.value} {caught.value.body}"


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(20):
        yield packer.compress(data)
    yield packer.flush()


@pytest.mark.parametrize("size", [1, 5, 10**6])
def test_an_answer_packed_without_being_asked_is_unpacked(serve, connect, wire, size):
    packed = gzip.compress(body_of(wire, "openai"))
    server = serve(wire.http(200, packed, size=size, content_encoding="gzip"))
    assert connect(server).generate("hi") == "Hello there"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-none"])
def test_an_answer_in_a_packing_that_cannot_be_read_is_a_documented_error(
    serve, connect, wire, encoding
):
    body = b"\x1b\x02\x00\xf8" * 100
    server = serve(wire.http(200, body, size=50, content_encoding=encoding))
    with pytest.raises((BadReply, ModelUnavailable)):
        connect(server, attempts=1).generate("hi")


def test_a_packed_bomb_is_an_error_and_not_in_memory(serve, connect, wire):
    bomb = b"".join(deflated(b"data: " + b"a" * 2**20))
    server = serve(wire.http(200, bomb, size=2**16, content_encoding="gzip"))
    with pytest.raises(BadReply, match="more than"):
        connect(server, attempts=1).generate("hi")


def test_trailers_after_a_chunked_answer_are_passed_over(serve, connect, wire):
    ended = wire.whole("openai")
    assert ended.endswith(b"0\r\n\r\n")
    server = serve(ended[:-2] + b"x-sum: 1\r\nx-more: 2\r\n\r\n")
    model = connect(server)
    assert model.generate("hi") == model.generate("hi") == "Hello there"
    assert server.connections == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 2000000000000000000000 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"\x00\xff\xfe\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: -7\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nabc",
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 No\r\nretry-after: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switch\r\nupgrade: h2c\r\n\r\n",
    ],
    ids=range(13),
)
@pytest.mark.parametrize("door", ["sync", "async"])
def test_an_impossible_head_is_a_documented_error(serve, connect, head, door):
    def answer(conn, request):
        conn.sendall(head)
        raise OSError("gone")

    model = connect(serve(answer), attempts=2)
    call = {
        "sync": lambda: model.generate("hi"),
        "async": lambda: asyncio.run(model.agenerate("hi")),
    }[door]
    with pytest.raises(AdapterError) as caught:
        call()
    assert caught.value.provider == "openai"
    assert caught.value.attempts


def test_thinking_without_end_is_bounded_too(serve, connect, wire):
    event = wire.sse({"choices": [{"delta": {"reasoning_content": "a" * 2_000_000}}]})
    server = serve(wire.http(200, event * 20, size=2**20))
    with pytest.raises(BadReply, match="more than"):
        connect(server).generate("hi")


def test_long_thinking_takes_time_in_proportion(serve, connect, wire):
    count = 20_000
    events = wire.sse(
        *[{"choices": [{"delta": {"reasoning_content": "ab " * 10}}]}] * count
    )
    end = wire.sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}, "[DONE]")
    server = serve(wire.http(200, events + end, size=2**16))
    reply = connect(server).generate("hi")
    assert len(reply.message["reasoning_content"]) == 30 * count


def test_a_large_request_to_a_slow_reader_is_not_cut_off(connect, wire):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def read_slowly():
        conn, _ = listener.accept()
        with conn:
            head = conn.recv(2048)
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            left = size - len(head.partition(b"\r\n\r\n")[2])
            while left > 0:
                left -= len(conn.recv(131072))
                threading.Event().wait(0.01)
            conn.sendall(wire.whole("openai"))
            conn.recv(1)

    thread = threading.Thread(target=read_slowly, daemon=True)
    thread.start()
    with listener:
        model = OpenAIAdapter(
            "m",
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            timeout=0.5,
            attempts=1,
        )
        with model:
            assert model.generate("a" * 20_000_000) == "Hello there"
    thread.join(SOON)


def test_a_closed_loop_is_forgotten(serve, connect, wire):
    model = connect(serve(wire.whole("openai")))
    loops = []

    async def call():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await model.agenerate("hi")

    for _ in range(3):
        asyncio.run(call())
    gc.collect()
    assert [loop() for loop in loops[:-1]] == [None, None]


def test_a_stream_that_nobody_holds_ends_the_servers_work(serve, connect, wire):
    first = wire.head() + wire.chunk(wire.part("openai", "Once"))
    server = serve(wire.stall(first))
    stream = connect(server).stream("hi")
    assert next(stream) == "Once"
    del stream
    gc.collect()
    assert server.ended.wait(SOON)


@each_vendor
@pytest.mark.parametrize("name", ["model", "messages", "stream"])
def test_an_option_that_is_the_adapters_own_is_refused(serve, connect, vendor, name):
    model = connect(serve(b""), vendor)
    with pytest.raises(ValueError, match=f"{name} is no option of a call"):
        model.generate("hi", **{name: False})


def test_a_vendors_option_joins_what_is_asked_for_by_us(serve, connect, wire):
    server = serve(wire.whole("openai"))
    connect(server).generate("hi", stream_options={"include_obfuscation": False})
    asked = server.requests[0].json["stream_options"]
    assert asked == {"include_usage": True, "include_obfuscation": False}
    server = serve(wire.whole("anthropic"))
    schema = {"type": "object"}
    connect(server, "anthropic").generate(
        "hi", output_schema=schema, output_config={"effort": "low"}
    )
    assert server.requests[0].json["output_config"] == {
        "format": {"type": "json_schema", "schema": schema},
        "effort": "low",
    }


def test_a_query_in_a_base_url_is_refused_and_not_shown(serve, connect):
    model = connect(serve(b""), base_url="http://127.0.0.1:9/v1?key=sk-secret#x")
    with pytest.raises(ModelUnavailable, match="query") as caught:
        model.generate("hi")
    assert "sk-secret" not in f"{caught.value!r} {caught.value} {model!r}"


@pytest.mark.parametrize("kind", [OpenAIAdapter, AnthropicAdapter, OllamaAdapter])
def test_an_adapter_that_has_called_can_be_copied_and_pickled(serve, wire, kind):
    vendor = kind.__name__.removesuffix("Adapter").lower()
    server = serve(wire.whole(vendor))
    url = server.url + ("/v1" if vendor == "openai" else "")
    with kind("m", base_url=url, api_key="sk-secret") as model:
        assert model.generate("hi") == "Hello there"
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            with twin:
                assert twin.generate("hi") == "Hello there"
            assert twin.model == "m"


def test_a_tool_that_is_called_with_nothing_gets_no_arguments(serve, connect, wire):
    deltas = [
        {
            "tool_calls": [
                {"index": n, "id": n, "function": {"name": "f", "arguments": a}}
            ]
        }
        for n, a in enumerate(["null", "", "{}", " null "])
    ]
    server = serve(wire.http(200, wire.chat(*deltas, stop="tool_calls")))
    reply = connect(server).generate("hi")
    assert [call.arguments for call in reply.tool_calls] == [{}] * 4
    assert all(isinstance(call.id, str) for call in reply.tool_calls)


def test_the_input_of_a_block_of_another_kind_is_kept(serve, connect, wire):
    start = {"type": "mcp_tool_use", "id": "a", "name": "f", "input": {}, "server": "s"}
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "input_json_delta", "partial_json": '{"q":'}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "input_json_delta", "partial_json": " 1}"}},
        {"type": "content_block_start", "index": 1,
         "content_block": {"type": "odd", "kept": [1]}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
         "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]  # fmt: skip
    server = serve(wire.http(200, wire.sse(*events)))
    model = connect(server, "anthropic")
    reply = model.generate("hi")
    assert reply.tool_calls == ()
    content = [{**start, "input": {"q": 1}}, {"type": "odd", "kept": [1]}]
    assert reply.message["content"] == content
    model.generate(
        [
            {"role": "user", "content": "hi"},
            reply.message,
            {"role": "user", "content": "on"},
        ]
    )
    assert server.requests[1].json["messages"][1]["content"] == content


_EXIT = """
import asyncio, sys, threading
from waybell_adapters import OpenAIAdapter
model = OpenAIAdapter("m", base_url=sys.argv[1])
if sys.argv[2] == "thread":
    threading.Thread(target=model.generate, args=("hi",), daemon=True).start()
    stream = model.stream("hi")
    next(stream)
else:
    async def main():
        task = asyncio.create_task(model.agenerate("hi"))
        stream = await model.astream("hi")
        await anext(stream)
    asyncio.run(main())
print("over")
"""


@pytest.mark.parametrize("way", ["thread", "loop"])
def test_a_program_ends_with_calls_in_flight(serve, wire, way):
    first = wire.head() + wire.chunk(wire.part("openai", "Once"))
    server = serve(wire.stall(first))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _EXIT, f"{server.url}/v1", way],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


def test_a_failed_call_has_no_secret_in_its_chain(serve, connect, caplog):
    key = "sk-very-secret"

    def answer(conn, request):
        raise OSError("gone")

    caplog.set_level(0)
    model = connect(serve(answer), api_key=key, attempts=2)
    with pytest.raises(ModelUnavailable) as caught:
        model.generate("hi")
    chain, error = [], caught.value
    while error is not None:
        chain.append(f"{error!r} {error} {vars(error)}")
        error = error.__cause__ or error.__context__
    assert key not in "".join(chain) + caplog.text + repr(model)


async def test_a_second_task_that_reads_a_stream_is_told_so(serve, connect, wire):
    first = wire.head() + wire.chunk(wire.part("openai", "Once"))
    async with await connect(serve(wire.stall(first))).astream("hi") as stream:
        assert await anext(stream) == "Once"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(stream)
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting
    assert stream.reply == "Once"


def test_a_stream_goes_on_in_another_loop(serve, connect, wire):
    more = threading.Event()

    def answer(conn, request):
        conn.sendall(wire.head() + wire.chunk(wire.part("openai", "Once")))
        more.wait(SOON)
        conn.sendall(wire.chunk(wire.chat(" more")) + b"0\r\n\r\n")

    async def begin():
        stream = await connect(serve(answer)).astream("hi")
        return stream, await anext(stream)

    async def go_on():
        later = asyncio.get_running_loop().call_later(0.05, more.set)
        async with asyncio.timeout(SOON), stream:
            return [piece async for piece in stream], later

    stream, piece = asyncio.run(begin())
    assert piece == "Once"
    assert asyncio.run(go_on())[0] == [" more"]


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_pause_between_attempts_can_be_ended(serve, connect, wire, how):
    server = serve(wire.http(503, b"later", retry_after="30"))
    model = connect(server)
    task = asyncio.create_task(model.agenerate("hi"))
    await asyncio.to_thread(server.got.wait, SOON)
    await asyncio.sleep(0.05)
    if how == "cancel":
        task.cancel()
    else:
        await asyncio.to_thread(model.close)
    done, _ = await asyncio.wait({task}, timeout=SOON)
    assert done == {task}
    assert task.cancelled() or isinstance(task.exception(), ModelUnavailable)
    assert len(server.requests) == 1


async def test_closing_ends_the_calls_that_wait_for_their_turn_too(
    serve, connect, wire
):
    server = serve(wire.stall(b""))
    model = connect(server, connections=2)
    tasks = {asyncio.create_task(model.agenerate("hi")) for _ in range(20)}
    await asyncio.to_thread(server.got.wait, SOON)
    await asyncio.to_thread(model.close)
    done, _ = await asyncio.wait(tasks, timeout=SOON)
    assert done == tasks
    assert {type(task.exception()) for task in tasks} == {ModelUnavailable}
    assert len(server.requests) <= 2


def test_threads_share_an_adapter(serve, connect, wire, spies):
    server, budget = serve(wire.whole("openai")), spies.Budget()
    model, said = connect(server), []

    def work():
        said.extend(model.generate("hi", budget=budget) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["Hello there"] * 320
    assert len(budget.charged) == len(server.requests) == 320
    assert server.connections <= 16


_INTERRUPT = """
import os, signal, sys, threading
from waybell_adapters import OpenAIAdapter
model = OpenAIAdapter("m", base_url=sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)
stream = model.stream("hi")
try:
    for piece in stream:  # of which there is one
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
except KeyboardInterrupt:
    print("interrupted", repr(stream.reply.text), stream.reply.partial)
sys.stdin.read()
"""


def test_an_interrupt_ends_the_servers_work(serve, wire):
    first = wire.head() + wire.chunk(wire.part("openai", "Once"))
    server = serve(wire.stall(first))
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPT, f"{server.url}/v1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.ended.wait(60)  # while the program still runs
    out, _ = process.communicate("", timeout=60)
    assert out == "interrupted 'Once' True\n"


@each_vendor
def test_a_server_that_tells_the_key_is_not_repeated(serve, connect, wire, vendor):
    key = "sk-0123456789"
    said = {"error": {"message": f"bad key {key}", "type": key, "code": f"x{key}"}}
    model = connect(serve(wire.http(401, said, x_request_id=key)), vendor, api_key=key)
    with pytest.raises(ModelRefused) as caught:
        model.generate("hi")
    error = caught.value
    assert key not in f"{error} {error!r} {vars(error)} {error.to_dict()}"


def test_the_older_form_of_a_call_is_read(serve, connect, wire):
    deltas = [
        {"function_call": {"name": "f", "arguments": '{"a":'}},
        {"function_call": {"arguments": " 1}"}},
    ]
    server = serve(wire.http(200, wire.chat(*deltas, stop="function_call")))
    reply = connect(server).generate("hi")
    assert [(c.name, c.arguments) for c in reply.tool_calls] == [("f", {"a": 1})]
    assert reply.stop_reason == "tool_use"


def test_what_stands_beside_a_call_goes_back_with_it(serve, connect, wire):
    function = {"name": "f", "arguments": "{}"}
    signed = {
        "index": 0,
        "id": "a",
        "function": function,
        "extra_content": {"sig": "s"},
    }
    answer = wire.http(200, wire.chat({"tool_calls": [signed]}, stop="tool_calls"))
    server = serve(answer, wire.whole("openai"))
    model = connect(server)
    reply = model.generate("hi")
    result = {"role": "tool", "tool_call_id": "a", "content": "1"}
    model.generate([{"role": "user", "content": "hi"}, reply.message, result])
    [sent] = server.requests[1].json["messages"][1]["tool_calls"]
    assert sent["extra_content"] == {"sig": "s"}


def test_a_call_of_no_tool_is_a_bad_reply_that_is_paid(serve, connect, wire, spies):
    deltas = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]}
    ]
    budget = spies.Budget()
    server = serve(wire.http(200, wire.chat(*deltas, stop="tool_calls")))
    with pytest.raises(BadReply, match="names no tool") as caught:
        connect(server).generate("hi", budget=budget)
    assert (
        len(caught.value.attempts) == len(server.requests) == len(budget.charged) == 1
    )


@each_vendor
def test_a_picture_of_nothing_is_refused_before_anything_is_sent(
    serve, connect, wire, vendor
):
    server = serve(wire.whole(vendor))
    said = [{"role": "user", "content": [{"type": "image", "source": {}}]}]
    with pytest.raises(ValueError, match="needs a source") as caught:
        connect(server, vendor).generate(said)
    assert server.requests == []
    assert not isinstance(caught.value, AdapterError)
