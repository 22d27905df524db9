"""What the current deadline is, and where."""

import asyncio
import contextvars

import pytest

from waybell_deadline import Deadline, DeadlineExceeded


def test_there_is_none_outside_any_block():
    assert Deadline.current() is None


def test_a_block_makes_it_the_current_one():
    deadline = Deadline(5)
    with deadline as entered:
        assert entered is deadline
        assert Deadline.current() is deadline
    assert Deadline.current() is None


def test_the_tightest_is_the_current_one_however_they_are_nested(clock):
    short, long = Deadline(1, clock=clock), Deadline(9, clock=clock)
    with long, short:
        assert Deadline.current() is short
    with short, long:
        assert Deadline.current() is short
    with short:
        with long:
            pass
        assert Deadline.current() is short
    assert Deadline.current() is None


def test_one_deadline_can_be_entered_in_itself(clock):
    deadline = Deadline(5, clock=clock)
    with deadline, deadline:
        assert Deadline.current() is deadline
    assert Deadline.current() is None


def test_a_cooperative_block_raises_nothing_by_itself():
    with Deadline(0):
        ran = True
    assert ran


def test_the_body_keeps_its_own_error():
    with pytest.raises(ZeroDivisionError), Deadline(0):
        _ = 1 / 0
    assert Deadline.current() is None


def test_generators_may_leave_their_blocks_in_any_order(clock):
    def scoped(deadline):
        with deadline:
            yield Deadline.current()

    short, long = Deadline(1, clock=clock), Deadline(9, clock=clock)
    first, second = scoped(short), scoped(long)
    assert [next(first), next(second)] == [short, short]
    first.close()
    assert Deadline.current() is long
    second.close()
    assert Deadline.current() is None


def test_leaving_in_another_context_is_an_error():
    deadline = Deadline(5)
    contextvars.copy_context().run(deadline.__enter__)
    with pytest.raises(RuntimeError, match="entered in another context"):
        deadline.__exit__(None, None, None)


@pytest.mark.simulate(seeds=20)
async def test_children_inherit_it_and_keep_their_own_to_themselves():
    async def child(seconds):
        assert Deadline.current() is deadline
        async with Deadline(seconds) as own:
            await asyncio.sleep(0)
            return Deadline.current() is own

    async with Deadline(10) as deadline:
        inner = await asyncio.gather(child(5), child(20), child(1))
        async with asyncio.TaskGroup() as group:
            grouped = [group.create_task(child(s)) for s in (5, 20)]
        assert Deadline.current() is deadline
    assert inner == [True, False, True]
    assert [task.result() for task in grouped] == [True, False]


@pytest.mark.simulate(seeds=20)
async def test_one_deadline_serves_many_tasks_at_once(rng):
    deadline = Deadline(10)

    async def child(delay):
        async with deadline:
            await asyncio.sleep(delay)
            assert Deadline.current() is deadline
        assert Deadline.current() is None

    delays = [rng.choice([0, 0, 1, 2]) for _ in range(8)]
    await asyncio.gather(*map(child, delays))


MADE_OUTSIDE = Deadline(3600)


@pytest.mark.simulate(seeds=3)
async def test_one_made_outside_counts_what_is_left_on_the_loop_it_is_used_on():
    before = MADE_OUTSIDE.remaining()
    async with MADE_OUTSIDE as here:
        assert here is Deadline.current()
        assert before - 5 < here.remaining() <= before
        await asyncio.sleep(600)
        assert before - 605 < here.remaining() < before - 595
        with MADE_OUTSIDE as again:
            assert again.remaining() > here.remaining()
            assert Deadline.current() is here
    assert MADE_OUTSIDE.tighten(5).remaining() == pytest.approx(5)
    assert Deadline.never().tighten().remaining() == float("inf")


def test_one_made_outside_serves_any_number_of_runs():
    async def main():
        async with MADE_OUTSIDE as here:
            await asyncio.sleep(0)
            return here

    assert [asyncio.run(main()) for _ in range(3)] == [MADE_OUTSIDE] * 3


def test_a_wall_needs_a_task():
    with pytest.raises(RuntimeError, match="a wall needs an asyncio task"):
        Deadline(5).__aenter__().send(None)


def test_leaving_a_wall_twice_is_an_error():
    async def main():
        deadline = Deadline(5)
        async with deadline:
            pass
        await deadline.__aexit__(None, None, None)

    with pytest.raises(RuntimeError, match="entered in another context"):
        asyncio.run(main())


def overrun(deadline):
    while not deadline.expired():
        """Compute, and never look at the loop."""


def test_what_was_finished_late_but_uninterrupted_stays_finished():
    async def main():
        async with Deadline(0.001) as deadline:
            overrun(deadline)
            answer = 42
        await asyncio.sleep(0)
        return answer, asyncio.current_task().cancelling()

    assert asyncio.run(main()) == (42, 0)


def test_trying_again_and_again_cannot_outlast_the_wall_around_it():
    async def main():
        async with outer:
            overrun(outer)
            while True:
                try:
                    async with Deadline.current().tighten(1):
                        await asyncio.sleep(1)
                except TimeoutError:
                    continue

    outer = Deadline(0.001)
    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(main())
    assert caught.value.deadline is outer
