import copy
import json
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters import (
    AdapterError,
    BadReply,
    CallAttempt,
    ContextTooLong,
    ModelRefused,
    ModelUnavailable,
    RateLimited,
    Reply,
    ToolCall,
    Usage,
)


counts = st.integers(0, 10**12)
usages = st.builds(Usage, counts, counts, counts, counts, st.booleans())
calls = st.builds(
    ToolCall, st.text(), st.text(), st.dictionaries(st.text(), st.integers())
)
replies = st.builds(
    Reply,
    st.text(),
    usage=st.none() | usages,
    cost=st.none() | st.decimals(0, 10**6, allow_nan=False, places=9),
    model=st.none() | st.text(),
    tool_calls=st.lists(calls, max_size=2),
    partial=st.booleans(),
    attempts=st.lists(st.builds(CallAttempt, st.integers(100, 599)), max_size=2),
)


def facts(reply):
    return {name: getattr(reply, name) for name in Reply.__slots__}


@given(replies)
def test_a_reply_compares_hashes_and_dumps_as_its_text(reply):
    text = str(reply)
    assert type(text) is str
    assert type(reply.text) is str
    assert reply == text == reply.text
    assert hash(reply) == hash(text)
    assert json.dumps([reply]) == json.dumps([text])
    assert f"{reply}" == text
    assert {text: 1}[reply] == 1


@given(replies)
def test_a_reply_survives_pickling_and_copying_whole(reply):
    for twin in (
        *(pickle.loads(pickle.dumps(reply, protocol)) for protocol in range(2, 6)),
        copy.copy(reply),
        copy.deepcopy(reply),
    ):
        assert type(twin) is Reply
        assert twin == reply
        assert facts(twin) == facts(reply)


def test_a_repr_stays_short():
    assert repr(Reply("hi", model="m")) == "Reply('hi', tokens=1, model='m')"
    assert len(repr(Reply("\x00" * 10**5))) < 60 * 4 + 60


def test_a_reply_without_usage_estimates_it_and_says_so():
    reply = Reply("two words")
    assert reply.usage.estimated
    assert (reply.tokens, reply.usage.output_tokens) == (2, 2)


def test_a_reply_is_immutable():
    with pytest.raises(AttributeError, match="cost"):
        Reply("x").cost = Decimal(1)


def test_tool_calls_decide_the_stop_reason_and_the_message():
    call = ToolCall("1", "add", {"a": 2})
    reply = Reply("", tool_calls=[call])
    assert reply.stop_reason == "tool_use"
    assert reply.message == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "1", "name": "add", "arguments": {"a": 2}}],
    }
    assert Reply("hi").stop_reason == "end"
    assert Reply("hi").message == {"role": "assistant", "content": "hi"}


def test_a_vendors_message_is_kept_verbatim():
    message = {"role": "assistant", "content": [{"type": "thinking", "signature": "s"}]}
    assert Reply("x", message=message).message is message


@pytest.mark.parametrize(
    ("cost", "kept"), [(0.1, "0.1"), ("0.25", "0.25"), (2, "2"), (Decimal(1), "1")]
)
def test_a_cost_is_kept_to_the_digit(cost, kept):
    assert Reply("x", cost=cost).cost == Decimal(kept)


@pytest.mark.parametrize("cost", [-1, True, float("nan"), float("inf"), "much", []])
def test_a_cost_that_is_no_amount_is_refused(cost):
    with pytest.raises(ValueError, match="cost is an amount"):
        Reply("x", cost=cost)


def test_usage_is_a_mapping_of_its_counts():
    usage = Usage(1, 2, 3, 4)
    assert dict(usage) == {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_tokens": 3,
        "cache_write_tokens": 4,
    }
    assert usage.total == 10
    assert usage.get("total") is None
    assert len(usage) == 4


@given(usages, usages)
def test_usages_add_up(one, other):
    both = one + other
    assert both.total == one.total + other.total
    assert both.estimated == (one.estimated or other.estimated)


@pytest.mark.parametrize("count", [-1, True, 1.5, "3"])
def test_a_usage_that_is_no_count_is_refused(count):
    with pytest.raises(ValueError, match="output_tokens is a count"):
        Usage(output_tokens=count)


@pytest.mark.parametrize(
    ("leaf", "builtin"),
    [
        (ModelUnavailable, ConnectionError),
        (ModelRefused, RuntimeError),
        (RateLimited, RuntimeError),
        (ContextTooLong, ValueError),
        (BadReply, ValueError),
        (AdapterError, Exception),
    ],
)
def test_an_error_keeps_its_facts_through_pickling(leaf, builtin):
    error = leaf(
        "no",
        provider="acme",
        model="m",
        request_id="r1",
        attempts=[CallAttempt(503, "busy")],
        status=503,
        retry_after=1.5,
        body="{}",
        reply=Reply("par", partial=True),
    )
    twin = pickle.loads(pickle.dumps(error))
    assert isinstance(twin, builtin)
    assert isinstance(twin, AdapterError)
    assert type(twin) is leaf
    assert vars(twin) == vars(error)
    assert (
        str(twin)
        == str(error)
        == (
            "no (provider acme, model m, status 503, request r1, retry after 1.5, attempts 1)"
        )
    )


def test_an_error_without_words_says_what_it_means():
    assert str(BadReply()) == "The answer cannot be understood: see `body`."
    assert RateLimited("later").status == 429
    assert ModelRefused("no").status is None
