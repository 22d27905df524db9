"""`async with deadline:` ends its block, and says truly why."""
# ruff: noqa: PT012 - the block is what is tested

import asyncio

import pytest

from waybell_deadline import Deadline, DeadlineExceeded


pytestmark = pytest.mark.simulate(seeds=20)


def now():
    return asyncio.get_running_loop().time()


def balanced():
    return asyncio.current_task().cancelling() == 0


async def test_awaits_are_cancelled_when_it_passes():
    deadline = Deadline(5)
    with pytest.raises(DeadlineExceeded) as caught:
        async with deadline:
            await asyncio.Event().wait()
    assert caught.value.deadline is deadline
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert "passed" in str(caught.value.__cause__)
    assert (caught.value.seconds, caught.value.elapsed, now()) == (5.0, 5.0, 5.0)
    assert balanced()


async def test_what_is_done_in_time_leaves_no_trace():
    async with Deadline(5):
        await asyncio.sleep(4)
    await asyncio.sleep(10)
    assert balanced()


async def test_a_never_is_no_wall():
    async with Deadline.never():
        await asyncio.sleep(1e6 - 1)


async def test_a_passed_deadline_admits_nothing():
    deadline, began = Deadline(0), False
    with pytest.raises(DeadlineExceeded) as caught:
        async with deadline:
            began = True
    assert caught.value.deadline is deadline
    assert not began
    assert Deadline.current() is None


async def test_swallowing_the_cancellation_does_not_save_the_block():
    with pytest.raises(DeadlineExceeded):
        async with Deadline(5):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                await asyncio.sleep(3)
    assert now() == 8.0, "it is cancelled once: clean-up may await"
    assert balanced()


async def test_an_error_of_the_body_stays_what_it_is():
    with pytest.raises(ZeroDivisionError):
        async with Deadline(5):
            try:
                await asyncio.sleep(100)
            finally:
                _ = 1 / 0
    assert balanced()


async def test_a_timeout_of_the_body_stays_what_it_is():
    mine = TimeoutError("mine")
    with pytest.raises(TimeoutError) as caught:
        async with Deadline(5):
            raise mine
    assert caught.value is mine
    with pytest.raises(TimeoutError) as caught:
        async with Deadline(5), asyncio.timeout(2):
            await asyncio.sleep(100)
    assert not isinstance(caught.value, DeadlineExceeded)


async def test_a_cancellation_from_outside_stays_one():
    async def body():
        async with Deadline(5):
            await asyncio.sleep(100)

    task = asyncio.create_task(body())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == 1.0


async def test_a_cancellation_from_outside_wins_over_the_deadline_of_that_moment():
    async def body(swallow):
        async with Deadline(5):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                # Only both together: a timer may still be due in this very moment.
                fired = asyncio.current_task().cancelling() == 2
                if not (swallow and fired):
                    raise

    for swallow in (False, True):
        task = asyncio.create_task(body(swallow))
        asyncio.get_running_loop().call_later(5, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            continue
        except DeadlineExceeded:
            # The wall came first, and the body had ended before the other came.
            assert task.cancelling() == 0


async def test_inner_blocks_see_only_the_cancellation():
    outer, inner, seen = Deadline(5), Deadline(50), []
    with pytest.raises(DeadlineExceeded) as caught:
        async with outer:
            try:
                async with inner:
                    await asyncio.sleep(100)
            except BaseException as error:
                seen.append(type(error))
                raise
    assert caught.value.deadline is outer
    assert seen == [asyncio.CancelledError]
    assert balanced()


async def test_an_inner_one_ends_only_its_own_block():
    async with Deadline(50):
        with pytest.raises(DeadlineExceeded) as caught:
            async with Deadline(5) as inner:
                await asyncio.sleep(100)
        assert caught.value.deadline is inner
        await asyncio.sleep(5)
    assert now() == 10.0


async def test_the_outer_may_pass_while_the_inner_cleans_up():
    outer, inner = Deadline(7), Deadline(5)
    with pytest.raises(DeadlineExceeded) as caught:
        async with outer, inner:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(100)
    assert caught.value.deadline is outer
    assert now() == 7.0
    assert balanced()


async def test_both_in_one_moment_end_both_blocks_once():
    outer, inner = Deadline(5), Deadline(5)
    with pytest.raises(DeadlineExceeded) as caught:
        async with outer, inner:
            await asyncio.sleep(100)
    assert caught.value.deadline in (outer, inner)
    assert now() == 5.0
    assert balanced()


async def test_one_object_can_be_both_walls():
    deadline = Deadline(5)
    with pytest.raises(DeadlineExceeded) as caught:
        async with deadline, deadline:
            await asyncio.sleep(100)
    assert caught.value.deadline is deadline
    assert balanced()


async def test_asyncio_timeouts_and_walls_nest_both_ways():
    with pytest.raises(DeadlineExceeded):
        async with Deadline(5), asyncio.timeout(50):
            await asyncio.sleep(100)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(5), Deadline(50):
            await asyncio.sleep(100)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert balanced()


async def test_it_ends_a_gather_and_a_task_group():
    ended = []

    async def child():
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(now())

    with pytest.raises(DeadlineExceeded):
        async with Deadline(5):
            await asyncio.gather(child(), child())
    with pytest.raises(DeadlineExceeded):
        async with Deadline(5), asyncio.TaskGroup() as group:
            group.create_task(child())
            group.create_task(child())
    assert ended == [5.0, 5.0, 10.0, 10.0]
    assert balanced()


async def test_a_cancellation_in_an_except_star_block_is_one_too():
    async def body():
        try:
            raise ExceptionGroup("several", [ValueError()])
        except* ValueError:
            await asyncio.sleep(100)

    deadline = Deadline(5)
    with pytest.raises(DeadlineExceeded) as caught:
        async with deadline:
            await body()
    assert caught.value.deadline is deadline
    assert balanced()


async def test_errors_that_except_star_puts_beside_the_cancellation_stay():
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Deadline(5):
            try:
                raise ExceptionGroup("several", [ValueError(), KeyError()])
            except* ValueError:
                await asyncio.sleep(100)
    assert caught.group_contains(KeyError)
    assert balanced()


async def test_a_failing_child_is_not_hidden_by_the_deadline():
    async def child():
        try:
            await asyncio.sleep(100)
        finally:
            raise ValueError("clean-up failed")

    with pytest.raises(ExceptionGroup) as caught:
        async with Deadline(5), asyncio.TaskGroup() as group:
            group.create_task(child())
    assert caught.group_contains(ValueError)
    assert balanced()


async def test_an_injected_clock_has_the_last_word():
    loop = asyncio.get_running_loop()
    deadline = Deadline(5, clock=lambda: loop.time() / 2)
    with pytest.raises(DeadlineExceeded) as caught:
        async with deadline as here:
            assert here is deadline
            await asyncio.sleep(100)
    assert now() == pytest.approx(10, abs=0.01)
    assert caught.value.elapsed == pytest.approx(5, abs=0.01)


async def test_a_deadline_from_outside_is_named_in_the_error_as_it_was_written():
    loop = asyncio.get_running_loop()
    made_outside = await asyncio.to_thread(Deadline, 5)
    assert made_outside._clock != loop.time
    with pytest.raises(DeadlineExceeded) as caught:
        async with made_outside:
            await asyncio.sleep(100)
    assert caught.value.deadline is made_outside
    assert caught.value.seconds == 5.0, "what it gave, not what was left on entering"
    assert now() == pytest.approx(5, abs=1)


async def test_both_swallowed_it_ends_as_a_cancellation():
    async def body():
        async with Deadline(5):
            for _ in range(2):  # one cancellation from outside, one of the wall
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    continue

    task = asyncio.create_task(body())
    asyncio.get_running_loop().call_later(3, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == 5.0
    assert task.cancelling() == 1


async def test_a_task_that_is_being_cancelled_can_still_use_a_wall_to_clean_up():
    async def body():
        try:
            await asyncio.sleep(100)
        finally:
            try:
                async with Deadline(5):
                    await asyncio.sleep(100)
            except BaseException as error:
                seen.append(type(error))

    seen = []
    task = asyncio.create_task(body())
    asyncio.get_running_loop().call_later(1, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [DeadlineExceeded]
    assert now() == 6.0
    assert task.cancelling() == 1
