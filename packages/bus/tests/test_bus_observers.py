"""Watchers see everything and change nothing."""

import asyncio
import logging

import pytest

from waybell_bus import EventBus, Outcome


async def send_all(bus):
    await bus.emit("t", n=1)
    await bus.request("t", n=2)
    await bus.gather("t", n=3)
    await bus.publish("t", n=4)
    async with bus.stream("t", n=5) as outcomes:
        async for _ in outcomes:
            pass


async def test_a_watcher_sees_every_verb_before_the_handlers_do():
    bus, log = EventBus(), []
    bus.on("t", lambda event: log.append(-event["n"]))
    bus.observe("**", lambda event: log.append(event["n"]))
    await send_all(bus)
    await bus.close()
    assert sorted(log) == [-5, -4, -3, -2, -1, 1, 2, 3, 4, 5]
    assert all(log.index(n) < log.index(-n) for n in range(1, 6))


@pytest.mark.parametrize("wait", [False, True])
async def test_settled_watchers_get_each_outcome(wait):
    bus, seen = EventBus(), []

    @bus.on("t")
    async def fine(event):
        return "fine"

    @bus.on("*")
    async def fails(event):
        raise ValueError

    def watch(event, outcome):
        assert isinstance(outcome, Outcome)
        seen.append((event["n"], outcome.value, type(outcome.error)))

    async def watch_beside(event, outcome):
        await asyncio.sleep(0)
        watch(event, outcome)

    bus.observe("t", watch_beside if wait else watch, settled=True)
    bus.off("*", fails)
    await send_all(bus)
    bus.on("*", fails)
    with pytest.raises(ExceptionGroup):
        await bus.emit("t", n=6)
    await bus.close()
    assert sorted(seen, key=str) == [
        *((n, "fine", type(None)) for n in range(1, 7)),
        (6, None, ValueError),
    ]


async def test_settled_watchers_are_told_of_cancellations(settle):
    bus, seen = EventBus(), []
    bus.observe("t", lambda event, outcome: seen.append(outcome.error), settled=True)

    @bus.on("t")
    async def forever(event):
        await asyncio.Event().wait()

    task = asyncio.create_task(bus.emit("t"))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(error) for error in seen] == [asyncio.CancelledError]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_a_watcher_that_fails_changes_nothing_and_is_reported(error):
    told = []
    bus = EventBus(on_error=lambda event, outcome: told.append(outcome))
    bus.on("t", lambda event: "answer")

    @bus.observe("t")
    def fails(event):
        raise error

    @bus.observe("t", settled=True)
    def fails_too(event, outcome):
        raise error

    assert await bus.emit("t") == "answer"
    assert [o.handler.rsplit(".")[-1] for o in told] == ["fails", "fails_too"]
    assert [type(o.error) for o in told] == [error, error]
    assert bus.stats()["watcher_errors"] == 2 == len(bus.errors)
    assert bus.stats()["handler_errors"] == 0


async def test_an_async_watcher_delays_nobody_and_may_fail():
    told = []
    bus = EventBus(on_error=lambda event, outcome: told.append(outcome))
    gate, seen = asyncio.Event(), []

    @bus.observe("t")
    async def watch(event):
        seen.append(event["n"])
        await gate.wait()
        raise ValueError

    bus.observe("t", lambda event: gate.wait())
    bus.on("t", lambda event: "answer")
    assert await bus.emit("t", n=1) == "answer"
    assert seen == []
    gate.set()
    await bus.close()
    assert seen == [1]
    assert len(told) == 1


async def test_watchers_run_in_the_context_of_the_sender():
    import contextvars

    var = contextvars.ContextVar("var", default=0)
    bus, seen = EventBus(history=9), []
    bus.on("t", lambda event: None)

    @bus.observe("t")
    async def watch(event):
        await bus.publish("seen")
        seen.append(var.get())

    bus.observe("seen", lambda event: seen.append(event.parent))
    var.set(5)
    await bus.emit("t")
    var.set(6)
    await bus.close()
    assert seen == [bus.history[0].id, 5]


async def test_async_watchers_are_bounded_in_number(caplog):
    bus = EventBus(max_watching=2)
    gate, seen = asyncio.Event(), []

    @bus.observe("t")
    async def watch(event):
        await gate.wait()
        seen.append(event["n"])

    with caplog.at_level(logging.WARNING, "waybell_bus"):
        for n in range(5):
            await bus.emit("t", n=n)
    gate.set()
    await bus.close()
    assert seen == [0, 1]
    assert bus.stats()["dropped_watchers"] == 3
    assert sum("watches too slowly" in r.getMessage() for r in caplog.records) == 1


async def test_slow_watchers_are_counted_and_named_once(caplog):
    bus = EventBus(slow=0)
    bus.on("t", lambda event: None)
    bus.observe("t", lambda event: None)
    for _ in range(3):
        await bus.emit("t")
    assert bus.stats()["slow_watchers"] == 3
    assert len(caplog.records) == 1


async def test_a_watcher_of_a_limited_handler_may_call_it(settle):
    bus, seen = EventBus(), []

    @bus.on("t", concurrency=1)
    async def handle(event):
        await settle()
        return event["n"]

    @bus.observe("t")
    async def watch(event):
        if event["n"]:
            seen.append(await bus.emit("t", n=0))

    assert await bus.emit("t", n=1) == 1
    await bus.close()
    assert seen == [0]


async def test_a_watcher_that_died_is_no_watcher():
    bus = EventBus()

    class Desk:
        def watch(self, event):
            raise AssertionError

    desk = Desk()
    bus.observe("t", desk.watch, weak=True)
    plan = bus._plans["t"]
    del desk
    bus._tell(plan.watchers[0], None, (None,), asyncio.get_running_loop().time)
    assert bus.stats()["watcher_errors"] == 0


async def test_a_receiver_that_is_false_is_still_called():
    class Kept(list):
        def __call__(self, event):
            self.append(event.topic)
            return "kept"

    bus, handler, watcher = EventBus(), Kept(), Kept()
    bus.on("t", handler)
    bus.observe("t", watcher)
    assert await bus.request("t") == "kept"
    assert handler == watcher == ["t"]
