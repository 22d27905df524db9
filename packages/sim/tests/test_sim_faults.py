"""Faults happen at the rates asked for, are counted, and are part of the seed."""

import asyncio
import copy
import random
from collections import Counter
from typing import Protocol, runtime_checkable

import pytest

from waybell_sim import (
    Faults,
    InjectedCut,
    InjectedRateLimit,
    InjectedTimeout,
    SimulationFailed,
    simulate,
)


async def answer(text="a fine answer"):
    return text


def outcomes(faults, call, seeds=60, **settings):
    """Count what a wrapped call comes to, over many seeds."""
    seen = Counter()

    async def main():
        try:
            seen[await asyncio.wait_for(faults.wrap(call)(), 100)] += 1
        except (Exception, asyncio.CancelledError) as error:
            seen[type(error)] += 1
            if isinstance(error, asyncio.CancelledError):
                asyncio.current_task().uncancel()

    simulate(main, seeds=range(seeds), **settings)
    return seen


def test_without_rates_only_time_passes():
    faults = Faults()
    assert outcomes(faults, answer) == {"a fine answer": 60}
    assert set(faults.injected) == {"delay"}
    assert faults.injected["delay"] > 0


def test_without_delays_not_even_that():
    async def main():
        await Faults(delays=()).wrap(answer)()
        assert asyncio.get_running_loop().time() == 0

    simulate(main, seeds=10)


@pytest.mark.parametrize(
    ("kind", "error", "builtin"),
    [
        ("timeout", InjectedTimeout, TimeoutError),
        ("rate_limit", InjectedRateLimit, ConnectionError),
        ("cut", InjectedCut, ConnectionError),
        ("cancel", asyncio.CancelledError, BaseException),
    ],
)
def test_a_fault_is_raised_and_counted(kind, error, builtin):
    faults = Faults(**{kind: 1.0})
    assert outcomes(faults, answer) == {error: 60}
    assert faults.injected[kind] == 60
    assert issubclass(error, builtin)


def test_a_hang_lasts_until_the_caller_gives_up():
    faults = Faults(hang=1.0)
    assert outcomes(faults, answer) == {TimeoutError: 60}
    assert faults.injected["hang"] == 60


def test_a_hang_nobody_bounds_is_a_deadlock():
    with pytest.raises(SimulationFailed, match="nothing is ready"):
        simulate(Faults(hang=1.0).wrap(answer), seeds=1)


def test_a_rate_limit_says_when_to_come_back():
    async def main():
        with pytest.raises(InjectedRateLimit, match="429") as limit:
            await Faults(rate_limit=1.0, retry_after=7.5).wrap(answer)()
        assert (limit.value.status, limit.value.retry_after) == (429, 7.5)

    simulate(main, seeds=1)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("timeout", {True, False}),
        ("hang", {True, False}),
        ("cancel", {True, False}),
        ("rate_limit", {False}),
        ("cut", {True}),
        ("wrong", {True}),
    ],
)
def test_the_call_may_or_may_not_have_been_made(kind, made):
    seen = set()

    async def main():
        calls = []

        async def call():
            calls.append(1)

        try:
            await asyncio.wait_for(Faults(**{kind: 1.0}).wrap(call)(), 60)
        except (OSError, asyncio.CancelledError):
            asyncio.current_task().uncancel()
        seen.add(bool(calls))

    simulate(main, seeds=30)
    assert seen == made


def test_rates_are_kept_to():
    faults = Faults(timeout=0.2, rate_limit=0.3)
    seen = outcomes(faults, answer, seeds=2000)
    assert 300 < seen[InjectedTimeout] < 500
    assert 500 < seen[InjectedRateLimit] < 700


def test_wrong_answers_are_wrong():
    faults = Faults(wrong=1.0)
    seen = outcomes(faults, answer)
    assert "a fine answer" not in seen
    assert len(seen) == 2  # halved, or garbled
    assert faults.injected["wrong"] == 60


@pytest.mark.parametrize(
    ("right", "wrong"),
    [([1, 2, 3, 4], [1, 2]), ((1, 2), (1,)), (b"data", b"da"), (5, None)],
    ids=["list", "tuple", "bytes", "int"],
)
def test_wrong_answers_that_are_no_text(right, wrong):
    assert Faults(wrong=1.0, seed=1).wrap(lambda: right)() == wrong


def test_a_wrong_reply_is_still_a_reply():
    class Reply(str):
        __slots__ = ("__dict__", "usage")

    def call():
        reply = Reply("a fine answer")
        reply.usage = 5
        reply.model = "m"
        return reply

    wrong = Faults(wrong=1.0, seed=1).wrap(call)()
    assert type(wrong) is Reply
    assert wrong != "a fine answer"
    assert (wrong.usage, wrong.model) == (5, "m")


def test_the_wrong_answer_can_be_chosen():
    faults = Faults(wrong=1.0, seed=1, corrupt=lambda right, rng: (right, type(rng)))
    assert faults.wrap(lambda: 5)() == (5, random.Random)


def test_a_sync_callable_cannot_wait():
    def call():
        return "fine"

    for kind, error in (("hang", InjectedTimeout), ("timeout", InjectedTimeout)):
        faults = Faults(**{kind: 1.0}, seed=1)
        with pytest.raises(error):
            faults.wrap(call)()
        assert faults.injected == {kind: 1}
    faults = Faults(cancel=1.0, seed=1)
    assert faults.wrap(call)() == "fine"
    assert not faults.injected


def test_a_callable_object_and_a_lambda_that_returns_a_coroutine_are_async():
    class Call:
        async def __call__(self):
            return "fine"

    async def main():
        assert await faults.wrap(Call())() == "fine"
        with pytest.raises(InjectedCut):
            await cut.wrap(lambda: answer("lost"))()

    faults, cut = Faults(), Faults(cut=1.0)
    simulate(main, seeds=20)
    assert faults.injected["delay"] > 0


def test_a_wrapped_function_keeps_its_name():
    assert Faults().wrap(answer).__name__ == "answer"


class Stream:
    """A stream as adapters have it."""

    def __init__(self):
        self.chunks = iter("abcde")
        self.closed = 0

    reply = "abcde"

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.chunks)
        except StopIteration:
            raise StopAsyncIteration from None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed += 1

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        self.closed += 1


async def drain(stream, into):
    """Keep what came before an error, too."""
    async for chunk in stream:
        into.append(chunk)


class WholeStream(Stream):
    """A stream that can be read in one call, as replies can."""

    def read(self):
        return "".join(self)

    async def aread(self):
        return "".join([chunk async for chunk in self])


class Adapter:
    """An adapter as Faults sees one."""

    model = "m"

    def generate(self, prompt):
        return prompt.upper()

    async def agenerate(self, prompt):
        return prompt.upper()

    def stream(self, prompt):
        return Stream()

    async def astream(self, prompt):
        return Stream()


@runtime_checkable
class LLMAdapter(Protocol):
    def generate(self, prompt): ...
    def stream(self, prompt): ...


def test_an_adapter_stays_an_adapter():
    async def main():
        adapter = Faults().wrap(Adapter())
        assert isinstance(adapter, LLMAdapter)
        assert adapter.model == "m"
        assert adapter.generate("x") == await adapter.agenerate("x") == "X"
        with adapter.stream("x") as stream:
            assert "".join(stream) == "abcde"
        assert (stream.reply, stream.closed) == ("abcde", 1)
        async with await adapter.astream("x") as stream:
            assert [chunk async for chunk in stream] == list("abcde")
        assert (stream.reply, stream.closed) == ("abcde", 1)

    simulate(main, seeds=20)


def test_a_stream_is_cut_half_way_and_stays_cut():
    ends = Counter()

    async def main():
        adapter = Faults(cut=1.0).wrap(Adapter())
        sync, late = adapter.stream("x"), await adapter.astream("x")
        got = []
        with pytest.raises(InjectedCut):
            got.extend(sync)
        assert list(sync) == []
        with pytest.raises(InjectedCut):
            await drain(late, got)
        assert [chunk async for chunk in late] == []
        ends[len(got)] += 1

    simulate(main, seeds=200)
    assert set(ends) <= {0, 1, 2, 3, 4}
    assert len(ends) > 2


def test_a_stream_shorter_than_its_cut_is_cut_at_its_end():
    async def short():
        yield "a"

    async def main():
        got = []
        with pytest.raises(InjectedCut):
            await drain(Faults(cut=1.0).wrap(short)(), got)
        seen.add(len(got))

    seen = set()
    simulate(main, seeds=50)
    assert seen == {0, 1}


def test_one_chunk_of_a_wrong_stream_is_wrong():
    async def main():
        got = list(faults.wrap(Adapter()).stream("x"))
        assert len(got) == 5
        assert got != list("abcde")
        assert got[3:] == ["d", "e"]
        assert list(faults.wrap(lambda: iter(()))()) == []

    faults = Faults(wrong=1.0)
    simulate(main, seeds=20)
    assert faults.injected["wrong"] == 20


def test_a_stream_may_hang_or_be_cancelled():
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consume(hang=1.0), 100)
        task = asyncio.create_task(consume(cancel=1.0))
        await asyncio.wait([task])
        assert task.cancelled()

    async def consume(**rates):
        await drain(await Faults(**rates).wrap(Adapter()).astream("x"), [])

    simulate(main, seeds=20)


def test_a_stream_that_nobody_awaits_cannot_be_cancelled_and_is_whole():
    async def main():
        faults = Faults(cancel=1.0)
        assert "".join(faults.wrap(Adapter()).stream("x")) == "abcde"
        assert not faults.injected

    simulate(main, seeds=20)


@pytest.mark.parametrize(
    ("kind", "error"), [("cut", InjectedCut), ("timeout", InjectedTimeout)]
)
def test_reading_a_stream_in_one_call_does_not_pass_its_faults_by(kind, error):
    async def main():
        sync = Faults(**{kind: 1.0}).wrap(WholeStream)
        with pytest.raises(error):
            sync().read()
        with pytest.raises(error):
            await sync().aread()
        stream = Faults().wrap(WholeStream)()
        assert (stream.read(), stream.closed) == ("abcde", 1)
        stream = Faults().wrap(WholeStream)()
        assert (await stream.aread(), stream.closed) == ("abcde", 1)

    simulate(main, seeds=20)


def test_what_is_wrapped_can_be_copied():
    adapter = copy.copy(Faults(seed=1).wrap(Adapter()))
    assert (adapter.model, adapter.generate("x")) == ("m", "X")


def test_what_is_neither_callable_nor_adapter_is_refused():
    with pytest.raises(TypeError, match="neither callable nor an adapter"):
        Faults().wrap(5)


@pytest.mark.parametrize(
    "rates",
    [{"timeout": -0.1}, {"cut": 1.1}, {"cut": 0.6, "hang": 0.6}, {"cut": float("nan")}],
    ids=str,
)
def test_impossible_rates_are_refused(rates):
    with pytest.raises(ValueError, match="rates must be 0 to 1"):
        Faults(**rates)


def test_outside_of_a_simulation_a_seed_is_needed():
    with pytest.raises(RuntimeError, match="needs a seed"):
        Faults().wrap(lambda: 5)()

    def draw(seed):
        faults = Faults(wrong=0.5, seed=seed)
        return [faults.wrap(lambda: 5)() for _ in range(20)]

    assert draw(1) == draw(1) != draw(2)


def test_inside_a_simulation_the_run_decides_even_for_faults_with_a_seed():
    faults = Faults(wrong=0.5, seed=1)
    seen = []

    async def main():
        seen.append([await faults.wrap(answer)() for _ in range(20)])

    simulate(main, seeds=[4, 4])
    assert seen[0] == seen[1]


def test_the_run_decides_in_executors_too():
    async def main():
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, Faults().wrap(lambda: 5))

    simulate(main, seeds=1)
