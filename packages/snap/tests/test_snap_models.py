"""Models: what is recorded of a call is what a replay gives."""

# What a block complains of at its end is raised around all of it.
# ruff: noqa: PT012, SIM117

import asyncio
import copy
import pickle
from decimal import Decimal
from functools import partial

import pytest

from waybell_adapters import (
    AdapterError,
    ModelUnavailable,
    OfflineAdapter,
    RateLimited,
    Reply,
    ReplyStream,
    ScriptedAdapter,
    ToolCall,
    Usage,
    agenerate,
    astream,
)
from waybell_snap import Recording, RecordingMissing, Replay, SnapMismatch


class Unasked:
    """A model that must not be asked."""

    def generate(self, prompt, **options):
        raise AssertionError("the model was asked in a replay")

    stream = agenerate = astream = generate


class Pieces:
    """A model that streams these pieces, then fails or not."""

    def __init__(self, *pieces, error=None):
        self.pieces, self.error = pieces, error

    def stream(self, prompt, **options):
        def source():
            yield from self.pieces
            if self.error is not None:
                raise self.error

        return ReplyStream(source(), blocking=False)

    def generate(self, prompt, **options):
        return self.stream(prompt).read()


@pytest.fixture
def both(tmp_path):
    """Run a function of a model recorded, then replayed; give what it returned."""

    def run(model, use, **settings):
        path = tmp_path / "run.json"
        found = []
        for begin in (Recording, partial(Replay, **settings)):
            with begin(path) as run:
                found.append(use(run.adapter(model, name="m")))
            model = Unasked()
        assert run.snapshot.root == run.recorded.root
        return found

    return run


RICH = Reply(
    "Bronze,\nmostly.",
    usage=Usage(10, 5, 3, 1),
    cost="0.00123",
    model="big-1",
    tool_calls=[ToolCall("t1", "look", {"q": [1, 2.5, None]})],
    stop_reason="tool_use",
    message={"role": "assistant", "content": [{"type": "thinking", "signature": "x"}]},
)


def test_a_reply_keeps_all_but_its_attempts_and_its_request_id(both):
    live, again = both(
        ScriptedAdapter([RICH]), lambda model: model.generate("of what?")
    )
    assert again == live
    assert {**again.to_dict(), "attempts": []} == {**live.to_dict(), "attempts": []}


@pytest.mark.parametrize(
    "error",
    [
        RateLimited("slow down", provider="p", retry_after=2.0),
        ModelUnavailable("gone", reply=Reply("half", partial=True), status=503),
        AdapterError("what"),
        ValueError("no"),
        KeyError(("a", 1)),
        OSError(2, "no file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ExceptionGroup("several", [ValueError("one"), RateLimited("two")]),
    ],
)
def test_an_error_is_raised_again_as_the_same_class(both, error):
    def use(model):
        with pytest.raises(type(error)) as failed:
            model.generate("go")
        return failed.value

    live, again = both(ScriptedAdapter([error]), use)
    assert live is error
    assert type(again) is type(error)
    assert str(again) == str(error)
    shared = ("status", "retry_after", "provider", "errno")
    assert [getattr(again, n, 0) for n in shared] == [
        getattr(error, n, 0) for n in shared
    ]
    assert getattr(again, "reply", None) == getattr(error, "reply", None)


def test_an_error_of_a_local_class_cannot_be_raised_again_and_says_so(tmp_path):
    class Boom(Exception):
        pass

    with Recording(tmp_path / "run.json") as run, pytest.raises(Boom):
        run.adapter(ScriptedAdapter([Boom("x")])).generate("go")
    with pytest.raises(RecordingMissing, match=r"no exception .*Boom to raise again"):
        with Replay(tmp_path / "run.json") as run:
            run.adapter(Unasked()).generate("go")
    with pytest.raises(RecordingMissing, match=r"no exception .*Boom to raise again"):
        with Replay(tmp_path / "run.json") as run:
            asyncio.run(agenerate(run.adapter(Unasked()), "go"))


def test_a_model_in_a_run_can_be_copied(tmp_path):
    model = Recording(tmp_path / "run.json").adapter(ScriptedAdapter(["a"]))
    assert copy.copy(model).generate("go") == "a"


def test_a_stream_replays_in_the_same_pieces(both):
    def use(model):
        with model.stream("go") as stream:
            return list(stream), stream.reply

    live, again = both(Pieces("Bro", "nze", ", mos", "tly"), use)
    assert live[0] == again[0] == ["Bro", "nze", ", mos", "tly"]
    assert live[1].to_dict() == again[1].to_dict()


async def test_an_async_stream_replays_in_the_same_pieces(tmp_path):
    for session in (Recording, Replay):
        async with session(tmp_path / "run.json") as run:
            stream = await astream(run.adapter(Pieces("a", "b c"), name="m"), "go")
            async with stream:
                assert [piece async for piece in stream] == ["a", "b c"]
            assert stream.reply == "ab c"


def test_a_stream_left_early_replays_what_was_taken(both):
    def use(model):
        with model.stream("go") as stream:
            first = next(stream)
        return first, stream.reply, stream.reply.partial

    live, again = both(Pieces("a", "b"), use)
    assert live == again == ("a", "a", True)


def test_a_replayed_stream_left_earlier_than_recorded_is_partial(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        run.adapter(Pieces("a", "b")).stream("go").read()
    with (
        pytest.raises(SnapMismatch, match=r"got\.partial"),
        Replay(tmp_path / "run.json") as run,
    ):
        with run.adapter(Unasked()).stream("go") as stream:
            next(stream)
        assert (stream.reply, stream.reply.partial) == ("a", True)


def test_a_stream_that_fails_gives_its_pieces_first(both):
    def use(model):
        seen = []
        with (
            pytest.raises(ModelUnavailable, match="cut") as failed,
            model.stream("go") as stream,
        ):
            for piece in stream:
                seen += [piece]
        return seen, failed.value.reply

    live, again = both(Pieces("a", "b", error=ModelUnavailable("cut")), use)
    assert live == again == (["a", "b"], "ab")


def test_a_stream_that_never_opens_fails_at_once(both):
    def use(model):
        with pytest.raises(RateLimited):
            model.stream("go")

    both(ScriptedAdapter([RateLimited("no")]), use)


async def test_all_four_doors_are_recorded_and_sync_and_async_ones_replay_each_other(
    tmp_path,
):
    path = tmp_path / "run.json"
    with Recording(path) as run:
        model = run.adapter(OfflineAdapter())
        model.generate("Say: a.")
        model.stream("Say: b.").read()
    async with Replay(path) as run:
        model = run.adapter(Unasked())
        await agenerate(model, "Say: a.")
        await (await astream(model, [{"role": "user", "content": "Say: b."}])).aread()


class Purse:
    def __init__(self):
        self.charged = []

    def check(self, *args, **amounts):
        pass

    def charge(self, **amounts):
        self.charged.append((amounts["usd"], amounts["usage"].total))


def test_a_replay_charges_the_budget_as_the_model_did(both):
    purse = Purse()
    both(
        ScriptedAdapter([RICH, RICH]),
        lambda model: (
            model.generate("a", budget=purse),
            model.stream("b", budget=purse).read(),
        ),
    )
    assert purse.charged == [(Decimal("0.00123"), 19)] * 4


class Over:
    def check(self):
        raise TimeoutError("over")

    def timeout(self, cap=None):
        return 0.0


@pytest.mark.parametrize("door", ["generate", "stream"])
def test_a_replay_asks_the_deadline(tmp_path, door):
    with Recording(tmp_path / "run.json") as run:
        reply = getattr(run.adapter(ScriptedAdapter(["a"])), door)("go")
        assert str(reply.read() if door == "stream" else reply) == "a"
    with Replay(tmp_path / "run.json", check=False) as run:
        with pytest.raises(TimeoutError, match="over"):
            reply = getattr(run.adapter(Unasked()), door)("go", deadline=Over())
            reply.read()


def test_the_key_has_no_limits_in_it_and_one_form_for_equal_requests(tmp_path):
    tool = {"name": "look", "description": "", "input_schema": {"type": "object"}}
    with Recording(tmp_path / "run.json") as run:
        model = run.adapter(ScriptedAdapter(["a"]))
        limits = {"budget": Purse(), "timeout": 5, "idempotency_key": "k1"}
        model.generate(
            "go", temperature=1.0, stop="x", top_k=None, tools=[tool], **limits
        )
    with Replay(tmp_path / "run.json") as run:
        again = [dict(reversed(tool.items()))]
        messages = [{"content": "go", "role": "user"}]
        run.adapter(Unasked()).generate(
            messages, tools=again, stop=["x"], temperature=1
        )


def test_ids_of_tool_calls_are_not_part_of_the_key_but_what_they_connect_is(tmp_path):
    def messages(one, two, *, crossed=False):
        results = [(one, "1"), (two, "2")]
        if crossed:
            results = [(two, "1"), (one, "2")]
        calls = [
            {"id": i, "name": "look", "arguments": {"id": "own"}} for i in (one, two)
        ]
        told = [{"role": "tool", "tool_call_id": i, "content": c} for i, c in results]
        return [{"role": "assistant", "content": "", "tool_calls": calls}, *told]

    with Recording(tmp_path / "run.json") as run:
        run.adapter(ScriptedAdapter(["ok"])).generate(messages("a", "b"))
    with Replay(tmp_path / "run.json") as run:
        run.adapter(Unasked()).generate(messages("x", "y"))
    with pytest.raises(RecordingMissing), Replay(tmp_path / "run.json") as run:
        run.adapter(Unasked()).generate(messages("x", "y", crossed=True))


def test_equal_calls_in_turn_get_their_replies_in_turn_and_no_more(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        model = run.adapter(ScriptedAdapter(["one", "two"]))
        assert [model.generate("go"), model.generate("go")] == ["one", "two"]
    with (
        pytest.raises(
            RecordingMissing, match="was recorded 2 times, and this is one more"
        ),
        Replay(tmp_path / "run.json") as run,
    ):
        model = run.adapter(Unasked())
        assert [model.generate("go"), model.generate("go")] == ["one", "two"]
        model.generate("go")


def test_a_missing_call_names_the_agent_the_nearest_request_and_the_difference(
    tmp_path,
):
    with (
        Recording(tmp_path / "run.json") as run,
        run.agent("desk"),
        run.agent("writer"),
    ):
        model = run.adapter(ScriptedAdapter(["a", "b"]), name="big")
        model.generate("Write on bells.\nBe brief.", temperature=0.5)
        model.generate("Something else entirely")
    with (
        Replay(tmp_path / "run.json", check=False) as run,
        run.agent("desk"),
        run.agent("writer"),
        pytest.raises(RecordingMissing) as failed,
    ):
        run.adapter(Unasked(), name="big").generate(
            "Write on bells.\nBe long.", temperature=0.7
        )
    error = failed.value
    text = str(error)
    assert "call desk/writer/big.generate() was not recorded" in text
    assert "asked by: desk / writer" in text
    assert "-Be brief." in text
    assert "+Be long." in text
    assert "- 0.5" in text
    assert (error.agent, error.operation) == (("desk", "writer"), "call big generate")
    assert error.nearest["options"] == {"temperature": 0.5}
    assert str(pickle.loads(pickle.dumps(error))) == text
    assert isinstance(error, LookupError)


def test_the_same_request_of_another_agent_is_another_call(tmp_path):
    with Recording(tmp_path / "run.json") as run, run.agent("one"):
        run.adapter(ScriptedAdapter(["a"])).generate("go")
    with pytest.raises(RecordingMissing, match="asked by: two"):
        with Replay(tmp_path / "run.json") as run, run.agent("two"):
            run.adapter(Unasked()).generate("go")


async def test_a_call_that_was_cancelled_waits_to_be_cancelled_again(tmp_path):
    class Slow(Unasked):
        async def agenerate(self, prompt, **options):
            if prompt == "slow":
                await asyncio.Event().wait()
            return Reply("fast")

    async def race(run, model):
        model = run.adapter(model)
        calls = {
            asyncio.create_task(agenerate(model, p), name=p) for p in ("slow", "fast")
        }
        done, late = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return [task.result() for task in done]

    for session, model in ((Recording, Slow()), (Replay, Unasked())):
        async with session(tmp_path / "run.json") as run:
            assert await race(run, model) == ["fast"]
    with pytest.raises(RecordingMissing, match="it was cancelled when it was recorded"):
        async with Replay(tmp_path / "run.json", patience=0.01) as run:
            await agenerate(run.adapter(Unasked()), "slow")
    with pytest.raises(RecordingMissing, match="it was cancelled when it was recorded"):
        with Replay(tmp_path / "run.json") as run:
            run.adapter(Unasked()).generate("slow")


async def test_a_call_that_was_cancelled_heeds_the_deadline(tmp_path):
    class Slow(Unasked):
        async def agenerate(self, prompt, **options):
            raise asyncio.CancelledError

    with Recording(tmp_path / "run.json") as run:
        with pytest.raises(asyncio.CancelledError):
            await agenerate(run.adapter(Slow()), "go")
    with Replay(tmp_path / "run.json", check=False) as run:
        with pytest.raises(TimeoutError, match="over"):
            await agenerate(run.adapter(Unasked()), "go", deadline=Over())


def test_a_model_made_of_recorded_models_is_recorded_once(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        inner = run.adapter(ScriptedAdapter(["a"]), name="inner")
        run.adapter(inner, name="outer").generate("go")
    assert [node["name"] for node in run.snapshot.nodes()] == ["run", "outer"]


def test_a_call_after_the_end_is_refused(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        model = run.adapter(ScriptedAdapter(["a"]))
    with pytest.raises(RuntimeError, match="after its run was over"):
        model.generate("go")


def test_what_an_adapter_has_beside_the_protocol_is_still_there(tmp_path):
    model = Recording(tmp_path / "run.json").adapter(ScriptedAdapter(["a"]))
    assert (model.model, model.calls) == ("scripted", [])
    assert "ScriptedAdapter" in repr(model)
    with pytest.raises(AttributeError):
        _ = model.nothing


def test_a_block_that_fails_leaves_no_recording(tmp_path):
    with pytest.raises(ZeroDivisionError), Recording(tmp_path / "run.json") as run:
        run.adapter(ScriptedAdapter(["a"])).generate("go")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_replay_without_a_recording_says_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.json"):
        Replay(tmp_path / "run.json")
    with pytest.raises(ValueError, match="'replay' or 'live', not 'alive'"):
        Replay(tmp_path / "run.json", tools="alive")


def test_options_of_any_kind_are_passed_on_and_known_by_their_type(tmp_path):
    import threading

    model = ScriptedAdapter(["a"])
    lock = threading.Lock()
    with Recording(tmp_path / "run.json") as run:
        run.adapter(model).generate("go", lock=lock)
    assert model.calls[0].options["lock"] is lock
    with Replay(tmp_path / "run.json") as run:
        run.adapter(Unasked()).generate("go", lock=threading.Lock())


class Endless(Unasked):
    """A model that says two words, and then nothing for ever."""

    async def astream(self, prompt, **options):
        return Stuck("Big ", "Ben")


class Stuck(ReplyStream):
    def __init__(self, *pieces):
        super().__init__(())
        self.pieces = list(pieces)

    async def __anext__(self):
        if not self.pieces:
            await asyncio.Event().wait()
        return self.pieces.pop(0)


async def test_a_stream_that_was_cancelled_gives_its_pieces_before_it_waits_for_that(
    tmp_path,
):
    async def listen(run, model):
        heard, enough = [], asyncio.Event()

        async def reader():
            async with await astream(run.adapter(model), "go") as stream:
                async for piece in stream:
                    heard.append(piece)
                    if piece == "Ben":
                        enough.set()

        task = asyncio.create_task(reader(), name="reader")
        await enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return heard

    async with Recording(tmp_path / "run.json") as run:
        assert await listen(run, Endless()) == ["Big ", "Ben"]
    async with Replay(tmp_path / "run.json", patience=60) as run:
        assert await listen(run, Unasked()) == ["Big ", "Ben"]
    assert run.snapshot.root == run.recorded.root
    with pytest.raises(RecordingMissing, match="it was cancelled when it was recorded"):
        async with Replay(tmp_path / "run.json", patience=0.01) as run:
            await (await astream(run.adapter(Unasked()), "go")).aread()


class Late:
    """A model whose streams send nothing before their first piece is wanted."""

    def __init__(self):
        self.sent = 0

    def stream(self, prompt, **options):
        def source():
            self.sent += 1
            yield f"answer {self.sent}"

        return ReplyStream(source(), blocking=False)

    def generate(self, prompt, **options):
        return self.stream(prompt).read()


def test_a_stream_that_nobody_reads_was_never_begun_and_is_not_in_a_replay_either(
    both,
):
    def use(model):
        unread = model.stream("go")
        told = model.stream("go").read()
        del unread
        return told

    model = Late()
    assert both(model, use) == ["answer 1", "answer 1"]
    assert model.sent == 1


async def test_an_async_stream_that_nobody_reads_was_never_begun(tmp_path):
    for begin, model in ((Recording, Late()), (Replay, Unasked())):
        async with begin(tmp_path / "run.json") as run:
            kept = await astream(run.adapter(model), "go")
        del kept
    ((node,),) = (lane["nodes"] for lane in run.snapshot.root["lanes"])
    assert {"got", "error", "latency"}.isdisjoint(node)
    assert (run.snapshot.usd, run.snapshot.tokens) == (0, 0)


def test_reading_a_stream_that_was_not_read_is_a_call_that_is_missing(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        kept = run.adapter(Late()).stream("go")
    with pytest.raises(RecordingMissing, match="nobody began to read this stream"):
        with Replay(tmp_path / "run.json") as run:
            kept = run.adapter(Unasked()).stream("go")
            with pytest.raises(RecordingMissing):
                next(kept)
    del kept


def test_not_reading_a_stream_that_was_read_is_a_change(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        assert run.adapter(Late()).stream("go").read() == "answer 1"
    with pytest.raises(SnapMismatch, match=r"output: model\.stream\(\)\.got"):
        with Replay(tmp_path / "run.json") as run:
            kept = run.adapter(Unasked()).stream("go")
    del kept


async def test_a_stream_that_was_cancelled_need_not_be_read_again(tmp_path):
    async with Recording(tmp_path / "run.json") as run:
        stream = await astream(run.adapter(Endless()), "go")
        task = asyncio.create_task(stream.aread())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with Replay(tmp_path / "run.json", check=False) as run:
        stream = await astream(run.adapter(Unasked()), "go")
    assert "error" in {change.kind for change in run.compare().changes}
    del stream
