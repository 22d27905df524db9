"""Timeouts, concurrency, re-entrancy, threads, middleware."""

import asyncio
import contextvars
import threading

import pytest

from waybell_bus import EventBus, ReentrancyError


async def test_a_timeout_is_in_the_outcome_and_names_the_handler():
    bus = EventBus()

    @bus.on("t", timeout=0.001)
    async def hang(event):
        await asyncio.Event().wait()

    (outcome,) = await bus.gather("t")
    assert isinstance(outcome.error, TimeoutError)
    assert "hang took longer than 0.001 s" in str(outcome.error)
    with pytest.raises(TimeoutError, match="hang"):
        await bus.emit("t")
    bus.on("t", lambda event: "fine")
    assert [outcome.failed for outcome in await bus.gather("t")] == [True, False]


async def test_a_handlers_own_timeout_error_stays_what_it_is():
    bus = EventBus()

    @bus.on("t", timeout=60)
    async def fail(event):
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match=r"^mine$"):
        await bus.emit("t")


async def test_a_limit_is_kept_across_topics_and_plans(settle):
    bus, running, most = EventBus(), [0], [0]

    @bus.on("t.*", concurrency=2)
    async def work(event):
        running[0] += 1
        most[0] = max(most[0], running[0])
        await settle(3)
        running[0] -= 1
        return event["n"]

    sent = [bus.emit(f"t.{n % 3}", n=n) for n in range(10)]
    assert await asyncio.gather(*sent) == list(range(10))
    assert most == [2]


async def test_a_cancelled_wait_gives_its_turn_to_the_next(settle):
    bus = EventBus()
    gate = asyncio.Event()

    @bus.on("t", concurrency=1)
    async def work(event):
        await gate.wait()
        return event["n"]

    tasks = [asyncio.create_task(bus.emit("t", n=n)) for n in range(4)]
    await settle()
    tasks[1].cancel()
    await settle()
    gate.set()
    await settle(2)
    tasks[2].cancel()  # Perhaps just as it is given the place.
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[3]) == (0, 3)
    assert await bus.emit("t", n=5) == 5


async def test_re_entering_a_full_limit_raises_instead_of_hanging():
    bus = EventBus()

    @bus.on("t", concurrency=1)
    async def again(event):
        return await bus.emit("u")

    bus.on("u", lambda event: bus.emit("t"))
    with pytest.raises(ReentrancyError, match="again") as caught:
        await bus.emit("t")
    assert caught.value.size == 1


async def test_re_entering_a_limit_with_room_is_fine():
    bus = EventBus()

    @bus.on("t", concurrency=3)
    async def again(event):
        return event["n"] and await bus.emit("t", n=event["n"] - 1)

    assert await bus.emit("t", n=2) == 0
    with pytest.raises(ReentrancyError):
        await bus.emit("t", n=3)


async def test_two_who_wait_for_each_others_place_do_not_hang(settle):
    bus = EventBus()

    @bus.on("a", concurrency=1)
    async def first(event):
        await settle()
        return await bus.emit("b", deep=True) if "deep" not in event else "a"

    @bus.on("b", concurrency=1)
    async def second(event):
        await settle()
        return await bus.emit("a", deep=True) if "deep" not in event else "b"

    results = await asyncio.gather(bus.emit("a"), bus.emit("b"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        "ReentrancyError", "str"
    ]  # fmt: skip
    assert await bus.emit("a", deep=True) == "a"


async def test_a_place_that_somebody_else_will_free_is_waited_for(settle):
    bus = EventBus()
    release = asyncio.Event()

    @bus.on("t", concurrency=2)
    async def handle(event):
        if event["kind"] == "other":
            await release.wait()
        elif event["kind"] == "outer":
            return await bus.emit("t", kind="inner")
        return event["kind"]

    other = asyncio.create_task(bus.emit("t", kind="other"))
    outer = asyncio.create_task(bus.emit("t", kind="outer"))
    await settle()
    assert not outer.done()
    release.set()
    assert await asyncio.gather(other, outer) == ["other", "inner"]


async def test_thread_handlers_run_in_a_thread_in_the_senders_context():
    bus, var = EventBus(history=9), contextvars.ContextVar("var", default=0)

    @bus.on("t", thread=True)
    def work(event):
        seen = var.get(), threading.current_thread().name
        return *seen, bus.request_sync("inner")

    bus.on("inner", lambda event: event.parent)
    var.set(7)
    value, name, parent = await bus.emit("t")
    assert value == 7
    assert name.startswith("waybell-bus")
    assert parent == bus.history[0].id
    await bus.close()


async def test_nested_thread_handlers_raise_instead_of_exhausting_the_pool():
    async with EventBus(max_threads=2) as bus:

        @bus.on("t", thread=True)
        def again(event):
            return event["n"] and bus.emit_sync("t", n=event["n"] - 1)

        assert await bus.emit("t", n=1) == 0
        with pytest.raises(ReentrancyError, match="thread pool"):
            await bus.emit("t", n=2)


async def test_a_thread_keeps_its_place_until_it_is_done(settle):
    async with EventBus(max_threads=1) as bus:
        gate = threading.Event()

        @bus.on("slow", thread=True, timeout=0.001)
        def slow(event):
            gate.wait(5)

        bus.on("quick", lambda event: "quick", thread=True)
        with pytest.raises(TimeoutError):
            await bus.emit("slow")
        assert len(bus._loops.here().threads.holds) == 1
        waiting = asyncio.create_task(bus.emit("quick"))
        await settle()
        assert not waiting.done()
        gate.set()
        assert await waiting == "quick"


async def test_a_cancelled_wait_for_a_thread_leaves_the_pool_usable(settle):
    async with EventBus(max_threads=1) as bus:
        gate = threading.Event()
        bus.on("slow", lambda event: gate.wait(5), thread=True)
        tasks = [asyncio.create_task(bus.emit("slow")) for _ in range(3)]
        await settle()
        tasks[1].cancel()
        gate.set()
        assert await tasks[2] is True


async def test_middleware_wraps_every_delivery_outermost_first():
    bus, log = EventBus(), []

    def middleware(name):
        async def m(event, call_next):
            log.append(f"{name}>{call_next.handler.rsplit('.')[-1]}")
            try:
                return await call_next(event)
            finally:
                log.append(f"<{name}")

        return m

    bus.use(middleware("out"))
    bus.use(middleware("in"))

    async def waits(event): ...
    def sync(event): ...
    def threaded(event): ...

    for topic, fn, thread in (("a", waits, 0), ("b", sync, 0), ("c", threaded, 1)):
        bus.on(topic, fn, thread=bool(thread))
        for send in (bus.emit, bus.request, bus.gather, bus.publish):
            log.clear()
            await send(topic)
            await bus._loops.here().drain((), None)
            name = fn.__name__
            assert log == [f"out>{name}", f"in>{name}", "<in", "<out"], send
    await bus.close()


async def test_middleware_may_answer_change_or_repeat():
    bus = EventBus()
    calls = []
    bus.on("t", lambda event: calls.append(1) or len(calls))

    @bus.use
    async def policy(event, call_next):
        if event.get("answer"):
            return event["answer"]
        first = await call_next(event)
        return first * 100 if "again" not in event else await call_next(event)

    assert await bus.emit("t", answer="short") == "short"
    assert await bus.emit("t") == 100
    assert await bus.emit("t", again=True) == 3


async def test_middleware_added_later_reaches_topics_seen_before():
    bus = EventBus()
    bus.on("t", lambda event: 1)
    assert await bus.emit("t") == 1

    @bus.use
    async def double(event, call_next):
        return 2 * await call_next(event)

    assert await bus.emit("t") == 2


async def test_middleware_wraps_the_wait_and_sees_the_timeout():
    bus, seen = EventBus(), []

    @bus.on("t", timeout=0.001)
    async def hang(event):
        await asyncio.Event().wait()

    @bus.use
    async def watch(event, call_next):
        try:
            return await call_next(event)
        except TimeoutError as error:
            seen.append(error)
            raise

    with pytest.raises(TimeoutError):
        await bus.emit("t")
    assert len(seen) == 1


async def test_a_thread_that_never_began_gives_its_place_back():
    bus = EventBus(max_threads=1)
    bus.on("t", len, thread=True)
    work = bus._loops.here()
    work.pool().shutdown()
    with pytest.raises(RuntimeError):
        await bus.emit("t")
    assert work.threads.holds == set()
    work.end()
    assert await bus.emit("t", n=1) == 1
    await bus.close()


@pytest.mark.simulate(seeds=50)
async def test_waiting_for_a_place_does_not_count_as_running():
    bus = EventBus()

    @bus.on("t", timeout=3, concurrency=1)
    async def work(event):
        await asyncio.sleep(2)
        return event["n"]

    assert await asyncio.gather(*[bus.emit("t", n=n) for n in range(5)]) == [*range(5)]


async def test_waiting_for_a_thread_does_not_count_as_running():
    async with EventBus(max_threads=1) as bus:
        gate = threading.Event()
        bus.on("slow", lambda event: gate.wait(10), thread=True)
        bus.on("quick", lambda event: "quick", thread=True, timeout=0.25)
        slow = asyncio.create_task(bus.emit("slow"))
        quick = asyncio.create_task(bus.emit("quick"))
        await asyncio.wait([quick], timeout=0.3)
        assert not quick.done()
        gate.set()
        assert [await slow, await quick] == [True, "quick"]


async def test_what_a_thread_gives_to_be_awaited_is_awaited():
    async def answer():
        return "answer"

    async with EventBus() as bus:
        bus.on("t", lambda event: answer(), thread=True)
        assert await bus.emit("t") == "answer"
