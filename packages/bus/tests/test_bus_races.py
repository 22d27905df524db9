"""Threads that register and send at once."""

import asyncio
import gc
import sys
import threading
from collections import Counter

import pytest

from waybell_bus import EventBus


@pytest.fixture(autouse=True)
def switch_often():
    """Make the threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def race(*bodies):
    """Run each in a thread of its own, all from the same moment; raise what they do."""
    barrier, errors = threading.Barrier(len(bodies)), []

    def run(body):
        barrier.wait()
        try:
            body()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_registrations_from_many_threads_are_all_kept():
    bus = EventBus()

    def register(who):
        for n in range(100):
            bus.on(f"t.{n % 10}", lambda event, a=(who, n): a)
            bus.on("t.*", lambda event, a=(who, -n - 1): a)

    race(*(lambda who=who: register(who) for who in range(4)))
    answers = asyncio.run(bus.gather("t.3"))
    assert len(answers) == 4 * 10 + 4 * 100
    for who in range(4):
        mine = [o.value[1] for o in answers if o.value[0] == who]
        assert mine == [
            x for n in range(100) for x in ((n, -n - 1) if n % 10 == 3 else (-n - 1,))
        ]


def test_a_handler_is_heard_from_the_moment_it_is_registered_until_it_is_gone():
    bus = EventBus()
    bus.on("t", lambda event: "always")
    stop = threading.Event()

    def churn():
        try:
            for n in range(150):
                fn = bus.on("t" if n % 2 else "*", lambda event, n=n: n)
                answers = asyncio.run(bus.emit("t"))
                assert n in answers
                assert bus.off("t" if n % 2 else "*", fn)
                answers = asyncio.run(bus.emit("t"))
                assert answers == "always" or n not in answers
        finally:
            stop.set()

    def send():
        async def main():
            while not stop.is_set():
                answer = await bus.emit("t")
                assert answer == "always" or answer[0] == "always"
                with bus._plans.lock:
                    bus._plans.clear()
                await asyncio.sleep(0)

        asyncio.run(main())

    race(churn, send, send)


def test_once_answers_once_among_threads():
    bus, ran = EventBus(), Counter()

    def send():
        async def main():
            for n in range(30):
                await bus.emit(f"t.{n}")

        asyncio.run(main())

    for n in range(30):
        bus.once(f"t.{n}", lambda event: ran.update([event.topic]))
    race(send, send, send)
    assert ran == {f"t.{n}": 1 for n in range(30)}
    assert bus.describe() == {}


def test_weak_handlers_may_die_at_any_moment():
    bus = EventBus(unhandled="warn")
    stop = threading.Event()

    class Desk:
        def answer(self, event):
            return 1

    def churn():
        for n in range(300):
            desk = Desk()
            bus.on(f"t.{n % 3}", desk.answer, weak=True)
            if n % 50 == 0:
                gc.collect()
        stop.set()

    def send():
        async def main():
            n = 0
            while not stop.is_set():
                answer = await bus.emit(f"t.{n % 3}")
                assert answer in (None, 1) or set(answer) == {1}
                n += 1

        asyncio.run(main())

    race(churn, send, send)
    bus.on("last", len)
    assert list(bus.describe()) == ["last"]


def test_sync_doors_from_many_threads_all_get_their_own_answer():
    bus = EventBus()

    @bus.on("t")
    async def echo(event):
        await asyncio.sleep(0)
        return event["n"]

    def ask(who):
        for n in range(30):
            assert bus.emit_sync("t", n=(who, n)) == (who, n)

    race(*(lambda who=who: ask(who) for who in range(4)))
    asyncio.run(bus.close())


def test_counts_from_many_threads_add_up():
    bus = EventBus()
    bus.on("t", lambda event: 1 / 0)

    def send():
        async def main():
            for _ in range(200):
                with pytest.raises(ZeroDivisionError):
                    await bus.emit("t")

        asyncio.run(main())

    race(send, send, send, send)
    assert bus.stats()["handler_errors"] == 800


def test_a_queue_across_threads_loses_nothing_and_keeps_each_order():
    bus, got = EventBus(), []
    ready = threading.Event()

    def read():
        async def main():
            async with bus.subscribe("t", maxsize=4) as events:
                ready.set()
                while len(got) < 300:
                    event = await anext(events)
                    got.append((event["who"], event["n"]))

        asyncio.run(main())

    def send(who):
        async def main():
            for n in range(100):
                await bus.publish("t", who=who, n=n)

        ready.wait()
        asyncio.run(main())

    race(read, *(lambda who=who: send(who) for who in range(3)))
    assert len(set(got)) == 300
    for who in range(3):
        assert [n for w, n in got if w == who] == list(range(100))


def test_muting_waits_for_a_plan_under_way():
    bus = EventBus()
    bus.on("t", lambda event: 1)
    signal = bus.signal("t")
    mute = threading.Thread(target=setattr, args=(signal, "is_muted", True))
    with bus._plans.lock:
        mute.start()
        while not signal.is_muted:
            pass
        bus._plans["t"] = bus._plans._compile("u", ["u"])  # Made before the change.
    mute.join()
    assert "t" not in bus._plans


def test_a_weak_handlers_death_waits_for_nobody_and_disturbs_no_plan():
    bus, taken, free = EventBus(), threading.Event(), threading.Event()

    def handle(event):
        return 1

    def hold():
        with bus._plans.lock:
            taken.set()
            free.wait(10)

    bus.on("*", handle, weak=True)
    plan = bus._plans["t"]
    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(10)
    del handle
    gc.collect()
    assert bus._plans["t"] is plan
    free.set()
    holder.join()
    assert asyncio.run(bus.emit("t")) is None
