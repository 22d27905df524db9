"""Ends that meet: other threads, finalizers, forks and loops of other kinds."""

import asyncio
import gc
import gzip
import os
import select
import socket
import threading
import time

import pytest

from waybell_adapters import AdapterError
from waybell_adapters._line import Line, Turns
from waybell_adapters._threads import Threads


SOON = 5.0


def begun(wire):
    """The first piece of an answer that never goes on."""
    return wire.stall(wire.head() + wire.chunk(wire.part("openai", "Once")))


def engine_of(model):
    return model._wire().engine


def in_time(work):
    """Run it in a thread, as a lock that is never given would stop the tests."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SOON)
    return not thread.is_alive()


def run(door):
    """An async door as a sync one."""
    return lambda prompt: asyncio.run(door(prompt))


def reads(stream):
    """Return when a thread waits for a piece."""
    ends = time.monotonic() + SOON
    while not stream._stepping.locked():
        assert time.monotonic() < ends
        threading.Event().wait(0.001)


class Unwatched(asyncio.SelectorEventLoop):
    """A loop that watches no sockets, as one of Windows."""

    def add_reader(self, *_):
        raise NotImplementedError

    add_writer = add_reader


class Sly(Line):
    """Does something of others while it is looked at, as a finalizer may."""

    __slots__ = ("does",)

    def __init__(self):
        super().__init__()
        self.does = []

    def __hash__(self):
        if self.does:
            self.does.pop()()
        return object.__hash__(self)

    __eq__ = object.__eq__


@pytest.mark.parametrize("when", range(4))
def test_a_turn_that_a_finalizer_gives_up_while_another_asks_for_one_is_not_lost(when):
    turns, first, sly, told = Turns(1), Line(), Sly(), []
    assert turns.enter(first)

    def ask():
        sly.does = [lambda: turns.leave(first), *[lambda: None] * when]
        told.append(turns.enter(sly))
        sly.watch(lambda: told.append(True))
        left = not sly.does
        sly.does.clear()
        if not left:
            turns.leave(first)

    assert in_time(ask)
    assert any(told)
    assert turns.enter(sly)
    assert not turns.enter(Line())


def test_a_turn_that_comes_before_it_is_waited_for_is_not_lost(serve, connect, wire):
    model = connect(serve(wire.whole("openai")), connections=1)
    engine, first = engine_of(model), Line()
    assert engine.turns.enter(first)

    class Late(asyncio.SelectorEventLoop):
        """Gives the turn when the call has looked for it and does not wait yet."""

        def create_future(self):
            if len(engine._lines) and engine.turns._waiting:
                engine.turns.leave(first)
            return super().create_future()

    async def call():
        async with asyncio.timeout(SOON):
            return await model.agenerate("hi")

    with asyncio.Runner(loop_factory=Late) as runner:
        assert runner.run(call()) == "Hello there"


@pytest.mark.parametrize("how", ["close", "call"])
def test_a_stream_that_nobody_holds_is_charged_by_the_next_call_or_the_end(
    request, connect, wire, spies, how
):
    server = request.getfixturevalue("serve")(begun(wire), wire.whole("openai"))
    model, budget = connect(server), spies.Budget()
    stream = model.stream("hi", budget=budget)
    assert next(stream) == "Once"
    del stream
    gc.collect()
    assert budget.charged == []
    if how == "close":
        model.close()
    else:
        model.generate("hi")
    assert len(budget.charged) == 1


# What such a loop has left is garbage in a circle: a socket may be finalised before the
# call that would close it.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("waits", ["turn", "answer"])
def test_a_loop_closed_with_calls_in_flight_keeps_no_other_waiting(
    serve, connect, wire, waits
):
    server = serve(wire.stall(b""), wire.whole("openai"))
    model = connect(server, connections=1)
    loop, tasks = asyncio.new_event_loop(), []

    async def begin():
        tasks.append(asyncio.ensure_future(model.agenerate("hi")))
        if waits == "turn":
            tasks.append(asyncio.ensure_future(model.agenerate("hi")))
        await asyncio.to_thread(server.got.wait, SOON)
        await asyncio.sleep(0.01)

    async def call():
        async with asyncio.timeout(SOON):
            return await model.agenerate("hi")

    loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    tasks.clear()
    assert asyncio.run(call()) == "Hello there"
    gc.collect()
    engine = engine_of(model)
    assert engine._lines == engine.turns._running == set()
    assert server.ended.wait(SOON)


def test_a_line_can_be_shut_by_a_finalizer_that_runs_inside_it():
    line = Line()

    class Slow(socket.socket):
        def settimeout(self, seconds):
            line.shut()

    with Slow() as sock:
        line.hold(sock)
        assert in_time(lambda: line.settimeout(1))
    assert line.cut


def test_a_call_that_is_forgotten_while_it_connects_leaves_no_connection(
    serve, connect, wire
):
    server = serve(wire.whole("openai"))
    engine = engine_of(connect(server))
    exchange = engine.exchange(Line(), None, looped=True)
    wait = next(exchange.send(b"x"))
    exchange.abandon()
    wait.work()
    assert exchange._conn.is_closed
    assert server.connections == 0


def test_a_stream_ended_by_another_thread_is_forgotten_by_its_adapter(
    serve, connect, wire
):
    server = serve(begun(wire))
    model = connect(server)
    stream = model.stream("hi")
    assert next(stream) == "Once"
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    reads(stream)
    stream.close()
    reader.join(SOON)
    assert engine_of(model)._lines == set()


async def test_a_thread_cannot_read_a_stream_that_a_task_waits_for(
    serve, connect, wire
):
    async with await connect(serve(begun(wire))).astream("hi") as stream:
        assert await anext(stream) == "Once"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="waits for a piece"):
            await asyncio.to_thread(next, stream)
        assert not waiting.done()
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_a_task_cannot_wait_for_a_stream_that_a_thread_reads(
    serve, connect, wire
):
    stream = connect(serve(begun(wire))).stream("hi")
    assert next(stream) == "Once"
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    await asyncio.to_thread(reads, stream)
    try:
        with pytest.raises(RuntimeError, match="waits for a piece"):
            await anext(stream)
    finally:
        stream.close()
        reader.join(SOON)


def test_a_child_that_leaves_a_stream_does_not_end_it_for_its_parent(
    serve, connect, wire
):
    more = threading.Event()

    def answer(conn, request):
        conn.sendall(wire.head() + wire.chunk(wire.part("openai", "Once")))
        more.wait(SOON)
        conn.sendall(wire.chunk(wire.chat(" more")) + b"0\r\n\r\n")

    stream = connect(serve(answer)).stream("hi")
    assert next(stream) == "Once"
    child = os.fork()
    if child == 0:
        try:
            stream.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    more.set()
    assert list(stream) == [" more"]


def test_threads_are_all_waited_for_together():
    threads, gate, begun = Threads(100), threading.Event(), threading.Semaphore(0)

    def job():
        begun.release()
        gate.wait(60)

    for _ in range(100):
        threads.submit(job)
    for _ in range(100):
        assert begun.acquire(timeout=60)
    began = time.monotonic()
    threads.close(0.2)
    gate.set()
    assert time.monotonic() - began < SOON


def test_a_thread_that_has_not_started_yet_is_not_waited_for():
    threads = Threads(1)
    assert threads._more() is None
    threads._waiting = 1
    assert not threads._more().is_alive()
    threads.close(60)


def test_a_loop_that_watches_no_sockets_does_all_that_others_do(serve, connect, wire):
    gate = threading.Event()

    def late(conn, request):
        gate.wait(SOON)
        conn.sendall(wire.whole("openai"))

    server = serve(wire.whole("openai"), late, wire.stall(wire.head()))
    model = connect(server)

    async def main():
        assert await model.agenerate("hi") == "Hello there"
        task = asyncio.create_task(model.agenerate("hi " * 10**6))
        await asyncio.sleep(0.05)
        gate.set()
        assert await task == "Hello there"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await model.agenerate("hi")
        assert await asyncio.to_thread(server.ended.wait, SOON)

    with asyncio.Runner(loop_factory=Unwatched) as runner:
        runner.run(main())


@pytest.mark.parametrize("leave", [True, False])
def test_a_reply_that_is_whole_before_its_answer_ends_keeps_or_closes_its_connection(
    serve, connect, wire, leave
):
    def answer(conn, request):
        conn.sendall(wire.head() + wire.chunk(wire.chat("Hi")))
        if leave:
            conn.recv(1)
            raise OSError("the client has left")
        threading.Event().wait(0.02)
        conn.sendall(b"0\r\n\r\n")

    server = serve(answer)
    model = connect(server)

    async def main():
        for _ in range(2):
            async with await model.astream("hi") as stream:
                assert await anext(stream) == "Hi"
                if not leave:
                    assert [piece async for piece in stream] == []
            if leave:
                assert await asyncio.to_thread(server.ended.wait, SOON)

    with asyncio.Runner(loop_factory=Unwatched) as runner:
        runner.run(main())
    assert server.connections == 1 + leave


def test_no_thread_waits_for_a_socket_that_was_closed_meanwhile(serve, connect, wire):
    gate, stranger = threading.Event(), []
    server = serve(wire.whole("openai"), wire.stall(b""))
    model = connect(server, connections=1)
    threads = engine_of(model).threads

    async def main():
        await model.agenerate("hi")
        threads.submit(gate.wait)
        task = asyncio.create_task(model.agenerate("hi"))
        await asyncio.to_thread(lambda: [server.got.wait(SOON), gate.wait(0.05)])
        task.cancel()
        await asyncio.wait({task})
        stranger.extend(socket.socketpair())  # which takes its number

    with asyncio.Runner(loop_factory=Unwatched) as runner:
        runner.run(main())
    gate.set()
    threads.close(SOON)
    for end in stranger:
        end.close()
    assert threads._threads == set()


def test_little_that_stands_for_much_leaves_the_loop_its_turns(serve, connect, wire):
    size = 4 * 1024 * 1024
    packed = gzip.compress(b":\n\n" * (size // 3) + wire.chat("Hi"))
    server = serve(wire.http(200, packed, content_encoding="gzip"))
    stream = connect(server).stream("hi")
    stream._pieces.call.drive(looped=True)
    pauses, answer = 0, None
    while (wait := stream._pieces.advance(answer)) is not None:
        answer = None if wait.work is None else wait.work()
        pauses += wait.kind == "pause"
        if wait.kind == "read":
            select.select([stream._line.fileno()], [], [], SOON)
    assert next(stream) == "Hi"
    assert pauses > size // 65536 - 10


@pytest.mark.parametrize("door", ["sync", "async"])
def test_an_answer_before_all_was_sent_is_read(connect, wire, door):
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        for _ in range(2):
            conn, _ = listener.accept()
            with conn:
                conn.recv(1000)
                conn.sendall(wire.http(413, {"error": {"message": "too large"}}))
            # What was not read makes it a reset.

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()

    class At:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    model = connect(At)
    call = model.generate if door == "sync" else run(model.agenerate)
    with listener:
        for _ in range(2):
            with pytest.raises(AdapterError, match="too large") as caught:
                call("hi" * 10**7)
            assert caught.value.status == 413
    thread.join(SOON)
