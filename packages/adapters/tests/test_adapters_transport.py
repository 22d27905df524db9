import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from waybell_adapters import ModelUnavailable, agenerate, astream


FILES = Path("/proc/self/fd")
VENDORS = ("openai", "anthropic", "ollama")
SOON = 5.0  # seconds in which what is prompt has happened, however busy the machine


class DeadlineExceeded(TimeoutError):
    """What a deadline raises."""


class Deadline:
    """The methods of one that this package uses, in real time."""

    def __init__(self, seconds):
        self.ends = time.monotonic() + seconds

    def check(self):
        if time.monotonic() >= self.ends:
            raise DeadlineExceeded

    def timeout(self, cap=None):
        self.check()
        left = self.ends - time.monotonic()
        return left if cap is None else min(left, cap)


def head_of(wire, vendor):
    return wire.head(
        "application/x-ndjson" if vendor == "ollama" else "text/event-stream"
    )


def begun(wire, vendor):
    """The first piece of an answer that never goes on."""
    return wire.stall(head_of(wire, vendor) + wire.chunk(wire.part(vendor, "Once")))


@pytest.mark.parametrize("vendor", VENDORS)
def test_leaving_a_stream_ends_the_servers_work(serve, connect, wire, spies, vendor):
    server, budget = serve(begun(wire, vendor)), spies.Budget()
    with connect(server, vendor).stream("one two", budget=budget) as stream:
        assert next(stream) == "Once"
        assert not server.ended.is_set()
    assert server.ended.wait(SOON)
    reply = stream.reply
    assert (reply, reply.partial, reply.usage.estimated) == ("Once", True, True)
    assert reply.usage.input_tokens in (2, 7)
    assert [c["usage"] for c in budget.charged] == [reply.usage]
    assert reply.attempts[0].error == "cut short"


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("piece", [True, False], ids=["midway", "before the answer"])
async def test_cancelling_the_task_ends_the_servers_work(
    serve, connect, wire, vendor, piece
):
    server = serve(begun(wire, vendor) if piece else wire.stall(b""))
    task = asyncio.create_task(connect(server, vendor).agenerate("hi"))
    await asyncio.to_thread(server.got.wait, SOON)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.ended.wait, SOON)


async def test_cancelling_a_wait_for_a_piece_ends_the_stream(
    serve, connect, wire, spies
):
    server, budget = serve(begun(wire, "openai")), spies.Budget()
    stream = await connect(server).astream("hi", budget=budget)
    assert await anext(stream) == "Once"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.01)
    assert await asyncio.to_thread(server.ended.wait, SOON)
    assert stream.reply == "Once"
    assert len(budget.charged) == 1
    assert [piece async for piece in stream] == []


async def test_leaving_an_async_stream_early_ends_the_servers_work(
    serve, connect, wire
):
    server = serve(begun(wire, "openai"))
    async with await astream(connect(server), "hi") as stream:
        async for piece in stream:
            assert piece == "Once"
            break
    assert stream.reply.partial
    assert await asyncio.to_thread(server.ended.wait, SOON)


def test_another_thread_can_end_a_call(serve, connect, wire):
    server = serve(begun(wire, "openai"))
    stream = connect(server).stream("hi")
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    assert server.got.wait(SOON)
    stream.close()
    reader.join(SOON)
    assert not reader.is_alive()
    assert server.ended.wait(SOON)


def trickle(*first):
    """Send this, then byte after byte of a header or of a body that never ends."""

    def answer(conn, request):
        conn.sendall(b"".join(first))
        while True:
            conn.sendall(b"x" if first[0][-4:] != b"\r\n\r\n" else b"3\r\n:k\n\r\n")
            threading.Event().wait(0.005)

    return answer


STALLS = {
    "no answer": lambda wire: wire.stall(b""),
    "half a head": lambda wire: wire.stall(b"HTTP/1.1 200 OK\r\nx-a: "),
    "a head for ever": lambda wire: trickle(b"HTTP/1.1 200 OK\r\nx-a: "),
    "no piece": lambda wire: wire.stall(wire.head()),
    "keep-alive for ever": lambda wire: trickle(wire.head()),
    "half a chunk": lambda wire: wire.stall(wire.head() + b"ff\r\ndata: {"),
    "one piece": lambda wire: begun(wire, "openai"),
    "an error without its end": lambda wire: wire.stall(
        b"HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n{"
    ),
}


@pytest.mark.parametrize("case", STALLS)
@pytest.mark.parametrize("door", ["sync", "async"])
async def test_a_deadline_ends_every_kind_of_stall(serve, connect, wire, case, door):
    server = serve(STALLS[case](wire))
    model = connect(server)
    began = time.monotonic()
    deadline = Deadline(0.1)
    call = {
        "sync": lambda: asyncio.to_thread(model.generate, "hi", deadline=deadline),
        "async": lambda: model.agenerate("hi", deadline=deadline),
    }[door]
    with pytest.raises(DeadlineExceeded):
        await call()
    assert time.monotonic() - began < SOON
    assert await asyncio.to_thread(server.ended.wait, SOON)
    assert len(server.requests) == 1


async def test_a_timeout_around_a_call_ends_it(serve, connect, wire):
    server = serve(begun(wire, "openai"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect(server).agenerate("hi")
    assert await asyncio.to_thread(server.ended.wait, SOON)


def full_listener():
    """A server whose backlog is full, so that connecting to it never ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    return listener, fillers


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_connecting_can_be_ended(connect, how):
    listener, fillers = full_listener()
    try:

        class At:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        model, began = connect(At), time.monotonic()
        if how == "deadline":
            with pytest.raises(DeadlineExceeded):
                await model.agenerate("hi", deadline=Deadline(0.1))
        else:
            await model._ready()  # so that it is connecting that is cancelled
            task = asyncio.create_task(model.agenerate("hi"))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            engine = next(iter(model._wires.values())).engine
            await asyncio.to_thread(engine.threads.close, SOON)
            assert engine.threads._threads == set()
        assert time.monotonic() - began < SOON
    finally:
        for end in (listener, *fillers):
            end.close()


def test_a_call_over_tls_works_and_keeps_its_connection(
    serve, connect, wire, tls, trusting
):
    server = serve(wire.whole("openai"), wrap=tls)
    model = connect(
        server, session=trusting, base_url=f"https://localhost:{server.port}"
    )
    assert model.generate("hi") == model.generate("hi") == "Hello there"
    assert server.connections == 1


def test_a_certificate_that_is_not_trusted_is_not_tried_twice(
    serve, connect, wire, tls
):
    server = serve(wire.whole("openai"), wrap=tls)
    with pytest.raises(ModelUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        connect(server).generate("hi")
    assert server.connections == 1
    assert server.requests == []


@pytest.mark.parametrize("way", ["direct", "proxy"])
@pytest.mark.parametrize("how", ["leave", "cancel", "deadline"])
async def test_tls_and_a_proxy_change_nothing_about_ending_a_call(
    request, wire, trusting, way, how
):
    seen, proxied = [], way == "proxy"
    names = ("serve", "connect", "tls", "tunnel")
    serve, connect, tls, tunnel = map(request.getfixturevalue, names)
    server = serve(begun(wire, "openai"), wrap=tls)
    with tunnel(seen) as port:
        if proxied:
            trusting.proxies = {"https": f"http://127.0.0.1:{port}"}
            trusting.trust_env = False
        model = connect(server, session=trusting)
        if how == "leave":
            async with await model.astream("hi") as stream:
                assert await anext(stream) == "Once"
        elif how == "cancel":
            task = asyncio.create_task(model.agenerate("hi"))
            await asyncio.to_thread(server.got.wait, SOON)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(DeadlineExceeded):
                await model.agenerate("hi", deadline=Deadline(0.2))
        assert await asyncio.to_thread(server.ended.wait, SOON)
        await asyncio.to_thread(model.close)
    asked = [f"CONNECT 127.0.0.1:{server.port}"] if proxied else []
    assert [said.partition(" HTTP")[0] for said in seen] == asked


@pytest.mark.parametrize("how", ["deadline", "cancel"])
@pytest.mark.parametrize("where", ["server", "proxy"])
async def test_shaking_hands_can_be_ended(serve, connect, trusting, where, how):
    entered, left = threading.Event(), threading.Event()

    def silent(conn):
        entered.set()
        while conn.recv(65536):
            pass
        left.set()
        raise OSError("the client has left")

    server = serve(b"", wrap=silent)
    if where == "proxy":
        trusting.trust_env = False
        trusting.proxies = {"https": f"http://127.0.0.1:{server.port}"}
    model = connect(server, session=trusting)
    if how == "deadline":
        with pytest.raises(DeadlineExceeded):
            await model.agenerate("hi", deadline=Deadline(0.2))
    else:
        task = asyncio.create_task(model.agenerate("hi"))
        await asyncio.to_thread(entered.wait, SOON)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(left.wait, SOON)


def test_a_plain_proxy_is_used(serve, connect, wire):
    import requests

    proxy = serve(wire.whole("openai"))
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"http": f"http://ann:secret-word@127.0.0.1:{proxy.port}"}
    model = connect(proxy, base_url="http://models.invalid/v1", session=session)
    assert model.generate("hi") == "Hello there"
    assert proxy.requests[0].path == "http://models.invalid/v1/chat/completions"
    assert "proxy-authorization" in proxy.requests[0].headers


def ours():
    """The threads that this package has."""
    return [t for t in threading.enumerate() if t.name.startswith("waybell-")]


def descriptors():
    return len(list(FILES.iterdir()))


@pytest.mark.skipif(not FILES.is_dir(), reason="counts through /proc")
@pytest.mark.parametrize("count", [40, 256, pytest.param(1000, marks=pytest.mark.soak)])
async def test_nothing_is_left_behind(serve, connect, wire, count):
    def half(conn, request):
        conn.sendall(wire.head() + wire.chunk(wire.part("openai", "Once")))
        raise OSError("cut")

    whole = wire.whole("openai")
    model = connect(serve(whole), attempts=1)
    await asyncio.gather(*(model.agenerate("hi") for _ in range(8)))
    await asyncio.to_thread(model.close)
    await asyncio.to_thread(lambda: None)
    gc.collect()
    threads, files = len(ours()), descriptors()
    answers = [
        whole,
        half,
        begun(wire, "openai"),
        wire.stall(b""),
        wire.http(500, b"no"),
        trickle(wire.head()),
        wire.head() + b"ff\r\ndata: {",
        wire.http(429, b"later", retry_after="9"),
    ]
    server = serve(*answers * (count // 8))
    model = connect(server, attempts=1)

    async def call():
        async with asyncio.timeout(0.2 + count / 500):
            await model.agenerate("hi")

    await asyncio.gather(*(call() for _ in range(count)), return_exceptions=True)
    assert len(server.requests) > count / 2
    await asyncio.to_thread(model.close)
    await asyncio.to_thread(server.close)
    server.close = lambda: None
    gc.collect()
    assert len(ours()) <= threads
    assert descriptors() <= files


class Watched(asyncio.SelectorEventLoop):
    """A loop that knows the processor time of its own that each of its turns took.

    Whatever is ready waits for the turn to end. Time on the clock would count what the
    server's threads and other programs do here as well.
    """

    def __init__(self):
        super().__init__()
        self.turns = []

    def _run_once(self):
        began = time.thread_time()
        super()._run_once()
        self.turns.append(time.thread_time() - began)


@pytest.mark.soak
@pytest.mark.parametrize("count", [256, 1000])
@pytest.mark.parametrize("door", ["agenerate", "astream"])
def test_many_calls_at_once_all_end_and_never_stall_the_loop(
    serve, connect, wire, count, door
):
    gate, all_in = threading.Event(), threading.Event()

    def together(conn, request):
        if len(server.requests) == count + 1:
            all_in.set()
        gate.wait(30)
        conn.sendall(wire.whole("openai"))

    server = serve(wire.whole("openai"), together)
    model = connect(server, connections=count)

    async def call():
        if door == "agenerate":
            return await model.agenerate("hi")
        async with await model.astream("hi") as stream:
            return "".join([piece async for piece in stream])

    async def main():
        await call()  # which imports what the others need
        tasks = []
        for n in range(count):
            tasks.append(asyncio.create_task(call()))
            if n % 16 == 0:
                await asyncio.sleep(0)  # who starts all in one turn has a long turn
        await asyncio.to_thread(all_in.wait, 30)
        gate.set()
        return await asyncio.gather(*tasks), asyncio.get_running_loop()

    gc.collect()
    gc.disable()  # a collection, of all that the program holds, is no turn of ours
    try:
        with asyncio.Runner(loop_factory=Watched) as runner:
            replies, loop = runner.run(main())
    finally:
        gc.enable()
    assert replies == ["Hello there"] * count
    assert server.connections == count
    assert max(loop.turns) < 0.05


@pytest.mark.soak
def test_large_answers_at_once_leave_the_loop_its_turns(serve, connect, wire):
    event = wire.part("openai", "word " * 40)  # as long as those of servers are
    usage = {"prompt_tokens": 7, "completion_tokens": 80_001}  # else they are counted
    large = wire.http(200, event * 2000 + wire.chat("end", usage=usage))
    small, gate = wire.whole("openai"), threading.Event()

    def together(conn, request):
        gate.wait(30)
        conn.sendall(large if "large" in str(request.json) else small)

    server = serve(small, together)
    model = connect(server, connections=128)

    async def main():
        await model.agenerate("small")
        tasks = []
        for n in range(128):
            prompt = "large" if n % 2 else "small"
            tasks.append(asyncio.create_task(model.agenerate(prompt)))
            if n % 16 == 0:
                await asyncio.sleep(0)
        await asyncio.to_thread(lambda: [gate.wait(0.5), gate.set()])
        return await asyncio.gather(*tasks), asyncio.get_running_loop()

    gc.collect()
    gc.disable()  # as above
    try:
        with asyncio.Runner(loop_factory=Watched) as runner:
            replies, loop = runner.run(main())
    finally:
        gc.enable()
    assert {len(reply) for reply in replies} == {11, 5 * 80_000 + 3}
    assert max(loop.turns) < 0.05


def test_the_first_call_does_not_import_requests_in_the_loop(serve, wire):
    server = serve(wire.whole("openai"))
    code = (
        "import asyncio, sys, threading\n"
        "from waybell_adapters import OpenAIAdapter\n"
        "class Seen:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('requests', 'urllib3'):\n"
        "            where.append(threading.current_thread() is threading.main_thread())\n"
        "where = []\n"
        "sys.meta_path.insert(0, Seen())\n"
        "model = OpenAIAdapter('m', base_url=sys.argv[1])\n"
        "async def main():\n"
        "    said = await asyncio.gather(*(model.agenerate('hi') for _ in range(9)))\n"
        "    print(set(map(str, said)), where)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{server.url}/v1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "{'Hello there'} [False, False]\n"


async def test_slow_answers_keep_no_other_call_waiting(serve, connect, wire):
    count, all_in = 16, threading.Event()

    def slow(conn, request):
        if len(server.requests) == count:
            all_in.set()
        wire.stall(b"HTTP/1.1 200 OK\r\nx-a: ")(conn, request)

    server = serve(*[slow] * count, wire.whole("openai"))
    model = connect(server)
    tasks = [asyncio.create_task(model.agenerate("hi")) for _ in range(count)]
    assert await asyncio.to_thread(all_in.wait, SOON)
    assert await model.agenerate("hi", deadline=Deadline(SOON)) == "Hello there"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_calls_beyond_the_bound_wait_their_turn(serve, connect, wire):
    server = serve(wire.whole("openai"))
    model = connect(server, connections=2)
    replies = await asyncio.gather(*(model.agenerate("hi") for _ in range(20)))
    assert replies == ["Hello there"] * 20
    assert server.connections <= 2


async def test_a_call_that_waits_its_turn_keeps_its_deadline(serve, connect, wire):
    server = serve(begun(wire, "openai"))
    model = connect(server, connections=1)
    first = asyncio.create_task(model.agenerate("hi"))
    await asyncio.to_thread(server.got.wait, SOON)
    with pytest.raises(DeadlineExceeded):
        await model.agenerate("hi", deadline=Deadline(0.05))
    first.cancel()
    await asyncio.wait({first})
    assert len(server.requests) == 1


def test_an_adapter_works_in_loop_after_loop(serve, connect, wire):
    model = connect(serve(wire.whole("openai")))
    for _ in range(3):
        assert asyncio.run(agenerate(model, "hi")) == "Hello there"


def test_an_adapter_works_after_it_was_closed(serve, connect, wire):
    model = connect(serve(wire.whole("openai")))
    with model:
        assert model.generate("hi") == "Hello there"
    assert model.generate("hi") == "Hello there"


async def test_closing_an_adapter_ends_its_calls(serve, connect, wire):
    server = serve(begun(wire, "openai"))
    async with connect(server) as model:
        task = asyncio.create_task(model.agenerate("hi"))
        await asyncio.to_thread(server.got.wait, SOON)
    with pytest.raises(ModelUnavailable, match="ended"):
        await task


def test_a_fork_has_connections_and_threads_of_its_own(serve, connect, wire):
    server = serve(wire.whole("openai"))
    model = connect(server)
    asyncio.run(model.agenerate("hi"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if asyncio.run(model.agenerate("hi")) == "Hello there" else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert model.generate("hi") == "Hello there"
    assert server.connections == 2


def test_context_variables_reach_the_budget(serve, connect, wire, spies):
    from contextvars import ContextVar

    name = ContextVar("name")
    budget = spies.Budget()
    seen = []
    budget.check = lambda **amounts: seen.append(name.get())

    async def call():
        name.set("mine")
        return await connect(serve(wire.whole("openai"))).agenerate("hi", budget=budget)

    asyncio.run(call())
    assert seen == ["mine"]
