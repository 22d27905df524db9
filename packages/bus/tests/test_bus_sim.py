"""A bus under a thousand schedules, with cancellations anywhere."""

import asyncio

import pytest

from waybell_bus import EventBus, ReentrancyError


pytestmark = pytest.mark.soak


def balanced(bus: EventBus) -> bool:
    """Whether nothing is held, waited for or running any more."""
    work = bus._loops.here()
    routes = [route for _, found in bus._plans.handlers.all() for route in found]
    limits = [work.room, work.threads, *(x for r in routes for x in r.limits.values())]
    return not work.tasks and not any(limit.holds or limit._queue for limit in limits)


async def pause(rng) -> None:
    await asyncio.sleep(rng.choice([0, 0, 1, 2]))


@pytest.mark.simulate(seeds=1000)
async def test_what_is_published_is_delivered_once_and_in_order(rng):
    bus, handled, read = EventBus(max_background=2), [], []

    @bus.on("t.*")
    async def handle(event):
        await pause(rng)
        handled.append((event["who"], event["n"]))

    async def send(who):
        for n in range(4):
            await bus.publish(f"t.{who}", who=who, n=n)
            await pause(rng)

    async def consume(events):
        async for event in events:
            assert len(events) <= events.maxsize
            read.append((event["who"], event["n"]))
            await pause(rng)

    async with bus.subscribe("t.**", maxsize=rng.choice([1, 2, 3])) as events:
        reader = asyncio.create_task(consume(events))
        await asyncio.gather(*(send(who) for who in range(3)))
        await bus.close()
        await reader
    everything = [(who, n) for who in range(3) for n in range(4)]
    assert sorted(handled) == everything == sorted(read)
    for who in range(3):
        assert [n for w, n in read if w == who] == [0, 1, 2, 3]
    assert events.dropped == 0
    assert balanced(bus)


@pytest.mark.simulate(seeds=1000)
async def test_readers_and_writers_cancelled_anywhere_lose_and_repeat_nothing(rng):
    bus, sent, read = EventBus(), set(), []

    async def send(n):
        await pause(rng)
        await bus.publish("t", n=n)
        sent.add(n)

    async def consume(events):
        async for event in events:
            read.append(event["n"])
            await pause(rng)

    async with bus.subscribe("t", maxsize=rng.choice([1, 2])) as events:
        writers = [asyncio.create_task(send(n)) for n in range(8)]
        readers = [asyncio.create_task(consume(events)) for _ in range(3)]
        for victim in (rng.choice(writers), rng.choice(writers), rng.choice(readers)):
            await pause(rng)
            victim.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await bus.close()
        await asyncio.gather(*readers, return_exceptions=True)
        left = [event["n"] async for event in events]
    # A reader cancelled between taking an event and saying so still has taken it.
    assert len(read + left) == len(set(read + left))
    assert sent <= set(read + left)
    assert not events._readers
    assert not events._writers


@pytest.mark.simulate(seeds=1000)
async def test_cancelled_anywhere_no_place_and_no_task_is_left_behind(rng):
    bus, running = EventBus(max_background=2, on_error=lambda e, o: None), [0]

    @bus.on("a.*", concurrency=2)
    async def limited(event):
        running[0] += 1
        assert running[0] <= 2
        try:
            await pause(rng)
            if rng.random() < 0.2:
                raise ValueError
            if rng.random() < 0.3:
                await bus.publish("b.x")
        finally:
            running[0] -= 1

    @bus.on("a.x", timeout=1)
    async def hurried(event):
        await pause(rng)
        await bus.request("b.x")

    @bus.on("b.*", concurrency=1)
    async def inner(event):
        await pause(rng)
        if rng.random() < 0.3:
            await bus.gather("a.x")

    bus.on("a.x", lambda event: rng.random(), thread=True)

    async def stream():
        async with bus.stream("a.x") as outcomes:
            async for _ in outcomes:
                if rng.random() < 0.3:
                    break

    verbs = [lambda: bus.emit("a.x"), lambda: bus.gather("a.x"), stream]
    verbs.append(lambda: bus.publish("a.x"))
    tasks = [asyncio.create_task(rng.choice(verbs)()) for _ in range(6)]
    for _ in range(3):
        await pause(rng)
        rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close(drain=rng.random() < 0.7, timeout=100)
    await asyncio.sleep(5)
    assert balanced(bus)
    assert running == [0]
    assert [task for task in asyncio.all_tasks() if not task.done()] == [
        asyncio.current_task()
    ]


@pytest.mark.simulate(seeds=1000)
async def test_limits_that_wait_for_each_other_never_hang(rng):
    bus = EventBus()

    def handler(name):
        async def handle(event):
            await pause(rng)
            if event["left"]:
                other = rng.choice("abc")
                await bus.emit(other, left=event["left"] - 1)

        bus.on(name, handle, concurrency=rng.choice([1, 2]))

    for name in "abc":
        handler(name)
    sent = (
        bus.emit(rng.choice("abc"), left=rng.choice([0, 1, 2, 3])) for _ in range(5)
    )
    results = await asyncio.gather(*sent, return_exceptions=True)
    assert all(r is None or isinstance(r, ReentrancyError) for r in results)
    assert balanced(bus)


@pytest.mark.simulate(seeds=1000)
async def test_gather_is_whole_or_cancelled_whatever_the_schedule(rng):
    bus, ended = EventBus(), []

    def handler(name):
        async def handle(event):
            try:
                await pause(rng)
                if rng.random() < 0.2:
                    raise asyncio.CancelledError
                return name
            finally:
                ended.append(name)

        bus.on("t", handle)

    for name in "abcd":
        handler(name)
    task = asyncio.create_task(bus.gather("t"))
    if rng.random() < 0.5:
        await pause(rng)
        task.cancel()
    try:
        outcomes = await task
    except asyncio.CancelledError:
        assert task.cancelling()
    else:
        assert [o.value or "abcd"[i] for i, o in enumerate(outcomes)] == list("abcd")
        assert sorted(ended) == list("abcd")
    assert asyncio.all_tasks() == {asyncio.current_task()}
