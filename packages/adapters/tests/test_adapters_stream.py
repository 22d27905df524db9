import asyncio
import threading
from decimal import Decimal

import pytest

from waybell_adapters import (
    AdapterError,
    Reply,
    ReplyStream,
    ScriptedAdapter,
    Usage,
    agenerate,
    astream,
)


class Source:
    """Pieces that note when they are closed."""

    def __init__(self, *pieces):
        self.pieces = iter(pieces)
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self):
        self.closed += 1


def test_a_stream_read_to_its_end_has_the_reply():
    with ReplyStream(["a", "b"]) as stream:
        with pytest.raises(RuntimeError, match="no reply yet"):
            _ = stream.reply
        assert list(stream) == ["a", "b"]
    assert stream.reply == "ab"
    assert not stream.reply.partial
    assert list(stream) == []


def test_leaving_early_closes_the_source_and_keeps_what_came(spies):
    source, budget, shut = Source("a", "b", "c"), spies.Budget(), []
    stream = ReplyStream(source, budget=budget, shut=lambda: shut.append(1))
    with stream:
        assert next(stream) == "a"
    stream.close()
    assert (source.closed, shut, len(budget.charged)) == (1, [1], 1)
    assert stream.reply == "a"
    assert stream.reply.partial
    assert stream.reply.usage.estimated
    assert list(stream) == []


def test_a_known_reply_left_early_keeps_its_input_and_loses_its_price():
    whole = Reply("one two three", usage=Usage(7, 3), cost="0.5", model="m")
    with ReplyStream.of(whole) as stream:
        next(stream)
    cut = stream.reply
    assert (cut, cut.partial, cut.cost, cut.model) == ("one", True, None, "m")
    assert cut.usage == Usage(7, 1, estimated=True)
    assert ReplyStream.of(whole).read() is whole
    with ReplyStream.of(Reply("a b", cost=0)) as stream:
        pass
    assert stream.reply.cost == Decimal(0)


def test_a_source_that_fails_leaves_the_part_on_the_error(spies):
    source, budget = Source("a", AdapterError("gone")), spies.Budget()
    stream = ReplyStream(source, budget=budget)
    with pytest.raises(AdapterError) as caught, stream:
        list(stream)
    assert caught.value.reply == "a"
    assert caught.value.reply.partial
    assert (source.closed, len(budget.charged)) == (1, 1)


def test_the_first_error_is_told_when_settling_fails_too(spies):
    stream = ReplyStream(Source("a", ValueError("first")), budget=spies.Budget(0))
    with pytest.raises(ValueError, match="first") as caught:
        list(stream)
    assert "Overspent" in caught.value.__notes__[0]
    stream = ReplyStream(["a b", "c"], budget=spies.Budget(0))
    next(stream)
    with pytest.raises(KeyError) as left, stream:
        raise KeyError("mine")
    assert "Overspent" in left.value.__notes__[0]


def test_an_overspent_budget_carries_the_reply_that_was_paid(spies):
    stream = ReplyStream(["a", "b"], budget=spies.Budget(0))
    with pytest.raises(spies.Overspent) as caught:
        stream.read()
    assert caught.value.reply == "ab"
    assert stream.reply == "ab"


def test_a_deadline_is_asked_before_each_piece(spies):
    stream = ReplyStream(["a", "b", "c"], deadline=spies.Deadline(2))
    with pytest.raises(TimeoutError, match="deadline"), stream:
        list(stream)
    assert stream.reply == "ab"
    assert stream.reply.partial


async def test_a_blocking_source_is_read_in_a_thread():
    here = threading.get_ident()

    def source():
        for _ in range(2):
            yield "elsewhere " if threading.get_ident() != here else "here "

    assert await ReplyStream(source()).aread() == "elsewhere elsewhere "
    assert await ReplyStream(source(), blocking=False).aread() == "here here "


async def test_cancelling_shuts_a_source_that_blocks():
    blocked, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def source():
        try:
            yield "a"
            blocked.set()
            gate.wait(30)
            raise OSError("socket shut")
        finally:
            ended.set()

    stream = ReplyStream(source(), shut=gate.set)

    async def read():
        async with stream:
            async for _ in stream:
                pass

    task = asyncio.create_task(read())
    await asyncio.to_thread(blocked.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(ended.wait, 30)
    assert stream.reply == "a"
    assert stream.reply.partial


async def test_a_piece_that_comes_after_the_end_is_dropped_and_its_source_closed():
    blocked, gate, closed = threading.Event(), threading.Event(), threading.Event()

    class Late(Source):
        def __next__(self):
            blocked.set()
            gate.wait(30)
            return "late"

        def close(self):
            closed.set()

    stream = ReplyStream(Late())
    step = asyncio.create_task(asyncio.to_thread(lambda: list(stream)))
    await asyncio.to_thread(blocked.wait, 30)
    await stream.aclose()
    gate.set()
    assert await step == []
    assert closed.is_set()
    assert stream.reply == ""


async def test_an_ended_stream_stays_ended():
    async with ReplyStream.of(Reply("a b")) as stream:
        assert [piece async for piece in stream] == ["a", " b"]
    assert [piece async for piece in stream] == []
    assert stream.reply == "a b"


async def test_a_deadline_bounds_the_wait_for_a_blocked_piece(spies):
    gate = threading.Event()

    def source():
        gate.wait(30)
        yield "late"

    class Soon(spies.Deadline):
        def timeout(self, cap=None):
            return 0.0

    stream = ReplyStream(source(), shut=gate.set, deadline=Soon(2))
    with pytest.raises(TimeoutError):
        await stream.aread()
    assert stream.reply.partial


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_source_that_fails_because_it_was_closed_is_settled_once(spies, error):
    def source():
        yield "a"
        stream.close()
        raise error

    budget = spies.Budget()
    stream = ReplyStream(source(), budget=budget)
    assert next(stream) == "a"
    try:
        assert list(stream) == []  # an OSError is what closing a socket makes
    except KeyboardInterrupt:
        assert error is KeyboardInterrupt
    assert (stream.reply, len(budget.charged)) == ("a", 1)


class Blocking:
    """An adapter without async methods, whose calls block until the gate opens."""

    def __init__(self):
        self.began, self.gate = threading.Event(), threading.Event()
        self.source = Source("a", "b")
        self.waited_out = False

    def generate(self, prompt, **options):
        return self.stream(prompt).read()

    def stream(self, prompt, **options):
        self.began.set()
        self.waited_out |= not self.gate.wait(10)
        return ReplyStream(self.source)


def test_a_call_left_behind_holds_up_neither_the_loop_nor_other_calls(spies, caplog):
    model, before = Blocking(), set(threading.enumerate())

    async def main():
        for _ in range(40):  # more than the loop's own pool has threads
            with pytest.raises(TimeoutError):
                await agenerate(model, "x", deadline=spies.Deadline(0))
        late = asyncio.create_task(agenerate(model, "x"))
        await asyncio.to_thread(model.began.wait, 30)
        late.cancel()

    asyncio.run(main())  # which would wait for threads of its own
    assert not model.waited_out
    model.gate.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert not caplog.text, "nothing is told to a loop that has closed"


async def test_a_stream_that_opens_when_nobody_waits_any_more_is_closed():
    model = Blocking()
    task = asyncio.create_task(astream(model, "x"))
    await asyncio.to_thread(model.began.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    closed = threading.Event()
    model.source.close = closed.set
    model.gate.set()
    assert await asyncio.to_thread(closed.wait, 30)


async def test_a_model_that_raises_stop_iteration_does_not_hang_its_caller():
    class Exhausted(Blocking):
        def generate(self, prompt, **options):
            return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        async with asyncio.timeout(30):
            await agenerate(Exhausted(), "x")


def test_settling_happens_once_between_threads():
    model = ScriptedAdapter(["a b c d"] * 50)
    for _ in range(50):
        stream = model.stream("x")
        next(stream)
        others = [threading.Thread(target=stream.close) for _ in range(2)]
        for other in others:
            other.start()
        list(stream)
        for other in others:
            other.join()
        assert stream.reply
