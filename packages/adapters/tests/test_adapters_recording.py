import asyncio
import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters import (
    AdapterError,
    CallAttempt,
    LLMAdapter,
    ModelRefused,
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
from waybell_adapters.testing import ModelRequest, RecordingAdapter


counts = st.integers(0, 10**12)
usages = st.builds(Usage, counts, counts, counts, counts, st.booleans())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
fields = st.dictionaries(st.text(), values, max_size=3)
attempts = st.builds(
    CallAttempt,
    st.none() | st.integers(100, 599),
    st.none() | st.text(),
    st.floats(0, 1e6),
    st.none() | usages,
    st.none() | st.text(),
)
replies = st.builds(
    Reply,
    st.text(),
    usage=usages,
    cost=st.none() | st.decimals(0, 10**6, allow_nan=False, places=9),
    model=st.none() | st.text(),
    tool_calls=st.lists(st.builds(ToolCall, st.text(), st.text(), fields), max_size=2),
    stop_reason=st.none() | st.text(min_size=1),
    attempts=st.lists(attempts, max_size=2),
    request_id=st.none() | st.text(),
    partial=st.booleans(),
    message=st.none() | fields,
)


def through_json(data):
    return json.loads(json.dumps(data))


@given(replies)
def test_a_reply_goes_through_json_and_back_exactly(reply):
    twin = Reply.from_dict(through_json(reply.to_dict()))
    assert twin == reply
    assert {n: getattr(twin, n) for n in Reply.__slots__} == {
        n: getattr(reply, n) for n in Reply.__slots__
    }
    assert twin.cost is None or str(twin.cost) == str(reply.cost)


def test_a_reply_of_an_older_or_newer_version_is_read():
    old = Reply.from_dict({"text": "hi"})
    assert (old, old.usage.estimated, old.stop_reason) == ("hi", True, "end")
    data = Reply("hi", attempts=[CallAttempt(200)]).to_dict()
    data["attempts"][0]["new"] = data["usage"]["new"] = data["new"] = 1
    assert Reply.from_dict(data).attempts == (CallAttempt(200),)


def test_what_is_frozen_or_nested_in_a_message_becomes_plain():
    message = {"role": "assistant", "content": ({"type": "text", "text": Reply("x")},)}
    found = Reply("x", message=message).to_dict()["message"]
    assert found == {"role": "assistant", "content": [{"type": "text", "text": "x"}]}
    assert type(found["content"][0]["text"]) is str


@pytest.mark.parametrize(
    "kind", [AdapterError, *AdapterError.__subclasses__()], ids=lambda k: k.__name__
)
def test_an_error_goes_through_json_and_back_exactly(kind):
    error = kind(
        "no",
        provider="acme",
        model="m",
        request_id="r1",
        attempts=[CallAttempt(503, "busy", 0.1, Usage(1, 2))],
        status=503,
        retry_after=1.5,
        body="{}",
        reply=Reply("par", partial=True, cost="0.1"),
    )
    error.add_note("seen")
    twin = AdapterError.from_dict(through_json(error.to_dict()))
    assert type(twin) is kind
    assert str(twin) == str(error)
    assert twin.to_dict() == error.to_dict()
    assert (twin.reply.partial, twin.attempts) == (True, error.attempts)


def test_an_error_of_a_users_own_class_comes_back_as_what_it_is_a_kind_of():
    class Busy(RateLimited):
        """Mine."""

    twin = AdapterError.from_dict(through_json(Busy("later", retry_after=2).to_dict()))
    assert type(twin) is RateLimited
    assert twin.retry_after == 2
    with pytest.raises(ValueError, match="no error 'Nope': one of AdapterError"):
        AdapterError.from_dict({"type": "Nope", "message": ""})


class Plain:
    """An adapter with the two methods only."""

    def generate(self, prompt, **options):
        return self.stream(prompt, **options).read()

    def stream(self, prompt, *, budget=None, deadline=None, **options):
        return ReplyStream(iter(["one ", "two"]), budget=budget, deadline=deadline)


async def ask(model, door, *args, **options):
    """A reply through one of the four doors."""
    if door == "generate":
        return model.generate(*args, **options)
    if door == "agenerate":
        return await agenerate(model, *args, **options)
    if door == "stream":
        return model.stream(*args, **options).read()
    return await (await astream(model, *args, **options)).aread()


DOORS = ("generate", "agenerate", "stream", "astream")
each_door = pytest.mark.parametrize("door", DOORS)


@each_door
@pytest.mark.parametrize("inner", [Plain, lambda: ScriptedAdapter(["one two"])])
async def test_each_door_of_any_adapter_is_recorded_once(door, inner):
    told = []
    model = RecordingAdapter(inner(), record=lambda *call: told.append(call))
    assert isinstance(model, LLMAdapter)
    reply = await ask(model, door, "hi", system="be brief", max_tokens=9)
    assert reply == "one two"
    [(request, outcome)] = told
    assert outcome is reply
    assert request.operation == door.removeprefix("a")
    assert request.system == "be brief"
    assert request.options == {"max_tokens": 9}


@each_door
async def test_a_recorded_reply_is_replayed_within_the_limits(door, spies):
    told, budget = [], spies.Budget()
    kept = Reply("one two", usage=Usage(3, 4), cost="0.5", model="m")
    model = RecordingAdapter(
        ScriptedAdapter([]),
        record=lambda *call: told.append(call),
        replay=lambda request: Reply.from_dict(kept.to_dict()),
    )
    reply = await ask(model, door, "hi", budget=budget, deadline=spies.Deadline())
    assert reply.to_dict() == kept.to_dict()
    assert budget.checked == [{"tokens": 3}]
    assert [c["usage"] for c in budget.charged] == [Usage(3, 4)]
    assert told == []
    with pytest.raises(TimeoutError):
        await ask(model, door, "hi", deadline=spies.Deadline(0))


@each_door
async def test_an_error_is_recorded_and_replayed(door):
    told = []
    error = ModelRefused("no", status=400)
    model = RecordingAdapter(
        ScriptedAdapter([error]), record=lambda *call: told.append(call)
    )
    with pytest.raises(ModelRefused) as caught:
        await ask(model, door, "hi")
    assert [outcome for _, outcome in told] == [caught.value]
    again = RecordingAdapter(
        Plain(), replay=lambda request: AdapterError.from_dict(error.to_dict())
    )
    with pytest.raises(ModelRefused, match="no"):
        await ask(again, door, "hi")


def test_a_stream_that_failed_midway_gives_its_pieces_again_before_its_error(spies):
    part = Reply("one two", usage=Usage(1, 2), cost=0, partial=True)
    model = RecordingAdapter(
        Plain(), replay=lambda request: AdapterError("cut", reply=part)
    )
    budget, seen = spies.Budget(), []
    with pytest.raises(AdapterError, match="cut") as caught:
        seen.extend(model.stream("hi", budget=budget))
    assert caught.value.reply is part
    assert seen == ["one", " two"]
    assert len(budget.charged) == 1


def test_a_missing_recording_can_be_an_error_and_a_none_asks_the_model():
    def missing(request):
        raise LookupError(request.messages[0]["content"])

    with pytest.raises(LookupError, match="hi"):
        RecordingAdapter(Plain(), replay=missing).generate("hi")
    told = []
    model = RecordingAdapter(
        Plain(), replay=lambda request: None, record=lambda *call: told.append(call)
    )
    assert model.generate("hi") == "one two"
    assert len(told) == 1


@pytest.mark.parametrize("how", ["with", "close", "aclose"])
async def test_a_stream_left_early_is_recorded_as_a_partial_reply(how):
    told = []
    model = RecordingAdapter(Plain(), record=lambda *call: told.append(call[1]))
    stream = model.stream("hi")
    assert next(stream) == "one "
    assert told == []
    if how == "with":
        with stream:
            pass
    elif how == "close":
        stream.close()
        stream.close()
    else:
        await stream.aclose()
    assert [(o, o.partial) for o in told] == [("one ", True)]
    assert stream.reply is told[0]


async def test_a_cancelled_call_is_recorded_as_that():
    told, begun = [], asyncio.Event()

    async def never(prompt):
        begun.set()
        await asyncio.Event().wait()

    model = RecordingAdapter(
        ScriptedAdapter([never]), record=lambda *call: told.append(call[1])
    )
    task = asyncio.create_task(model.agenerate("hi"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(outcome) for outcome in told] == [asyncio.CancelledError]


@each_door
async def test_a_reply_that_was_too_much_for_the_budget_is_recorded_as_the_reply(
    door, spies
):
    told = []
    model = RecordingAdapter(Plain(), record=lambda *call: told.append(call[1]))
    with pytest.raises(spies.Overspent) as caught:
        await ask(model, door, "hi", budget=spies.Budget(1))
    assert told == [caught.value.reply] == ["one two"]


def test_a_record_that_fails_is_told_and_hides_no_error():
    def broken(request, outcome):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        RecordingAdapter(Plain(), record=broken).generate("hi")
    model = RecordingAdapter(ScriptedAdapter([AdapterError("no")]), record=broken)
    with pytest.raises(AdapterError, match="no") as caught:
        model.generate("hi")
    assert caught.value.__notes__ == ["and it was not recorded: OSError('disk full')"]


@dataclass
class Tool:
    name: str
    description: str
    input_schema: dict = field(default_factory=dict)


def requests_of(*calls):
    """What each call asks, as JSON with sorted keys."""
    told = []
    model = RecordingAdapter(
        OfflineAdapter(), record=lambda request, _: told.append(request)
    )
    for prompt, options in calls:
        model.generate(prompt, **options)
    return [json.dumps(request.to_dict(), sort_keys=True) for request in told]


def test_the_same_question_in_other_forms_is_the_same_request(spies):
    as_mapping = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
    as_object = SimpleNamespace(**as_mapping)
    limits = {"deadline": spies.Deadline(), "budget": spies.Budget(), "attempts": 1}
    said = {"role": "user", "content": "hi"}
    found = requests_of(
        ("hi", {"stop": "x", "tools": [as_mapping], "system": None}),
        ([said], {"tools": (as_object,), "stop": ["x"], **limits}),
        ((said,), {"tools": [Tool(**as_mapping)], "stop": ("x",), "temperature": None}),
    )
    assert found[0] == found[1] == found[2]
    assert json.loads(found[0])["model"] == "offline"


def test_another_question_is_another_request():
    found = requests_of(
        ("hi", {}),
        ("ho", {}),
        ("hi", {"system": "s"}),
        ("hi", {"temperature": 0}),
        ("hi", {"seed": 1}),
        ("hi", {"tools": [{"type": "web_search"}]}),
    )
    assert len(set(found)) == 6


def test_a_request_keeps_what_was_asked_though_the_caller_goes_on():
    told = []
    model = RecordingAdapter(Plain(), record=lambda request, _: told.append(request))
    blocks = [{"type": "text", "text": "hi"}]
    said = [{"role": "user", "content": blocks}]
    model.generate(said)
    blocks[0]["text"] = "ho"
    said.append({"role": "user", "content": "more"})
    assert told[0].messages == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    ]


def test_a_reply_sent_back_is_a_request_that_json_can_hold():
    told = []
    model = RecordingAdapter(
        ScriptedAdapter([ToolCall("1", "f", {"a": 1}), "done"]),
        record=lambda request, _: told.append(request),
    )
    first = model.generate("hi")
    result = {"role": "tool", "tool_call_id": "1", "content": Reply("2")}
    model.generate([{"role": "user", "content": "hi"}, first.message, result])
    assert isinstance(told[1], ModelRequest)
    assert through_json(told[1].to_dict()) == told[1].to_dict()
    assert repr(model).startswith("RecordingAdapter(<waybell_adapters._scripted")
    assert model.model == "scripted"
    assert RecordingAdapter(Plain()).model is None
