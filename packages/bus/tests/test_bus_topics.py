"""Topics, patterns, and which of them match."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import waybell_bus as wb
from waybell_bus import EventBus, TopicError


SEGMENT = st.sampled_from(["a", "b", "c", "*"])
PATTERN = st.tuples(
    st.lists(SEGMENT, min_size=1, max_size=4), st.booleans(), st.sampled_from(":.")
).map(lambda made: made[2].join([*made[0], *(["**"] if made[1] else [])]))
TOPIC = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(".".join)


def matches(pattern: str, topic: str) -> bool:
    """The rule, said as naively as can be."""
    want, have = pattern.replace(":", ".").split("."), topic.split(".")
    if want[-1] == "**":
        want.pop()
        if len(have) <= len(want):
            return False
        have = have[: len(want)]
    return len(want) == len(have) and all(
        w in {"*", h} for w, h in zip(want, have, strict=True)
    )


@given(st.lists(PATTERN, max_size=8, unique=True), TOPIC)
async def test_a_topic_reaches_exactly_the_patterns_that_match(patterns, topic):
    bus = EventBus()
    for pattern in patterns:
        bus.on(pattern, lambda event, p=pattern: p)
    answers = [outcome.value for outcome in await bus.gather(topic)]
    assert answers == [p for p in patterns if matches(p, topic)]


@pytest.mark.parametrize("pattern", ["", "a..b", ":a", "a.", "a*", "**.a", "a.***", 7])
def test_a_bad_pattern_is_refused_when_it_is_registered(pattern):
    bus = EventBus()
    for register in (bus.on, bus.once, bus.observe, bus.subscribe, bus.signal):
        with pytest.raises(TopicError):
            register(pattern)
    assert bus.describe() == {}


@pytest.mark.parametrize("topic", ["", "a..b", "a.*", "**", ".a", None])
async def test_a_bad_topic_is_refused_when_it_is_sent(topic):
    bus = EventBus()
    for send in (bus.emit, bus.request, bus.gather, bus.publish):
        with pytest.raises(TopicError) as caught:
            await send(topic)
    assert caught.value.topic == topic
    assert caught.value.reason
    with pytest.raises(TopicError):
        async with bus.stream(topic):
            pass


async def test_colons_and_dots_separate_alike():
    bus = EventBus()
    bus.on("llm:call.start", lambda event: event.topic)
    assert await bus.emit("llm.call:start") == "llm.call:start"
    assert await bus.emit("llm:call:start") == "llm:call:start"
    assert bus.signal("llm.call.start") is bus.signal("llm:call:start")


async def test_a_change_is_seen_under_every_spelling():
    bus = EventBus()
    first = bus.on("a.b", lambda event: 1)
    assert [await bus.emit("a:b"), await bus.emit("a.b")] == [1, 1]
    bus.on("a:b", lambda event: 2)
    assert [await bus.emit("a:b"), await bus.emit("a.b")] == [[1, 2], [1, 2]]
    bus.off("a:b", first)
    assert [await bus.emit("a:b"), await bus.emit("a.b")] == [2, 2]


async def test_sending_makes_no_signals_and_keeps_a_bounded_number_of_plans():
    bus = EventBus()
    bus.on("known.*", lambda event: None)
    for number in range(10_000):
        await bus.emit(f"known.{number}")
    assert list(bus.describe()) == ["known.*"]
    assert bus.stats()["plans"] <= 4096


def test_what_is_unsubscribed_is_forgotten_wholly():
    bus = EventBus()
    for number in range(1000):
        for pattern in (f"reply.{number}", f"reply.{number}.*", f"x.*.{number}.**"):
            handler = bus.on(pattern, lambda event: None)
            assert bus.off(pattern, handler)
    registry = bus._plans.handlers
    assert (len(registry), registry._trie._root, len(registry._idle)) == (0, {}, 0)


@pytest.mark.parametrize("name", [n for n in wb.__all__ if n.endswith("Error")])
def test_every_error_survives_pickling_with_its_data(name):
    error = getattr(wb, name)
    details = tuple(("x", "y") for _ in error._names)
    made = error(*details)
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), vars(again), str(again)) == (error, vars(made), str(made))
    assert isinstance(made, wb.BusError)
    assert str(made) or error is wb.BusError
