"""How a run fails, and what is said about it."""

import asyncio
import contextlib
import inspect
import itertools
import pickle
import traceback

import pytest

from waybell_sim import DeadlockError, LivelockError, SimulationFailed, simulate


def failure_of(main, **settings):
    with pytest.raises(SimulationFailed) as failed:
        simulate(main, **settings)
    return failed.value


async def fails_now_and_then(rng):
    if rng.random() < 0.1:
        raise ValueError("unlucky")


def test_a_failure_names_its_seed_and_how_to_see_it_again():
    failed = failure_of(fails_now_and_then)
    assert isinstance(failed, AssertionError)
    assert failed.seed == failed.passed > 0
    assert failed.replay == f"simulate(fails_now_and_then, seeds=[{failed.seed}])"
    assert isinstance(failed.cause, ValueError)
    assert failed.__cause__ is failed.cause
    assert str(failed) == (
        f"seed {failed.seed} failed after {failed.seed} passed: ValueError: unlucky\n"
        f"replay: {failed.replay}"
    )


def test_the_replay_fails_the_same_way():
    failed = failure_of(fails_now_and_then)
    again = failure_of(fails_now_and_then, seeds=[failed.seed])
    assert (again.seed, str(again.cause), again.passed) == (failed.seed, "unlucky", 0)


def test_the_replay_repeats_the_bounds_that_were_asked_for():
    async def main():
        await asyncio.sleep(100)

    failed = failure_of(main, max_steps=50, max_time=60)
    assert failed.replay.endswith("main, seeds=[0], max_steps=50, max_time=60)")


def test_a_failure_survives_pickling():
    failed = failure_of(fails_now_and_then)
    copy = pickle.loads(pickle.dumps(failed))
    assert str(copy) == str(failed)
    assert isinstance(copy.cause, ValueError)
    assert (copy.seed, copy.passed, copy.replay) == (
        failed.seed,
        failed.passed,
        failed.replay,
    )


def test_a_failure_survives_pickling_with_a_cause_that_does_not():
    class Local(Exception):
        pass

    async def main():
        raise Local("gone")

    copy = pickle.loads(pickle.dumps(failure_of(main)))
    assert isinstance(copy.cause, RuntimeError)
    assert "Local: gone" in str(copy)


def test_a_deadlock_names_each_task_and_the_line_it_waits_at():
    async def main():
        one, two = asyncio.Lock(), asyncio.Lock()

        async def agent(first, second):
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        async with asyncio.TaskGroup() as group:
            group.create_task(agent(one, two), name="ann")
            group.create_task(agent(two, one), name="bob")

    failed = failure_of(main)
    assert isinstance(failed.cause, DeadlockError)
    lines, start = inspect.getsourcelines(main)
    line = start + next(n for n, text in enumerate(lines) if "with second" in text)
    message = str(failed)
    assert "nothing is ready and no timer is set; pending at 1 s:" in message
    for name in ("ann", "bob"):
        assert f"\n  {name} awaits at {__file__}:{line} in " in message
    assert "\n  main awaits at " in message
    assert "_simulate.py" not in message


def test_a_deadlock_tells_what_had_failed_unseen():
    async def main():
        done = asyncio.Event()

        async def agent():
            raise KeyError("lost")
            done.set()

        task = asyncio.create_task(agent())
        await done.wait()
        await task

    assert "failed, unseen: KeyError('lost')" in str(failure_of(main))


def test_a_task_behind_a_bare_future_is_named_too():
    async def main():
        await asyncio.get_running_loop().create_future()

    assert " in test_a_task_behind" in str(failure_of(main))

    failed = failure_of(lambda: asyncio.get_running_loop().create_future())
    assert "main awaits at no line of its own" in str(failed)


def test_a_sleep_without_end_is_a_deadlock():
    async def main():
        await asyncio.sleep(float("inf"))

    assert isinstance(failure_of(main).cause, DeadlockError)


def test_waiting_until_nan_is_not_endless():
    async def main():
        asyncio.get_running_loop().call_at(float("nan"), print)
        await asyncio.get_running_loop().create_future()

    assert "the next timer is only at nan s" in str(failure_of(main))


def test_spinning_ends_at_the_bound_of_steps():
    async def main():
        for _ in itertools.count():
            await asyncio.sleep(0)

    failed = failure_of(main, max_steps=500)
    assert isinstance(failed.cause, LivelockError)
    assert "no end after 500 steps" in str(failed)


def test_a_heartbeat_ends_at_the_bound_of_time():
    async def main():
        async def beat():
            for _ in itertools.count():
                await asyncio.sleep(60)

        async with asyncio.TaskGroup() as group:
            group.create_task(beat())
            await asyncio.Event().wait()

    failed = failure_of(main, max_time=3600)
    assert isinstance(failed.cause, LivelockError)
    assert "the next timer is only at 3660" in str(failed)


def test_an_exception_nobody_retrieves_fails_the_run():
    async def main():
        async def agent():
            raise KeyError("lost")

        task = asyncio.create_task(agent())
        await asyncio.wait([task])

    assert isinstance(failure_of(main).cause, KeyError)


def test_an_exception_of_a_dropped_future_fails_the_run():
    async def main():
        asyncio.get_running_loop().create_future().set_exception(KeyError("lost"))
        await asyncio.sleep(0)

    failed = failure_of(main)
    assert isinstance(failed.cause, KeyError)
    assert failed.cause.__notes__ == [
        "asyncio: SimFuture exception was never retrieved"
    ]


def test_an_exception_in_a_callback_fails_the_run():
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    assert isinstance(failure_of(main).cause, ZeroDivisionError)


def test_a_callback_that_cannot_even_be_described_fails_the_run():
    class Odd:
        def __call__(self):
            raise KeyError

        def __repr__(self):
            raise OSError("no words")

    async def main():
        asyncio.get_running_loop().call_soon(Odd())
        await asyncio.sleep(1)

    assert "OSError: no words" in str(failure_of(main))


def test_a_complaint_without_an_exception_fails_the_run():
    async def main():
        asyncio.get_running_loop().call_exception_handler({"message": "odd"})

    assert "RuntimeError: odd" in str(failure_of(main))


def test_an_exception_handler_of_the_program_has_the_word():
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context))
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    simulate(main, seeds=1)
    assert isinstance(seen[0]["exception"], ZeroDivisionError)


def test_a_complaint_after_the_end_goes_to_the_log(caplog):
    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())

    simulate(main, seeds=1)
    loops[0].call_exception_handler({"message": "too late"})
    assert "too late" in caplog.text


def test_further_errors_are_notes_of_the_first():
    async def main():
        async def agent():
            raise KeyError("background")

        asyncio.create_task(agent())  # noqa: RUF006 - dropped on purpose
        await asyncio.sleep(1)
        raise ValueError("foreground")

    failed = failure_of(main)
    assert isinstance(failed.cause, ValueError)
    assert failed.cause.__notes__ == ["also: KeyError: 'background'"]
    assert "also: KeyError" in "".join(traceback.format_exception(failed))


def test_a_program_that_is_cancelled_has_failed():
    async def main():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    assert isinstance(failure_of(main).cause, asyncio.CancelledError)


def test_stopping_the_loop_is_an_error():
    async def main():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(1)

    assert "loop.stop() came before the end" in str(failure_of(main))


def test_tasks_left_behind_are_cancelled_and_clean_up():
    ends = []

    async def main():
        async def last():
            ends.append("last")

        async def agent():
            try:
                await asyncio.sleep(9999)
            finally:
                await asyncio.sleep(1)
                ends.append("agent")
                asyncio.create_task(last())  # noqa: RUF006 - dropped on purpose

        asyncio.create_task(agent())  # noqa: RUF006 - dropped on purpose
        await asyncio.sleep(0)

    # A task that is cancelled before it begins has nothing to clean up.
    assert simulate(main, seeds=40).seconds < 41
    assert 0 < ends.count("agent") <= 40


def test_an_error_while_cleaning_up_fails_the_run():
    async def main():
        async def agent():
            try:
                await asyncio.sleep(9999)
            finally:
                raise KeyError("cleaning")

        asyncio.create_task(agent())  # noqa: RUF006 - dropped on purpose
        await asyncio.sleep(1)

    assert isinstance(failure_of(main).cause, KeyError)


def test_a_task_that_ignores_its_cancellation_fails_the_run():
    async def main():
        async def agent():
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1)

        asyncio.create_task(agent(), name="stubborn")  # noqa: RUF006 - dropped
        await asyncio.sleep(3)

    failed = failure_of(main, max_steps=300, seeds=1)
    assert isinstance(failed.cause, LivelockError)
    assert "stubborn awaits at" in str(failed)
    assert failed.cause.__notes__ == ["its remaining tasks had been cancelled before"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_leaving_the_process_is_no_failure(kind):
    async def main():
        asyncio.create_task(asyncio.sleep(5))  # noqa: RUF006 - interrupted
        await asyncio.sleep(1)
        raise kind

    with pytest.raises(kind):
        simulate(main)


def test_base_exceptions_are_failures():
    class Odd(BaseException):
        pass

    async def main():
        raise Odd

    assert isinstance(failure_of(main).cause, Odd)


@pytest.mark.parametrize("main", [lambda a, b: None, 5])
def test_main_must_take_nothing_or_the_random(main):
    with pytest.raises(TypeError, match=r"main must be|must take no argument"):
        simulate(main)


def test_a_coroutine_in_place_of_the_function_is_an_error():
    with pytest.raises(TypeError, match="do not call it"):
        simulate(asyncio.sleep(0))


def test_a_sync_main_is_a_mistake_of_the_call_and_no_failed_seed():
    ran = []

    def sync_main():
        ran.append(1)
        return 5

    with pytest.raises(
        TypeError, match=r"main must be an async function, .*sync_main.* gave 5"
    ):
        simulate(sync_main)
    assert ran == [1]


def test_main_may_be_anything_that_gives_something_to_await():
    assert simulate(lambda: asyncio.sleep(1), seeds=[1]).seconds == 1


def test_defaults_of_main_are_not_mistaken_for_the_random():
    seen = []

    async def main(pool="default", *args, **kwargs):
        seen.append((pool, args, kwargs))

    simulate(main, seeds=1)
    assert seen == [("default", (), {})]


def test_a_gather_that_is_left_at_the_end_is_no_failure():
    async def main():
        first = asyncio.create_task(asyncio.sleep(1))
        slow = asyncio.gather(asyncio.sleep(5), asyncio.sleep(6))
        await asyncio.wait([first, slow], return_when=asyncio.FIRST_COMPLETED)

    simulate(main, seeds=5)
