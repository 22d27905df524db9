"""One bus, any number of loops and threads."""

import asyncio
import gc
import os
import signal
import threading
import weakref

import pytest

from waybell_bus import EventBus


def in_thread(fn):
    """Run something in a thread of its own, and return what it does."""
    result = []

    def run():
        try:
            result.append((fn(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    value, error = result[0]
    if error is not None:
        raise error
    return value


def test_a_bus_made_without_a_loop_serves_one_after_another():
    bus, seen = EventBus(history=5), []

    @bus.on("limited", concurrency=1)
    async def limited(event):
        await asyncio.sleep(0)
        return event["n"]

    bus.on("thread", lambda event: event["n"], thread=True)
    bus.on("back", lambda event: seen.append(event["n"]))

    async def main(n):
        answers = await asyncio.gather(*(bus.emit("limited", n=n) for _ in range(3)))
        assert answers == [n] * 3
        assert await bus.emit("thread", n=n) == n
        async with bus.subscribe("queue") as events:
            await bus.publish("queue", n=n)
            assert (await anext(events))["n"] == n
        await bus.publish("back", n=n)
        await asyncio.sleep(0)

    for n in range(3):
        asyncio.run(main(n))
    assert seen == [0, 1, 2]
    assert len(bus._loops._works) == 1
    asyncio.run(bus.close())


def test_what_a_loop_left_undone_does_not_block_the_next():
    bus = EventBus(max_background=1)

    @bus.on("t", concurrency=1)
    async def hang(event):
        if event["n"] == 0:
            await asyncio.Event().wait()
        return event["n"]

    async def first():
        await bus.publish("t", n=0)
        bus_task = asyncio.create_task(bus.emit("t", n=0))
        await asyncio.sleep(0)
        assert not bus_task.done()

    async def second():
        await bus.publish("t", n=1)
        return await bus.emit("t", n=1)

    asyncio.run(first())
    assert asyncio.run(second()) == 1
    asyncio.run(bus.close())


def test_sync_doors_use_a_private_loop_where_there_is_none():
    bus = EventBus()

    @bus.on("t")
    async def handle(event):
        await asyncio.sleep(0)
        return event["n"], id(asyncio.get_running_loop())

    (one, loop), (two, same) = bus.emit_sync("t", n=1), bus.request_sync("t", n=2)
    assert (one, two, loop) == (1, 2, same)
    asyncio.run(bus.close())
    assert not [t for t in threading.enumerate() if t.name == "waybell-bus"]


def test_a_private_loop_ends_with_its_bus():
    bus = EventBus()
    bus.on("t", lambda event: None)
    bus.emit_sync("t")
    loops = weakref.ref(bus._loops)
    private, _ = bus._loops._private
    del bus
    gc.collect()
    assert loops() is None
    assert private.is_closed()


async def test_sync_doors_use_the_live_loop_from_other_threads():
    bus = EventBus()

    @bus.on("t")
    async def handle(event):
        return asyncio.get_running_loop()

    here = asyncio.get_running_loop()
    assert await bus.emit("t") is here
    assert await asyncio.to_thread(lambda: bus.emit_sync("t")) is here
    assert await asyncio.to_thread(lambda: bus.request_sync("t")) is here


def test_the_live_loop_is_known_in_a_second_run():
    bus = EventBus()

    @bus.on("t")
    async def handle(event):
        return asyncio.get_running_loop()

    async def main():
        here = await bus.emit("t")
        threaded = asyncio.get_running_loop().run_in_executor(
            None, lambda: bus.emit_sync("t")
        )
        return here is asyncio.get_running_loop() is await threaded

    assert asyncio.run(main())
    assert asyncio.run(main())


async def test_a_sync_door_in_a_running_loop_says_what_to_await():
    bus = EventBus()
    with pytest.raises(RuntimeError, match=r"'await bus\.emit"):
        bus.emit_sync("t")
    with pytest.raises(RuntimeError, match=r"'await bus\.request"):
        bus.request_sync("t")


def test_a_sync_door_raises_what_the_handler_does():
    bus = EventBus()
    bus.on("t", lambda event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bus.emit_sync("t")

    @bus.on("late")
    async def late(event):
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        bus.emit_sync("late")
    asyncio.run(bus.close())


def test_a_loop_that_stops_before_the_answer_is_an_error():
    bus, errors = EventBus(), []
    entered = threading.Event()

    @bus.on("t")
    async def forever(event):
        entered.set()
        await asyncio.Event().wait()

    def door():
        try:
            bus.emit_sync("t")
        except RuntimeError as error:
            errors.append(str(error))

    async def main():
        bus._loops.here()
        thread.start()
        await asyncio.to_thread(entered.wait)

    thread = threading.Thread(target=door)
    with asyncio.Runner() as runner:
        runner.run(main())
        thread.join(5)
        assert errors == ["the bus's loop stopped before the answer"]


async def test_a_queue_is_filled_from_other_threads():
    bus = EventBus()
    async with bus.subscribe("t") as events:
        reader = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        in_thread(lambda: asyncio.run(bus.emit("t", n=1)))
        assert (await reader)["n"] == 1


async def test_publishers_of_a_dead_loop_do_not_block_a_queue():
    bus = EventBus()

    async def dies():
        task = asyncio.create_task(bus.publish("t", n="lost"))
        await asyncio.sleep(0)
        bus_tasks.append(task)

    bus_tasks = []
    async with bus.subscribe("t", maxsize=1) as events:
        await bus.publish("t", n=0)
        loop = asyncio.new_event_loop()
        in_thread(lambda: loop.run_until_complete(dies()))
        bus_tasks[0]._log_destroy_pending = False
        loop.close()
        assert (await anext(events))["n"] == 0
        await bus.publish("t", n=1)
        assert (await anext(events))["n"] == 1


async def test_close_drains_other_live_loops_too():
    bus, log = EventBus(), []
    started = threading.Event()

    @bus.on("t")
    async def work(event):
        started.set()
        await asyncio.sleep(0.01)
        log.append(asyncio.get_running_loop())

    @bus.on("go")
    async def go(event):
        await bus.publish("t")

    in_thread(lambda: bus.emit_sync("go"))
    assert started.wait(5)
    await bus.close()
    assert len(log) == 1
    assert log[0] is not asyncio.get_running_loop()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12
def test_sync_doors_work_in_the_child_of_a_fork():
    bus = EventBus()
    bus.on("t", lambda event: os.getpid())
    assert bus.emit_sync("t") == os.getpid()
    child = os.fork()
    if not child:
        signal.alarm(10)  # Which ends it, should it hang.
        os._exit(bus.emit_sync("t") != os.getpid())
    assert os.waitpid(child, 0)[1] == 0
    assert bus.request_sync("t") == os.getpid()
    asyncio.run(bus.close())
