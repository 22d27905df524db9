"""What an event is."""

import asyncio
import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping, MutableMapping

import pytest

from waybell_bus import Event, EventBus, Outcome


async def sent(bus: EventBus, topic: str = "t", /, **fields: object) -> Event:
    events: list[Event] = []
    with bus.subscribed(topic, events.append):
        await bus.emit(topic, **fields)
    return events[0]


async def test_an_event_is_a_read_only_mapping_of_its_fields():
    event = await sent(EventBus(), a=1, b="two")
    assert dict(event) == {"a": 1, "b": "two"} == event
    assert isinstance(event, Mapping)
    assert not isinstance(event, MutableMapping)
    assert (event["a"], event.get("c"), len(event), "b" in event) == (1, None, 2, True)
    assert {**event} == {"a": 1, "b": "two"}
    assert repr(event) == "<Event t {'a': 1, 'b': 'two'}>"
    with pytest.raises(TypeError):
        event["a"] = 2


async def test_a_field_asked_for_as_an_attribute_is_told_to_be_an_item():
    event = await sent(EventBus(), prompt="hi", _private=1)
    with pytest.raises(AttributeError, match=r"a field is an item: event\['prompt'\]"):
        event.prompt  # noqa: B018 - the question is what asking says
    for name in ("topik", "_private", "_nothing"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'$"):
            getattr(event, name)
    assert not hasattr(event, "prompt")
    assert copy.copy(event) == copy.deepcopy(event) == event


def test_an_event_that_nobody_filled_in_says_so():
    for name in ("topic", "root", "_fields"):
        with pytest.raises(AttributeError):
            getattr(Event(), name)


async def test_an_event_without_fields_is_still_true():
    event = await sent(EventBus())
    assert event
    assert not len(event)


async def test_fields_may_have_the_name_of_any_parameter():
    names = ["topic", "self", "name", "fn", "event", "fields", "id", "time", "sender"]
    fields = dict.fromkeys(names, 1)
    bus = EventBus()
    event = await sent(bus, **fields)
    assert event == fields
    bus.on("x", dict)
    bus.on("x", len)
    assert await bus.emit("x", **fields) == [fields, len(names)]
    assert [o.value for o in await bus.gather("x", **fields)] == [fields, len(names)]
    async with bus.stream("x", **fields) as outcomes:
        assert len([outcome async for outcome in outcomes]) == 2
    await bus.publish("x", **fields)
    bus.on("y", dict)
    assert await bus.request("y", **fields) == fields
    assert await asyncio.to_thread(lambda: bus.request_sync("y", **fields)) == fields
    assert await asyncio.to_thread(lambda: bus.emit_sync("y", **fields)) == fields


async def test_its_time_is_when_it_was_sent():
    ticks = iter([10.5, 11.5])
    bus = EventBus(now=lambda: next(ticks))
    assert (await sent(bus)).time == 10.5
    assert (await sent(bus)).time == 11.5


async def test_a_first_event_is_its_own_root():
    event = await sent(EventBus())
    assert (event.parent, event.root) == (None, event.id)


async def test_events_sent_while_handling_one_are_its_children():
    bus = EventBus(history=10)

    @bus.on("a")
    async def handle(event):
        await bus.emit("b")

    @bus.on("b")
    async def handle_too(event):
        await asyncio.gather(bus.request("c"), bus.gather("c"), bus.publish("c"))

    bus.on("c", lambda event: None)
    await bus.emit("a")
    await bus.emit("c")
    a, b, *rest, last = bus.history
    assert (b.parent, b.root) == (a.id, a.id)
    assert {(c.parent, c.root) for c in rest} == {(b.id, a.id)}
    assert (last.parent, last.root) == (None, last.id)
    assert len({event.id for event in bus.history}) == 6


async def test_causality_crosses_buses_and_tasks():
    one, other = EventBus(), EventBus(history=1)

    @one.on("a")
    async def handle(event):
        await asyncio.create_task(other.emit("b"))
        return event.id

    assert await one.emit("a") == other.history[0].parent


def test_an_id_is_the_same_to_every_thread():
    async def main() -> Event:
        return await sent(EventBus())

    for _ in range(50):
        event = asyncio.run(main())
        barrier = threading.Barrier(4)
        ids: list[str] = []

        def ask(event=event, barrier=barrier, ids=ids) -> None:
            barrier.wait()
            ids.append(event.id)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ids_stay_unique_after_a_fork():
    code = (
        "import asyncio, os\n"
        "from waybell_bus import EventBus\n"
        "bus = EventBus(history=1)\n"
        "asyncio.run(bus.emit('a')); bus.history[0].id\n"
        "child = os.fork()\n"
        "asyncio.run(bus.emit('a')); os.write(1, bus.history[0].id.encode() + b' ')\n"
        "os.waitpid(child, 0) if child else os._exit(0)\n"
    )
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ids = out.stdout.split()
    assert len(ids) == 2 == len(set(ids))


async def test_an_event_goes_through_json_and_pickle_with_its_identity():
    bus = EventBus(history=2)

    @bus.on("a")
    async def handle(event):
        await bus.emit("b", text="hello")

    await bus.emit("a", n=1)
    for event in bus.history:
        described = event.to_dict()
        for again in (
            Event.from_dict(json.loads(json.dumps(described))),
            pickle.loads(pickle.dumps(event)),
        ):
            assert again.to_dict() == described
            assert again == event


def test_an_outcome_says_whether_it_failed():
    assert not Outcome("h", None, None, 0.1).failed
    assert Outcome("h", None, ValueError(), 0.1).failed


async def test_what_an_event_is_cannot_be_set():
    bus = EventBus()
    event = await bus.emit("t") or bus.dead_letters[0]
    for name in ("topic", "time", "id", "parent", "root"):
        with pytest.raises(AttributeError):
            setattr(event, name, "else")
