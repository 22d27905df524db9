"""How many run at once, who is next, and how waiting ends."""

import asyncio
import gc
import threading
import weakref
from contextvars import Context

import pytest

from waybell_deadline import Deadline, DeadlineExceeded
from waybell_scheduler import AgentPool, CircuitOpenError, SchedulerError
from waybell_scheduler._places import holding


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Calls:
    """Calls that run until they are told to end, and who ran when."""

    def __init__(self, pool: AgentPool) -> None:
        self.pool = pool
        self.running: dict[str, asyncio.Future] = {}
        self.order: list[str] = []
        self.most = 0

    async def work(self, name: str) -> str:
        self.order.append(name)
        end = self.running[name] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.running))
        try:
            return await end
        finally:
            del self.running[name]

    def begin(self, *names: str) -> list[asyncio.Task]:
        return [
            asyncio.create_task(self.pool.acall(self.work, name), name=name)
            for name in names
        ]


@pytest.mark.parametrize("size", [1, 2])
def test_both_doors_say_which_one_to_use(size) -> None:
    pool = AgentPool(size)
    with pytest.raises(TypeError, match=r"is async: use 'await pool.acall"):
        pool.call(asyncio.sleep, 0)
    with pytest.raises(TypeError, match=r"is not async: use 'pool.call"):
        asyncio.run(pool.acall(int))
    assert pool.status()["active"] == 0


def test_what_is_awaitable_without_being_a_coroutine_is_awaited() -> None:
    async def main() -> int:
        future = asyncio.get_running_loop().create_future()
        future.set_result(7)
        return await AgentPool().acall(lambda: future)

    assert asyncio.run(main()) == 7


@pytest.mark.parametrize(
    "setting",
    [
        {"max_concurrent": 0},
        {"max_concurrent": 1.5},
        {"max_concurrent": True},
        {"max_concurrent": None},
        {"consecutive_failure_limit": 0},
        {"recovery_timeout_s": 0},
        {"recovery_timeout_s": float("inf")},
        {"recovery_timeout_s": True},
        {"requests_per_minute": -1},
        {"requests_per_minute": "60"},
        {"tokens_per_minute": float("nan")},
        {"wait_timeout": 0},
    ],
    ids=repr,
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(setting) -> None:
    (name,) = setting
    with pytest.raises(SchedulerError, match=name):
        AgentPool(**setting)


async def test_no_more_run_than_may_and_the_others_come_in_turn() -> None:
    pool = AgentPool(2)
    calls = Calls(pool)
    tasks = calls.begin(*"abcde")
    await settle()
    assert calls.order == ["a", "b"]
    status = pool.status()
    assert (status["active"], status["queued"], status["max_concurrent"]) == (2, 3, 2)
    for name in "badce":
        calls.running[name].set_result(name)
        await settle()
    assert calls.order == list("abcde")
    assert [task.result() for task in tasks] == list("abcde")
    assert calls.most == 2
    assert (pool.status()["active"], pool.status()["queued"]) == (0, 0)


async def test_nobody_overtakes_those_who_wait() -> None:
    pool = AgentPool(1)
    calls = Calls(pool)
    calls.begin("a", "b")
    await settle()
    calls.running["a"].set_result(None)
    late = calls.begin("c")
    await settle()
    assert calls.order == ["a", "b"]
    calls.running["b"].set_result(None)
    await settle()
    calls.running["c"].set_result(3)
    assert await late[0] == 3


@pytest.mark.parametrize("when", ["running", "waiting", "granted"])
async def test_a_cancelled_call_gives_its_place_to_the_next(when) -> None:
    pool = AgentPool(1)
    calls = Calls(pool)
    first, second, third = calls.begin("a", "b", "c")
    await settle()
    if when == "running":
        first.cancel()
    elif when == "waiting":
        second.cancel()
        await settle()
        calls.running["a"].set_result(None)
    else:
        calls.running["a"].set_result(None)
        await asyncio.wait(
            [first]
        )  # now the second one has the place, but does not know
        second.cancel()
    await settle()
    assert calls.order[-1] == ("b" if when == "running" else "c")
    for task in (second, third):
        task.cancel()
    await asyncio.wait([second, third])
    assert (pool.status()["active"], pool.status()["queued"]) == (0, 0)


async def test_a_call_that_waits_too_long_fails_and_leaves_the_line() -> None:
    pool = AgentPool(1, wait_timeout=0.01)
    calls = Calls(pool)
    calls.begin("a")
    await settle()
    with pytest.raises(
        TimeoutError, match="none of 1 places came free in time"
    ) as caught:
        await pool.acall(calls.work, "b")
    assert isinstance(caught.value, SchedulerError)
    assert pool.status()["queued"] == 0
    calls.running["a"].set_result(None)


async def test_a_call_waits_no_longer_than_its_deadline() -> None:
    pool = AgentPool(1)
    calls = Calls(pool)
    calls.begin("a")
    await settle()
    with pytest.raises(DeadlineExceeded):
        async with Deadline(seconds=0.01):
            await pool.acall(calls.work, "b")
    with Deadline(seconds=0.01), pytest.raises(DeadlineExceeded):
        await pool.acall(calls.work, "c")
    assert (calls.order, pool.status()["queued"]) == (["a"], 0)
    calls.running["a"].set_result(None)


async def test_waiting_where_a_loop_runs_is_refused() -> None:
    pool = AgentPool(1)
    calls = Calls(pool)
    calls.begin("a")
    await settle()
    with pytest.raises(SchedulerError, match="would stop the event loop"):
        pool.call(int)
    assert pool.status()["queued"] == 0
    calls.running["a"].set_result(None)


async def test_those_in_line_are_refused_in_their_turn_once_it_is_open() -> None:
    pool = AgentPool(1, consecutive_failure_limit=1)
    calls = Calls(pool)
    first, second = calls.begin("a", "b")
    await settle()
    calls.running["a"].set_exception(OSError("down"))
    await asyncio.wait([first, second])
    assert isinstance(second.exception(), CircuitOpenError)
    assert isinstance(first.exception(), OSError)
    assert pool.status()["active"] == 0


# -- several loops and threads ---------------------------------------------------------------


def test_a_pool_serves_one_loop_after_another() -> None:
    pool = AgentPool(1)

    async def main() -> list:
        return await asyncio.gather(
            *(pool.acall(asyncio.sleep, 0, n) for n in range(5))
        )

    assert asyncio.run(main()) == asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_threads_and_loops_share_the_places() -> None:
    pool = AgentPool(3)
    lock = threading.Lock()
    running = most = done = 0

    def enter(change: int) -> None:
        nonlocal running, most, done
        with lock:
            running += change
            most = max(most, running)
            done += change < 0

    def work() -> None:
        enter(1)
        threading.Event().wait(0.0005)
        enter(-1)

    async def awork() -> None:
        enter(1)
        await asyncio.sleep(0.0005)
        enter(-1)

    def plain() -> None:
        for _ in range(30):
            pool.call(work)

    def loop() -> None:
        async def main() -> None:
            await asyncio.gather(*(pool.acall(awork) for _ in range(30)))

        asyncio.run(main())

    threads = [threading.Thread(target=run) for run in [plain] * 4 + [loop] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (done, running, most) == (240, 0, 3)
    assert (pool.status()["active"], pool.status()["queued"]) == (0, 0)
    assert pool._free[0] is not None
    assert pool._free[1:] == [None, None]


def test_of_fifty_threads_one_probes() -> None:
    now = 0.0
    pool = AgentPool(50, consecutive_failure_limit=1, clock=lambda: now)
    with pytest.raises(OSError, match="down"):
        pool.call(lambda: (_ for _ in ()).throw(OSError("down")))
    now = 31.0
    barrier, done = threading.Barrier(50), threading.Event()
    probes, refused = [], []

    def probe() -> None:
        probes.append(threading.get_ident())
        assert done.wait(10)

    def caller() -> None:
        barrier.wait(10)
        try:
            pool.call(probe)
        except CircuitOpenError as error:
            refused.append(error)
            if len(refused) == 49:
                done.set()

    threads = [threading.Thread(target=caller) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(probes), len(refused)) == (1, 49)
    assert pool.status()["state"] == "closed"


def test_a_thread_waits_for_a_place_that_a_task_gives_back() -> None:
    pool = AgentPool(1, wait_timeout=10)
    taken, ended = threading.Event(), threading.Event()

    def hold() -> None:
        taken.set()
        assert ended.wait(10)

    holder = threading.Thread(target=pool.call, args=(hold,))
    holder.start()
    assert taken.wait(10)

    async def main() -> int:
        task = asyncio.create_task(pool.acall(asyncio.sleep, 0, 7))
        await settle()
        assert pool.status()["queued"] == 1
        ended.set()
        return await task

    assert asyncio.run(main()) == 7
    holder.join(10)


def test_a_thread_gives_up_in_time() -> None:
    pool = AgentPool(1, wait_timeout=0.01)

    def inside() -> None:
        with pytest.raises(TimeoutError, match="places came free"):
            Context().run(pool.call, int)

    pool.call(inside)


def test_those_whose_loop_was_closed_are_passed_over() -> None:
    pool = AgentPool(1)
    loop = asyncio.new_event_loop()
    taken, ended = threading.Event(), threading.Event()

    def hold() -> None:
        taken.set()
        assert ended.wait(10)

    holder = threading.Thread(target=pool.call, args=(hold,))
    holder.start()
    assert taken.wait(10)
    task = loop.create_task(pool.acall(asyncio.sleep, 0))
    loop.run_until_complete(settle())
    loop.close()
    assert pool.status()["queued"] == 1
    ended.set()
    holder.join(10)
    assert pool.status()["queued"] == 0
    assert pool.call(int) == 0
    task._log_destroy_pending = False
    task.get_coro().close()
    assert pool.status()["active"] == 0


def test_a_call_that_nobody_awaits_any_more_gives_its_place_back() -> None:
    pool = AgentPool(2)
    call = pool.acall(Forever)
    call.send(None)
    assert pool.status()["active"] == 1
    gone = weakref.ref(call)
    del call
    gc.collect()
    assert gone() is None
    assert pool.status()["active"] == 0


class Forever:
    """Awaitable, and never done."""

    def __await__(self):
        while True:
            yield


# -- calls within calls ------------------------------------------------------------------------


def test_a_call_within_a_call_uses_its_place() -> None:
    pool = AgentPool(1, wait_timeout=5)
    assert pool.call(lambda: pool.call(lambda: pool.call(lambda: 3))) == 3
    assert pool.status()["active"] == 0


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_calls_within_calls_never_wait_for_each_other(size) -> None:
    pool = AgentPool(size, wait_timeout=5)

    async def agent(depth: int) -> int:
        await asyncio.sleep(0)
        if not depth:
            return 1
        inner = (pool.acall(agent, depth - 1) for _ in range(2))
        return sum(await asyncio.gather(*inner))

    found = await asyncio.gather(*(pool.acall(agent, 3) for _ in range(4)))
    assert found == [8, 8, 8, 8]
    assert (pool.status()["active"], pool.status()["queued"]) == (0, 0)


async def test_a_place_is_lent_to_one_at_a_time() -> None:
    pool = AgentPool(1)
    calls = Calls(pool)

    async def outer() -> None:
        await asyncio.gather(*calls.begin(*"abc"))

    task = asyncio.create_task(pool.acall(outer))
    for name in "abc":
        await settle()
        assert list(calls.running) == [name]
        calls.running[name].set_result(None)
    await task
    assert calls.most == 1


async def test_one_who_waits_to_borrow_may_leave() -> None:
    pool = AgentPool(1)
    calls = Calls(pool)

    async def outer() -> None:
        first, second, third = calls.begin(*"abc")
        await settle()
        second.cancel()
        await settle()
        calls.running["a"].set_result(None)
        await settle()
        assert calls.order == ["a", "c"]
        calls.running["c"].set_result(None)
        await asyncio.wait([first, second, third])

    await pool.acall(outer)
    assert (pool.status()["active"], pool.status()["queued"]) == (0, 0)


async def test_what_outlives_the_call_it_began_in_keeps_the_place() -> None:
    pool = AgentPool(1)
    calls = Calls(pool)
    tasks = []

    async def outer() -> None:
        tasks.extend(calls.begin(*"ab"))
        await settle()

    async def outermost() -> None:
        await pool.acall(outer)

    await pool.acall(outermost)
    assert (pool.status()["active"], pool.status()["queued"]) == (1, 1)
    (third,) = calls.begin("c")
    await settle()
    assert calls.order == ["a"]
    for name in "abc":
        calls.running[name].set_result(None)
        await settle()
    await asyncio.gather(*tasks, third)
    assert (calls.order, calls.most) == (list("abc"), 1)
    assert pool.status()["active"] == 0


async def test_calls_of_another_pool_within_a_call_take_places_there() -> None:
    outer, inner = AgentPool(1), AgentPool(1)

    async def both() -> tuple:
        return await inner.acall(seen)

    async def seen() -> tuple:
        return outer.status()["active"], inner.status()["active"]

    assert await outer.acall(both) == (1, 1)
    assert (outer.status()["active"], inner.status()["active"]) == (0, 0)


async def test_calls_that_begin_their_successors_keep_nothing_of_them() -> None:
    pool = AgentPool(1)
    chain: list[int] = []

    async def step(left: int) -> None:
        hold, length = holding.get(), 0
        while hold is not None:
            hold, length = hold.outer, length + 1
        chain.append(length)
        if left:
            task = asyncio.create_task(pool.acall(step, left - 1))
            task.add_done_callback(lambda _: None)
            tasks.append(task)

    tasks: list[asyncio.Task] = []
    await pool.acall(step, 50)
    while len(chain) < 51:
        await settle()
    await asyncio.gather(*tasks)
    assert max(chain) <= 3
    assert pool.status()["active"] == 0


async def test_a_call_closed_elsewhere_leaves_the_calls_there_as_they_are() -> None:
    pool = AgentPool(1, wait_timeout=5)
    other = AgentPool(1)
    forgotten = other.acall(Forever)
    Context().run(forgotten.send, None)

    async def outer() -> int:
        forgotten.close()
        return await pool.acall(asyncio.sleep, 0, 7)

    assert await pool.acall(outer) == 7
    assert other.status()["active"] == 0


async def test_while_it_is_open_nobody_joins_the_line() -> None:
    broken = AgentPool(consecutive_failure_limit=1)
    calls = Calls(AgentPool(1, breaker=broken))
    (first,) = calls.begin("first")
    await settle()
    with pytest.raises(ZeroDivisionError):
        broken.call(lambda: 1 / 0)
    with pytest.raises(CircuitOpenError):
        await asyncio.wait_for(calls.pool.acall(calls.work, "second"), 30)
    assert not first.done()
    calls.running["first"].set_result(None)
    await first
    assert calls.order == ["first"]
