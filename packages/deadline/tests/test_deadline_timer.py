"""One timer serves all the walls of a loop, and leaves nothing behind."""

import asyncio
import gc
import weakref
from contextlib import suppress
from contextvars import ContextVar

import pytest

from waybell_deadline import Deadline, DeadlineExceeded
from waybell_deadline._clock import TIMER
from waybell_deadline._timer import timer_of
from waybell_sim import simulate


def armed():
    """When the timer of the running loop is armed for, None when it is not."""
    timer = timer_of(asyncio.get_running_loop())
    return timer._handle and timer._handle.when()


async def test_the_timer_is_armed_for_the_earliest_wall_and_stopped_by_the_last() -> (
    None
):
    async with Deadline(60) as outer:
        assert armed() == outer._expires
        async with Deadline(30) as inner:
            assert armed() == inner._expires
            async with Deadline(40):
                assert armed() == inner._expires
        assert armed() == inner._expires  # waking once for nothing is cheaper
    assert armed() is None


async def test_a_deadline_that_never_passes_arms_nothing() -> None:
    async with Deadline.never():
        assert armed() is None


async def test_walls_that_were_left_do_not_pile_up_behind_one_that_stays() -> None:
    heap = timer_of(asyncio.get_running_loop())._heap
    async with Deadline(60):
        for _ in range(1000):
            async with Deadline(600):
                assert len(heap) <= 21
        for _ in range(1000):
            async with Deadline(30):
                assert len(heap) <= 21
    assert heap == []


def test_a_wake_for_a_wall_that_was_left_arms_for_the_next() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with suppress(DeadlineExceeded):
            async with Deadline(10):
                async with Deadline(1):
                    pass
                await asyncio.sleep(2)
                assert armed() == 10
                await asyncio.sleep(100)
        assert loop.time() == 10

    simulate(main, seeds=20)


def test_walls_of_many_tasks_each_end_when_they_are_due() -> None:
    async def main(rng) -> None:
        loop = asyncio.get_running_loop()

        async def wait(seconds: int, early: bool) -> None:
            await asyncio.sleep(rng.choice((0, 1)))
            begun = loop.time()
            try:
                async with Deadline(seconds):
                    await asyncio.sleep(seconds / 2 if early else 10**6)
            except DeadlineExceeded:
                assert loop.time() == begun + seconds
            else:
                assert early

        waits = [(rng.choice((1, 1, 2, 3, 8)), rng.random() < 0.5) for _ in range(30)]
        await asyncio.gather(*[wait(*each) for each in waits])
        assert armed() is None

    simulate(main, seeds=200)


def test_a_loop_is_forgotten_with_its_timer() -> None:
    async def main():
        with suppress(DeadlineExceeded):
            async with Deadline(0.001):
                await asyncio.sleep(1)
        async with Deadline(60):
            return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    gc.collect()
    assert loop() is None


async def test_an_armed_timer_keeps_nothing_of_who_armed_it() -> None:
    class Thing:
        pass

    variable: ContextVar = ContextVar("thing")

    async def visitor():
        thing = Thing()
        variable.set(thing)
        async with Deadline(30):
            return weakref.ref(thing)

    async with Deadline(60):
        thing = await asyncio.create_task(visitor())
        await asyncio.sleep(
            0
        )  # this turn of the loop is still in the visitor's context
        gc.collect()
        assert armed() is not None
        assert thing() is None


def test_a_loop_without_room_for_an_attribute_gets_a_timer_for_each_wall() -> None:
    class Narrow:
        __slots__ = ()

        def time(self) -> float:
            return 0.0

    loop = Narrow()
    assert timer_of(loop) is not timer_of(loop)
    assert not hasattr(loop, TIMER)


async def test_a_wall_whose_task_refuses_to_be_cancelled_stops_no_other() -> None:
    class Odd(asyncio.Task):
        def cancel(self, msg=None) -> bool:
            raise ZeroDivisionError

    async def behind(seconds: float) -> None:
        async with Deadline(seconds):
            await asyncio.sleep(0.05)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    odd = Odd(behind(0.001), loop=loop)
    with pytest.raises(DeadlineExceeded):
        await behind(0.01)
    with suppress(DeadlineExceeded):
        await odd
