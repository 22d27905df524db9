"""Background deliveries and queues."""

import asyncio
import logging

import pytest

from waybell_bus import BusClosedError, EventBus, QueueFullError, ReentrancyError


async def test_publish_waits_for_no_answer(settle):
    bus = EventBus()
    gate, log = asyncio.Event(), []

    @bus.on("t")
    async def slow(event):
        await gate.wait()
        log.append(event["n"])

    bus.on("t", lambda event: log.append("sync"))
    assert await bus.publish("t", n=1) is None
    await settle()
    assert log == ["sync"]
    assert bus.stats()["background"] == 1
    gate.set()
    await bus.close()
    assert log == ["sync", 1]


async def test_publish_waits_for_room_and_no_longer(settle):
    bus = EventBus(max_background=2)
    gates = [asyncio.Event() for _ in range(4)]

    @bus.on("t")
    async def work(event):
        await gates[event["n"]].wait()

    async def send():
        for n in range(4):
            await bus.publish("t", n=n)

    sender = asyncio.create_task(send())
    await settle()
    assert bus.stats()["background"] == 2
    assert not sender.done()
    gates[1].set()
    await settle()
    gates[0].set()
    await sender
    for gate in gates:
        gate.set()
    await bus.close()


async def test_a_cancelled_publisher_leaves_what_it_published(settle):
    bus = EventBus(max_background=1)
    gate, log = asyncio.Event(), []

    @bus.on("t")
    async def work(event):
        await gate.wait()
        log.append(event["n"])

    await bus.publish("t", n=1)
    task = asyncio.create_task(bus.publish("t", n=2))
    await settle()
    task.cancel()
    await settle()
    gate.set()
    await bus.publish("t", n=3)
    await bus.close()
    assert log == [1, 3]


async def test_errors_go_to_on_error_and_are_kept():
    told = []
    bus = EventBus(on_error=lambda *args: told.append(args))

    @bus.on("t")
    async def fail(event):
        raise ValueError("mine")

    await bus.publish("t", n=1)
    await bus.close()
    ((event, outcome),) = told
    assert event["n"] == 1
    assert outcome.handler.endswith("fail")
    assert str(outcome.error) == "mine"
    assert list(bus.errors) == told


async def test_errors_are_logged_where_nobody_is_told(caplog):
    bus = EventBus()
    bus.on("t", lambda event: 1 / 0)
    with caplog.at_level(logging.ERROR, "waybell_bus"):
        await bus.publish("t")
        await bus.close()
    (record,) = caplog.records
    assert "failed on t" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


async def test_an_on_error_that_fails_is_logged_and_counted(caplog):
    def on_error(event, outcome):
        raise KeyError

    bus = EventBus(on_error=on_error)
    bus.on("t", lambda event: 1 / 0)
    await bus.publish("t")
    await bus.close()
    assert "on_error failed" in caplog.records[0].getMessage()
    assert bus.stats()["on_error_errors"] == 1


async def test_publishing_in_the_background_when_all_do_so_raises_instead_of_hanging():
    errors = []
    bus = EventBus(max_background=2, on_error=lambda e, o: errors.append(o.error))
    started = asyncio.Barrier(2)

    @bus.on("t")
    async def again(event):
        await started.wait()
        await bus.publish("u")

    bus.on("u", lambda event: None)
    await bus.publish("t")
    await bus.publish("t")
    await bus.close()
    assert [type(error) for error in errors] == [ReentrancyError]


async def test_published_handlers_are_inside_nothing_of_the_publisher(settle):
    bus, log = EventBus(max_depth=2), []

    @bus.on("t", concurrency=1)
    async def handle(event):
        if event["n"]:
            await bus.publish("t", n=event["n"] - 1)
        log.append(event["n"])

    await bus.emit("t", n=10)
    await settle(100)
    await bus.close()
    assert log == list(range(10, -1, -1))


async def test_a_queue_gets_what_matches_in_order_while_it_is_open():
    bus = EventBus()
    await bus.emit("a.1")
    async with bus.subscribe("a.*") as events:
        assert len(events) == 0
        assert events
        await bus.emit("a.2")
        await bus.publish("a.3")
        await bus.gather("b.1")
        async with bus.stream("a.4"):
            pass
        bus.on("a.5", len)
        await bus.request("a.5")
        assert len(events) == 4
        assert [(await anext(events)).topic for _ in range(4)] == [
            "a.2", "a.3", "a.4", "a.5"
        ]  # fmt: skip
    await bus.emit("a.6")
    assert [event async for event in events] == []


async def test_only_publish_waits_on_a_queue_that_blocks(settle):
    bus = EventBus()
    async with bus.subscribe("t", maxsize=2) as events:
        for n in range(2):
            await bus.publish("t", n=n)
        blocked = [asyncio.create_task(bus.publish("t", n=n)) for n in (2, 3)]
        await settle()
        assert not any(task.done() for task in blocked)
        await bus.emit("t", n="dropped")
        assert events.dropped == bus.stats()["dropped"] == 1
        got = [(await anext(events))["n"] for _ in range(4)]
        assert got == [0, 1, 2, 3]
        await asyncio.gather(*blocked)


@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_oldest", [2, 3]), ("drop_newest", [0, 1])]
)
async def test_a_queue_may_drop_and_counts_it(overflow, kept):
    bus = EventBus()
    async with bus.subscribe("t", maxsize=2, overflow=overflow) as events:
        for n, send in enumerate((bus.publish, bus.emit, bus.publish, bus.gather)):
            await send("t", n=n)
        assert events.dropped == 2
        assert [(await anext(events))["n"] for _ in range(2)] == kept


async def test_a_queue_may_refuse_before_anybody_is_told():
    bus, told = EventBus(), []
    bus.observe("t", told.append)
    bus.on("t", told.append)
    async with bus.subscribe("*", maxsize=1, overflow="error") as events:
        await bus.emit("t")
        told.clear()
        for send in (bus.emit, bus.publish, bus.gather, bus.request):
            with pytest.raises(QueueFullError) as caught:
                await send("t")
            assert (caught.value.pattern, caught.value.maxsize) == ("*", 1)
        with pytest.raises(QueueFullError):
            async with bus.stream("t"):
                pass
        with pytest.raises(QueueFullError):
            events(None)
        assert told == []
        assert events.dropped == 0


@pytest.mark.parametrize("settings", [{"maxsize": 0}, {"overflow": "explode"}])
def test_a_queue_refuses_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match="no queue"):
        EventBus().subscribe("t", **settings)


async def test_several_readers_share_a_queue_and_lose_nothing(settle):
    bus, got = EventBus(), []
    async with bus.subscribe("t") as events:

        async def read():
            async for event in events:
                got.append(event["n"])
                await asyncio.sleep(0)

        readers = [asyncio.create_task(read()) for _ in range(3)]
        await settle()
        await bus.emit("t", n=0)
        readers[0].cancel()  # Just as it is woken.
        for n in range(1, 10):
            await bus.emit("t", n=n)
        await settle(40)
        assert sorted(got) == list(range(10))
        events.close(drain=True)
        await asyncio.gather(*readers, return_exceptions=True)


async def test_a_cancelled_publisher_leaves_the_line(settle):
    bus = EventBus()
    async with bus.subscribe("t", maxsize=1) as events:
        await bus.publish("t", n=0)
        tasks = [asyncio.create_task(bus.publish("t", n=n)) for n in (1, 2)]
        await settle()
        tasks[0].cancel()
        await settle()
        assert [(await anext(events))["n"] for _ in range(2)] == [0, 2]
        await tasks[1]


async def test_leaving_the_block_lets_waiting_publishers_go(settle):
    bus = EventBus()
    async with bus.subscribe("t", maxsize=1) as events:
        await bus.publish("t")
        task = asyncio.create_task(bus.publish("t"))
        await settle()
    await task
    assert events.dropped == 1
    await events.put(None)
    assert events.dropped == 2


async def test_closing_ends_queues_after_what_is_in_them():
    bus = EventBus()
    async with bus.subscribe("t") as drained:
        await bus.emit("t", n=1)
        await bus.close()
        assert [event["n"] async for event in drained] == [1]
    with pytest.raises(BusClosedError):
        async with bus.subscribe("t"):
            pass


async def test_closing_at_once_ends_queues_unread(settle):
    bus = EventBus()
    async with bus.subscribe("t") as events:
        waiting = asyncio.create_task(anext(bus_end(events)))
        await settle()
        assert not waiting.done()
        await bus.close(drain=False)
        assert await waiting == []


async def bus_end(events):
    yield [event async for event in events]


async def test_close_waits_for_what_was_published_and_what_that_sends():
    bus, log = EventBus(), []

    @bus.on("first")
    async def first(event):
        await asyncio.sleep(0.001)
        await bus.emit("second")
        await bus.publish("third")

    bus.on("second", lambda event: log.append(2))

    @bus.on("third")
    async def third(event):
        await asyncio.sleep(0.001)
        log.append(3)

    await bus.publish("first")
    closing = asyncio.create_task(bus.close())
    await asyncio.sleep(0)
    with pytest.raises(BusClosedError):
        await bus.emit("second")
    await closing
    assert log == [2, 3]
    for send in (bus.emit, bus.request, bus.gather, bus.publish):
        with pytest.raises(BusClosedError, match="second"):
            await send("second")
    with pytest.raises(BusClosedError):
        async with bus.stream("second"):
            pass
    for send in (bus.emit_sync, bus.request_sync):
        with pytest.raises(BusClosedError):
            send("second")
    await bus.close()


async def test_close_waits_no_longer_than_told():
    bus, log = EventBus(), []

    @bus.on("t")
    async def hang(event):
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    await bus.publish("t")
    await asyncio.sleep(0)
    await bus.close(timeout=0.001)
    assert log == ["cancelled"]


async def test_close_without_drain_cancels():
    bus, log = EventBus(), []

    @bus.on("t")
    async def hang(event):
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    await bus.publish("t")
    await asyncio.sleep(0)
    await bus.close(drain=False, timeout=None)
    assert log == ["cancelled"]
    assert not bus.errors


async def test_a_published_handler_may_close_the_bus(settle):
    bus, log = EventBus(), []

    @bus.on("stop")
    async def stop(event):
        await bus.emit("really")
        log.append("closed")

    bus.on("really", lambda event: bus.close())
    bus.on("*", lambda event: None, priority=-1)
    await bus.publish("stop")
    await settle(100)
    assert log == ["closed"]


async def test_a_block_closes_the_bus_and_drains_unless_it_fails():
    log = []

    async def work(event):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.append(1)

    async with EventBus() as bus:
        bus.on("t", work)
        await bus.publish("t")
    assert log == [1]

    async def fails():
        async with bus:
            bus.on("t", work)
            await bus.publish("t")
            raise ZeroDivisionError

    bus = EventBus()
    with pytest.raises(ZeroDivisionError):
        await fails()
    assert log == [1]
    with pytest.raises(BusClosedError):
        await bus.emit("t")


def test_a_subscription_may_be_entered_again_in_another_run():
    bus = EventBus()
    events = bus.subscribe("t", overflow="drop_newest")

    async def main(n):
        async with events:
            await bus.publish("t", n=n)
            return (await anext(events))["n"]

    assert [asyncio.run(main(1)), asyncio.run(main(2))] == [1, 2]
    assert events.dropped == 0


@pytest.mark.parametrize("role", ["handler", "watcher"])
async def test_several_in_the_background_may_close_the_bus(role, settle):
    bus, closed = EventBus(), []

    async def stop(event):
        await settle()
        await bus.close()
        closed.append(event["n"])

    (bus.on if role == "handler" else bus.observe)("stop", stop)
    for n in range(3):
        await bus.publish("stop", n=n)
    async with asyncio.timeout(10):  # And not only once their time has run out.
        await bus.close()
        await settle()
    assert sorted(closed) == [0, 1, 2]
