"""Clean-up gets its time, and no more."""
# ruff: noqa: PT012 - the block is what is tested

import asyncio
import math

import pytest

from waybell_deadline import Deadline, DeadlineExceeded


simulated = pytest.mark.simulate(seeds=20)


def now():
    return asyncio.get_running_loop().time()


def balanced():
    return asyncio.current_task().cancelling() == 0


def test_inside_it_the_current_deadline_is_the_later_one(clock):
    deadline = Deadline(5, clock=clock)
    with deadline:
        clock.now += 7
        with deadline.shield(3) as grace:
            assert Deadline.current() is grace
            assert grace.remaining() == 3.0
            assert deadline.expired()
        assert Deadline.current() is deadline


def test_it_never_shortens(clock):
    deadline = Deadline(5, clock=clock)
    with deadline, deadline.shield(3) as grace:
        assert grace.remaining() == 5.0
    with Deadline.never().shield(3) as grace:
        assert grace.remaining() == math.inf


def test_the_other_deadlines_still_hold(clock):
    deadline, outer = Deadline(5, clock=clock), Deadline(6, clock=clock)
    inner = Deadline(1, clock=clock)
    with outer, deadline:
        with deadline.shield(30):
            assert Deadline.current() is outer
        with inner, deadline.shield(30):
            assert Deadline.current() is inner


def test_a_shield_in_a_shield_lasts_no_longer_than_that(clock):
    deadline = Deadline(5, clock=clock)
    with deadline, deadline.shield(10) as grace, deadline.shield(30):
        assert Deadline.current() is grace


def test_one_shield_is_entered_once_at_a_time(clock):
    shield = Deadline(5, clock=clock).shield(3)
    with shield, pytest.raises(RuntimeError, match="entered already"):
        shield.__enter__()
    with shield:
        pass
    with pytest.raises(RuntimeError, match="not entered"):
        shield.__exit__(None, None, None)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf], ids=repr)
def test_nonsense_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds"):
        Deadline(5).shield(seconds)


@simulated
async def test_it_postpones_the_wall():
    async with Deadline(5) as deadline:
        await asyncio.sleep(4)
        async with deadline.shield(3):
            await asyncio.sleep(2)
    assert now() == 6.0, "nothing was awaited after the shield"
    assert balanced()


@simulated
async def test_what_came_due_meanwhile_ends_the_next_await():
    with pytest.raises(DeadlineExceeded) as caught:
        async with Deadline(5) as deadline:
            await asyncio.sleep(4)
            with deadline.shield(3):
                await asyncio.sleep(2)
            await asyncio.sleep(100)
    assert caught.value.deadline is deadline
    assert now() == 6.0
    assert balanced()


@simulated
async def test_it_lets_the_wall_be_when_left_in_time():
    with pytest.raises(DeadlineExceeded):
        async with Deadline(5) as deadline:
            with deadline.shield(30):
                await asyncio.sleep(1)
            await asyncio.sleep(100)
    assert now() == 5.0


@simulated
async def test_it_is_bounded_before_the_deadline_passed():
    with pytest.raises(DeadlineExceeded) as caught:
        async with Deadline(5) as deadline:
            await asyncio.sleep(4)
            async with deadline.shield(3):
                await asyncio.sleep(100)
    assert caught.value.deadline is deadline
    assert now() == 7.0
    assert balanced()


@simulated
async def test_it_bounds_the_clean_up_after_the_deadline_passed():
    with pytest.raises(DeadlineExceeded) as caught:
        async with Deadline(5) as deadline:
            try:
                await asyncio.sleep(100)
            finally:
                async with deadline.shield(3):
                    await asyncio.sleep(100)
    assert caught.value.deadline is deadline
    assert now() == 8.0
    assert balanced()


@simulated
async def test_clean_up_in_time_after_the_deadline_passed():
    with pytest.raises(DeadlineExceeded):
        async with Deadline(5) as deadline:
            try:
                await asyncio.sleep(100)
            finally:
                with deadline.shield(3):
                    await asyncio.sleep(2)
    assert now() == 7.0
    assert balanced()


@simulated
async def test_an_outer_wall_cuts_the_clean_up_short():
    outer = Deadline(6)
    with pytest.raises(DeadlineExceeded) as caught:
        async with outer, Deadline(5) as deadline:
            try:
                await asyncio.sleep(100)
            finally:
                with deadline.shield(30):
                    await asyncio.sleep(100)
    assert caught.value.deadline is outer
    assert now() == 6.0
    assert balanced()


@simulated
async def test_a_shield_of_a_wall_twice_entered():
    deadline = Deadline(5)
    with pytest.raises(DeadlineExceeded):
        async with deadline, deadline:
            await asyncio.sleep(4)
            with deadline.shield(3):
                await asyncio.sleep(100)
    assert now() == 7.0
    assert balanced()


@simulated
async def test_a_child_postpones_the_wall_of_its_parent():
    async def child():
        await asyncio.sleep(4)
        with Deadline.current().shield(3):
            await asyncio.sleep(2)
        return "saved"

    async with Deadline(5):
        results = await asyncio.gather(child(), child())
    assert results == ["saved", "saved"]
    assert balanced()


@simulated
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
async def test_the_clean_up_of_a_child_is_bounded_too(before, grouped):
    ended, requests = [], []

    async def child():
        try:
            await asyncio.sleep(4 if before else 100)
        finally:
            try:
                with deadline.shield(3):
                    await asyncio.sleep(100)
            finally:
                ended.append(now())
                requests.append(asyncio.current_task().cancelling())

    with pytest.raises(DeadlineExceeded) as caught:
        async with Deadline(5) as deadline:
            if grouped:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(child()) for _ in range(2)]
            else:
                tasks = [asyncio.create_task(child()) for _ in range(2)]
                await asyncio.gather(*tasks)
    assert caught.value.deadline is deadline
    await asyncio.wait(tasks)  # gather does not wait for the second child
    assert ended == [7.0 if before else 8.0] * 2
    assert all(task.cancelled() for task in tasks)
    assert before or requests == [1, 1], "those of the wall, not of the shield"
    assert balanced()


@simulated
async def test_the_first_shield_that_runs_out_ends_the_postponement():
    async def child(seconds):
        with deadline.shield(seconds):
            await asyncio.sleep(100)

    with pytest.raises(DeadlineExceeded) as caught:
        async with Deadline(1) as deadline:
            try:
                await asyncio.gather(child(3), child(2))
            finally:
                await asyncio.sleep(5)
    assert caught.value.deadline is deadline
    assert now() == 7.0, "the wall cancels once, also when its own time comes later"
    assert balanced()


@simulated
async def test_a_task_that_outlives_the_block_is_shielded_cooperatively():
    async def background():
        await left.wait()
        with deadline.shield(3) as grace:
            await asyncio.sleep(10)
            return grace.expired()

    left = asyncio.Event()
    async with Deadline(5) as deadline:
        task = asyncio.create_task(background())
    left.set()
    assert await task


@simulated
async def test_without_a_wall_it_is_cooperative():
    with Deadline(5) as deadline:
        async with deadline.shield(3) as grace:
            await asyncio.sleep(10)
            assert grace.expired()


@simulated
async def test_in_a_callback_there_is_no_task_to_bound():
    def callback():
        with deadline.shield(3) as grace:
            seen.append(grace.remaining())

    seen = []
    async with Deadline(1) as deadline:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0.5)
    assert seen == [3.0]


@simulated
async def test_a_never_needs_no_shield():
    async with Deadline.never() as never:
        with never.shield(3):
            await asyncio.sleep(100)


@simulated
async def test_on_an_injected_clock_it_counts_by_that():
    loop = asyncio.get_running_loop()
    with pytest.raises(DeadlineExceeded):
        async with Deadline(5, clock=lambda: loop.time() / 2) as deadline:
            await asyncio.sleep(9)
            with deadline.shield(3):
                await asyncio.sleep(100)
    assert now() == pytest.approx(12, abs=0.01)
    assert balanced()
