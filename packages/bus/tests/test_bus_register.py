"""Coming to a bus and leaving it, also through blinker."""

import functools
import gc
import logging

import pytest
from blinker import NamedSignal

from waybell_bus import EventBus


class Desk:
    """A handler in each shape."""

    def sync(self, event):
        return ("sync", event["n"])

    async def waits(self, event):
        return ("waits", event["n"])

    async def __call__(self, event):
        return ("called", event["n"])


async def test_a_handler_may_have_any_shape():
    bus, desk = EventBus(), Desk()

    async def two(extra, event):
        return (extra, event["n"])

    def returns_a_coroutine(event):
        return desk.waits(event)

    bus.on("t", desk.sync)
    bus.on("t", desk.waits)
    bus.on("t", desk)
    bus.on("t", functools.partial(two, "partial"))
    bus.on("t", functools.partial(functools.partial(lambda a, e: a), "lambda"))
    bus.on("t", returns_a_coroutine)
    assert await bus.emit("t", n=1) == [
        ("sync", 1), ("waits", 1), ("called", 1), ("partial", 1), "lambda", ("waits", 1)
    ]  # fmt: skip
    assert bus.describe()["t"]["handlers"][:3] == ["Desk.sync", "Desk.waits", "Desk"]


def test_registering_returns_the_function_unchanged():
    bus = EventBus()

    def fn(*args):
        return args

    assert bus.on("a", fn) is bus.on("b")(fn) is fn
    assert bus.once("a", fn) is bus.once("b", priority=1)(fn) is fn
    assert bus.observe("a", fn) is bus.observe("b", settled=True)(fn) is fn
    assert bus.use(fn) is fn


def test_what_cannot_answer_is_refused():
    bus = EventBus()

    async def many(event):
        yield event

    async def waits(event):
        pass

    with pytest.raises(TypeError, match="cannot be called"):
        bus.on("a", 7)
    with pytest.raises(TypeError, match="cannot be called"):
        bus.signal("a").connect(7)
    with pytest.raises(TypeError, match="async generator"):
        bus.on("a", many)
    with pytest.raises(TypeError, match="thread"):
        bus.on("a", waits, thread=True)
    with pytest.raises(ValueError, match="thread=True"):
        bus.on("a", len, timeout=1)
    for timeout in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            bus.on("a", waits, timeout=timeout)
    with pytest.raises(ValueError, match="concurrency"):
        bus.on("a", waits, concurrency=0)
    with pytest.raises(TypeError):
        bus.on("a", waits, unheard_of=1)
    assert bus.describe() == {}


@pytest.mark.parametrize(
    "settings", [{"unhandled": "x"}, {"history": -1}, {"max_depth": 0}]
)
def test_a_bus_refuses_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match=r"unhandled|bound"):
        EventBus(**settings)


async def test_handlers_are_called_by_priority_then_registration():
    bus = EventBus()
    for name, priority in (("c", 0), ("a", 9), ("d", 0), ("e", -1), ("b", 5)):
        bus.on("t.*" if name in "ce" else "t.x", lambda _, n=name: n, priority=priority)
    assert await bus.emit("t.x") == list("abcde")


async def test_registering_again_replaces_the_settings_and_keeps_the_turn():
    bus = EventBus()
    first = bus.on("t", lambda event: 1)
    bus.on("t", lambda event: 2)
    bus.on("t", first)
    assert await bus.emit("t") == [1, 2]
    bus.on("t", first, priority=-1)
    assert await bus.emit("t") == [2, 1]


async def test_a_method_of_a_builtin_is_found_again():
    bus, seen = EventBus(), []
    bus.observe("t", seen.append)
    assert not bus.off("t", [].append)
    assert bus.off("t", seen.append)
    await bus.emit("t")
    assert seen == []


async def test_off_says_whether_it_was_there():
    bus = EventBus()
    fn = bus.on("t", bus.observe("t", lambda event: 1))
    assert bus.off("t", fn)
    assert not bus.off("t", fn)
    assert bus.describe() == {}
    assert await bus.emit("t") is None


async def test_once_answers_once_whoever_asks():
    bus = EventBus()

    @bus.once("t.*")
    async def handle(event):
        return await bus.emit("t.inner")

    bus.on("t.a", lambda event: "stays", priority=-1)
    assert await bus.emit("t.a") == [None, "stays"]
    assert await bus.emit("t.a") == "stays"
    bus.once("r", lambda event: "once")
    assert await bus.request("r") == "once"
    assert list(bus.describe()) == ["t.a"]


async def test_once_gives_way_to_the_next_best():
    bus = EventBus()
    bus.once("t", lambda event: "once")
    bus.on("t.**", lambda event: "no")
    bus.on("*", lambda event: "always")
    assert [await bus.request("t"), await bus.request("t")] == ["once", "always"]


async def test_a_scoped_handler_is_there_inside_the_block_only():
    bus = EventBus()
    with bus.subscribed("t", lambda e: 1) as fn:
        assert await bus.emit("t") == fn(None) == 1
    assert await bus.emit("t") is None


async def test_handlers_are_held_unless_weak():
    bus = EventBus()
    bus.on("t", lambda event: "strong")
    desk = Desk()
    bus.on("t", desk.waits, weak=True)
    watcher = Desk()
    bus.observe("t", watcher.sync, weak=True)
    gc.collect()
    assert await bus.emit("t", n=1) == ["strong", ("waits", 1)]
    assert await bus.emit("t", n=2) == ["strong", ("waits", 2)]
    del desk, watcher
    gc.collect()
    assert await bus.emit("t", n=1) == "strong"
    assert bus.describe() == {"t": {"handlers": [lambda_name(bus)]}}


def lambda_name(bus):
    return bus.describe()["t"]["handlers"][0]


async def test_weak_handlers_alone_are_requested_until_they_die():
    bus, desk = EventBus(unhandled="raise"), Desk()
    bus.on("t", desk, weak=True, concurrency=1)
    assert await bus.request("t", n=1) == ("called", 1)
    assert await bus.emit("t", n=1) == ("called", 1)
    del desk
    gc.collect()
    assert len(bus._plans.handlers) == 1
    with pytest.raises(LookupError):
        await bus.request("t", n=1)
    bus.on("u", lambda event: None)  # Sweeps up after the dead.
    assert list(bus._plans.handlers) == ["u"]


async def test_blinkers_own_api_connects_and_disconnects():
    bus = EventBus()
    signal = bus.signal("t.*")
    assert isinstance(signal, NamedSignal)

    async def outside(event):
        return event["n"]

    signal.connect(outside, weak=False)
    assert await bus.emit("t.a", n=1) == 1
    with signal.connected_to(len):
        assert await bus.emit("t.a", n=1) == [1, 1]
    assert await bus.emit("t.a", n=1) == 1
    signal.disconnect(outside)
    signal.disconnect(outside)
    assert await bus.emit("t.a", n=1) is None


async def test_blinker_connects_weakly_by_default():
    bus, desk = EventBus(), Desk()
    bus.signal("t").connect(desk.waits)
    assert await bus.emit("t", n=1) == ("waits", 1)
    del desk
    gc.collect()
    assert await bus.emit("t", n=1) is None


async def test_a_muted_signal_is_silent():
    bus = EventBus()
    bus.on("t.a", lambda event: "exact")
    bus.on("t.*", lambda event: "wild")
    assert await bus.emit("t.a") == ["exact", "wild"]
    with bus.signal("t.*").muted():
        assert await bus.emit("t.a") == "exact"
    bus.signal("t.a").is_muted = True
    assert await bus.emit("t.a") == "wild"


def test_a_filter_on_senders_is_refused_and_changes_nothing():
    bus = EventBus()
    handler = bus.on("t", lambda event: 1)
    with pytest.raises(TypeError, match="sender"):
        bus.signal("t").connect(handler, sender=bus)
    assert bus.describe()["t"]["handlers"]


def test_a_signal_stays_the_one_for_as_long_as_it_is_held():
    bus = EventBus()
    held = bus.signal("t")
    handler = bus.on("t", lambda event: 1)
    bus.off("t", handler)
    gc.collect()
    assert bus.signal("t") is held
    held.connect(handler)
    assert bus.describe() == {"t": {"handlers": [handler.__qualname__]}}


def test_all_signals_share_one_pair_of_connection_signals():
    bus = EventBus()
    one, other = bus.signal("a"), bus.signal("b.*")
    assert one.receiver_connected is other.receiver_connected
    assert one.receiver_disconnected is other.receiver_disconnected
    seen = []
    one.receiver_connected.connect(lambda s, **_: seen.append(s.name), weak=False)
    bus.on("b.*", len)
    assert seen == ["b.*"]


async def test_describe_says_who_is_there_in_order():
    bus = EventBus()

    def late(event): ...
    def early(event): ...

    bus.on("t", late)
    bus.on("t", early, priority=1)
    bus.observe("*", late)
    bus.observe("*", early, settled=True)
    here = "test_describe_says_who_is_there_in_order.<locals>."
    async with bus.subscribe("q:**"):
        assert bus.describe() == {
            "*": {"observers": [here + "late"], "settled": [here + "early"]},
            "q:**": {"queues": ["Subscription"]},
            "t": {"handlers": [here + "early", here + "late"]},
        }


def test_topics_are_shown_as_they_were_registered():
    bus = EventBus()
    keep = bus.on("agent:writer", lambda event: 1)
    bus.observe("agent.writer", lambda event: 2)  # The same topic, and no second one.
    assert {topic: list(roles) for topic, roles in bus.describe().items()} == {
        "agent:writer": ["handlers", "observers"]
    }
    bus.off("agent.writer", keep)
    bus.signal("a:b").connect(keep)
    assert list(bus.describe()) == ["a:b", "agent.writer"]


async def test_a_bus_and_a_queue_say_in_one_line_how_they_stand():
    bus = EventBus()
    bus.on("agent:writer", lambda event: 1)
    assert repr(bus) == "<EventBus 1 topic, open>"
    bus.observe("agent.writer", lambda event: 2)
    bus.observe("**", lambda event: 2)
    async with bus.subscribe("agent:*", maxsize=9) as queue:
        await bus.emit("agent:writer")
        assert repr(queue) == "<Subscription 'agent:*', 1 of 9 events>"
        assert repr(bus) == "<EventBus 3 topics, open>"
    assert repr(queue) == "<Subscription 'agent:*', closed>"
    await bus.close()
    assert repr(bus) == "<EventBus 2 topics, closed>"


async def test_what_reaches_nobody_is_a_dead_letter_and_said_once(caplog):
    bus = EventBus()
    bus.observe("**", lambda event: None)
    with caplog.at_level(logging.WARNING, "waybell_bus"):
        assert await bus.emit("t", n=1) is None
        assert await bus.gather("t", n=2) == []
        async with bus.stream("t", n=3) as outcomes:
            assert [o async for o in outcomes] == []
        await bus.publish("t", n=4)  # It was watched, and asks nobody.
    assert [event["n"] for event in bus.dead_letters] == [1, 2, 3]
    assert bus.stats()["dead_letters"] == 3
    assert [r.getMessage() for r in caplog.records] == ["nobody answers t"]


async def test_a_queue_is_somebody():
    bus = EventBus(unhandled="raise")
    async with bus.subscribe("t"):
        assert await bus.emit("t") is None
        assert await bus.gather("t") == []
        await bus.publish("t")
    assert not bus.dead_letters


async def test_an_unheard_event_can_be_an_error():
    bus = EventBus(unhandled="raise")
    bus.on("topics", len)
    with pytest.raises(LookupError, match="did you mean 'topics'"):
        await bus.emit("topic")
    with pytest.raises(LookupError):
        await bus.publish("elsewhere")
    assert len(bus.dead_letters) == 2


async def test_warnings_are_remembered_within_bounds(caplog):
    bus = EventBus()
    with caplog.at_level(logging.WARNING, "waybell_bus"):
        for number in range(1100):
            await bus.emit(f"t.{number}")
        await bus.emit("t.1099")
    assert len(caplog.records) == 1100
    assert len(bus._ledger._warned) == 1000


async def test_history_is_a_ring_and_off_by_default():
    bus = EventBus(history=2)
    bus.on("t", lambda event: None)
    for n in range(3):
        await bus.emit("t", n=n)
    assert [event["n"] for event in bus.history] == [1, 2]
    assert not EventBus().history


async def test_of_two_who_hold_the_same_plan_one_gets_the_answer_for_once():
    bus = EventBus()
    bus.once("t", lambda event: 1)
    plan = bus._plans["t"]
    assert len(bus._ready(plan.legs)) == 1
    assert bus._ready(plan.legs) == []
