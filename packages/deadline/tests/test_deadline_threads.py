"""Deadlines in threads, which cannot be killed."""

import asyncio
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from waybell_deadline import Deadline, DeadlineExceeded, abandoned, carry


def watcher():
    return [t for t in threading.enumerate() if t.name == "waybell-deadline"]


def test_an_executor_has_no_deadline_unless_it_is_carried_there():
    with ThreadPoolExecutor(2) as pool, Deadline(5) as deadline:
        assert pool.submit(Deadline.current).result() is None
        assert pool.submit(carry(Deadline.current)).result() is deadline
        both = pool.map(carry(lambda _: Deadline.current()), range(2))
        assert list(both) == [deadline, deadline]


def test_what_is_carried_may_run_many_times_at_once():
    def meet(number):
        barrier.wait(10)
        return number, Deadline.current()

    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool, Deadline(5) as deadline:
        assert list(pool.map(carry(meet), range(4))) == [
            (n, deadline) for n in range(4)
        ]


def test_a_thread_shields_cooperatively():
    async def main():
        async with Deadline(5) as deadline:

            def work():
                with deadline.shield(9) as grace:
                    return Deadline.current() is grace

            return await deadline.run_in_thread(work)

    assert asyncio.run(main())


async def test_a_function_in_a_thread_gives_its_value():
    deadline = Deadline(10)

    def work(a, *, b):
        assert threading.current_thread() is not threading.main_thread()
        assert Deadline.current() is deadline
        return a + b

    assert await deadline.run_in_thread(work, 1, b=2) == 3
    assert abandoned() == ()


async def test_a_function_in_a_thread_may_fail():
    def work(error):
        raise error

    deadline = Deadline(10)
    with pytest.raises(ZeroDivisionError):
        await deadline.run_in_thread(work, ZeroDivisionError())
    with pytest.raises(TimeoutError, match="mine"):
        await deadline.run_in_thread(work, TimeoutError("mine"))
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        await deadline.run_in_thread(work, StopIteration(1))
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_a_thread_that_overruns_is_abandoned_and_reported(caplog):
    deadline, go, done = Deadline(0.01), threading.Event(), threading.Event()

    def overrun():
        go.wait(10)
        done.set()
        Deadline.current().check()

    with pytest.raises(DeadlineExceeded) as caught:
        await deadline.run_in_thread(overrun)
    assert caught.value.deadline is deadline
    (thread,) = abandoned()
    assert "overrun" in thread.name
    assert "abandoned a running thread" in caplog.text
    assert thread.name in caplog.text
    go.set()
    thread.join(10)
    assert done.is_set()
    assert abandoned() == ()


def test_uvloop_keeps_no_time_of_its_own_and_is_left_at_once():
    class Loop(asyncio.SelectorEventLoop):
        """Its clock is its own method, as that of uvloop is."""

        __module__ = "uvloop"

        def time(self):
            return monotonic()

    async def main():
        deadline = Deadline(0.01)
        with pytest.raises(DeadlineExceeded):
            await deadline.run_in_thread(overrun)
        rang = threading.Event()
        with deadline.on_expire(rang.set):
            assert rang.wait(10), "not on the loop, which is waiting here"

    def overrun():
        ended.append(go.wait(10))

    go, ended = threading.Event(), []
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    assert not ended
    (thread,) = abandoned()
    go.set()
    thread.join(10)


async def test_a_cancelled_caller_abandons_its_thread():
    go, began, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()

    def work():
        loop.call_soon_threadsafe(began.set)
        go.wait(10)

    task = asyncio.create_task(Deadline(10).run_in_thread(work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (thread,) = abandoned()
    go.set()
    thread.join(10)
    assert abandoned() == ()


def test_an_abandoned_thread_does_not_hold_up_the_end_of_its_loop(caplog):
    caplog.set_level(logging.INFO)
    go = threading.Event()
    with pytest.raises(DeadlineExceeded):
        asyncio.run(Deadline(0.01).run_in_thread(go.wait, 10))
    (thread,) = abandoned()
    go.set()
    thread.join(10)
    assert "ended after its loop" in caplog.text


async def test_a_passed_deadline_starts_no_thread():
    with pytest.raises(DeadlineExceeded):
        await Deadline(0).run_in_thread(pytest.fail)


@pytest.mark.simulate(seeds=10)
async def test_a_simulation_runs_threads_itself():
    deadline = Deadline(5)
    assert await deadline.run_in_thread(Deadline.current) is deadline


def test_a_callback_runs_when_the_deadline_passes():
    called = threading.Event()
    Deadline(0.01).on_expire(called.set)
    assert called.wait(10)
    assert len(watcher()) == 1
    assert watcher()[0].daemon


def test_a_callback_sees_the_context_it_was_made_in():
    seen, called = [], threading.Event()

    def look():
        seen.append(Deadline.current())
        called.set()

    with Deadline(0) as deadline:
        deadline.on_expire(look)
    assert called.wait(10)
    assert seen == [deadline]


def test_callbacks_run_in_the_order_of_their_deadlines():
    order, called = [], threading.Event()
    Deadline(0.04).on_expire(called.set)
    Deadline(0.03).on_expire(lambda: order.append(3))
    Deadline(0.01).on_expire(lambda: order.append(1))
    Deadline(0.02).on_expire(lambda: order.append(2))
    assert called.wait(10)
    assert order == [1, 2, 3]


def test_a_failing_callback_is_logged_and_the_others_run(caplog):
    def fail(error):
        raise error

    called = threading.Event()
    Deadline(0).on_expire(lambda: fail(ZeroDivisionError()))
    Deadline(0).on_expire(lambda: fail(SystemExit()))
    Deadline(0.01).on_expire(called.set)
    assert called.wait(10)
    assert "the callback of <Deadline 0 s, 0 s left> failed" in caplog.text
    assert "tried to end the thread of all callbacks" in caplog.text
    assert len(watcher()) == 1


def test_a_cancelled_callback_never_runs():
    called = threading.Event()
    with Deadline(0.01).on_expire(pytest.fail) as left:
        assert left.pending
    cancelled = Deadline(0.02).on_expire(pytest.fail)
    assert cancelled.cancel()
    assert not cancelled.cancel()
    Deadline(0.03).on_expire(called.set)
    assert called.wait(10)
    assert not left.pending
    assert not left.cancel()


def test_a_callback_cancelled_in_the_last_moment_does_not_run(clock):
    watch = Deadline(5, clock=clock).on_expire(pytest.fail)
    clock.now += 5
    watch.cancel()
    watch._ring()  # as the thread does that has just seen it fall due


def test_a_never_calls_nobody_back():
    watch = Deadline.never().on_expire(pytest.fail)
    assert watch.pending
    assert watch.cancel()


def test_cancelled_callbacks_are_forgotten():
    from waybell_deadline._watcher import _watcher

    watches = [Deadline(3600).on_expire(print) for _ in range(1000)]
    for watch in watches:
        watch.cancel()
    assert len(_watcher._heap) < 100


def test_closing_waits_for_a_callback_that_is_running():
    began, go, ended = threading.Event(), threading.Event(), threading.Event()

    def slow():
        began.set()
        go.wait(10)
        ended.set()

    watch = Deadline(0).on_expire(slow)
    assert began.wait(10)
    assert not watch.cancel()
    release = threading.Timer(0.01, go.set)
    release.start()
    watch.close()
    assert ended.is_set()
    release.join()


def test_a_callback_may_close_its_own_watch():
    called, watches, ready = threading.Event(), [], threading.Event()

    def close():
        ready.wait(10)
        watches[0].close()
        called.set()

    watches.append(Deadline(0).on_expire(close))
    ready.set()
    assert called.wait(10)


def test_an_injected_clock_decides_when_to_call_back(clock):
    called, asked = threading.Event(), threading.Event()

    def slow_clock():
        asked.set()
        return clock.now

    Deadline(0.001, clock=slow_clock).on_expire(called.set)
    asked.clear()
    assert asked.wait(10)
    assert not called.is_set()
    clock.now += 1
    assert called.wait(10)


@pytest.mark.simulate(seeds=10)
async def test_a_simulation_calls_back_by_its_own_clock(caplog):
    loop, seen = asyncio.get_running_loop(), []
    Deadline(5).on_expire(lambda: seen.append(loop.time()))
    Deadline(5).on_expire(lambda: 1 / 0)
    with Deadline(3).on_expire(pytest.fail):
        pass
    await asyncio.sleep(6)
    assert seen == [5.0]
    assert "failed" in caplog.text


FORK = """
import os, threading
from waybell_deadline import Deadline

called, inherited = threading.Event(), threading.Event()
began, go = threading.Event(), threading.Event()
running = Deadline(0).on_expire(lambda: (began.set(), go.wait(10)))
watch = Deadline(0.05).on_expire(inherited.set)
assert began.wait(10)
if os.fork() == 0:
    running.close()  # whose thread is not in this process
    mine = Deadline(0.1).on_expire(called.set)
    ok = called.wait(10) and not inherited.is_set()
    os._exit(0 if ok and watch.cancel() else 1)
go.set()
assert inherited.wait(10)
_, status = os.wait()
print("status", status)
"""


@pytest.mark.skipif(not hasattr(sys, "abiflags"), reason="fork is for POSIX")
def test_a_forked_child_begins_with_nothing_to_wait_for():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "status 0\n"


def test_it_imports_without_asyncio():
    code = (
        "import sys, waybell_deadline as w\n"
        "with w.Deadline(5) as deadline: deadline.check()\n"
        "sys.exit('asyncio' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
