"""Waiting: fair, bounded, cancel-safe, and never without hope."""

import asyncio
import contextvars
import signal
import threading

import pytest

from waybell_budget import (
    BudgetClosedError,
    BudgetDeadlockError,
    BudgetExceeded,
    BudgetPool,
    BudgetTimeoutError,
)
from waybell_budget._ledger import Ledger


def held(pool) -> tuple:
    now = pool.snapshot()
    return now.usd_spent, now.usd_held


def start(coroutine) -> asyncio.Task:
    """A task that none of the caller's holds enclose."""
    return asyncio.create_task(coroutine, context=contextvars.Context())


async def settle_down() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class Line:
    """Tasks that each hold money until told to let go."""

    def __init__(self, pool) -> None:
        self.pool = pool
        self.order: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def stand(self, name: str, usd, spend=0, **settings) -> None:
        self.gates[name] = asyncio.Event()
        async with self.pool.acquire(usd, wait=True, **settings) as budget:
            self.order.append(name)
            await self.gates[name].wait()
            budget.charge(usd=spend)

    async def join(self, name: str, usd, **settings) -> asyncio.Task:
        task = start(self.stand(name, usd, **settings))
        await settle_down()
        return task

    async def leave(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()
        await settle_down()


async def test_a_later_small_request_does_not_overtake_a_big_one() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    first = await line.join("first", 6)
    big = await line.join("big", 8)
    small = await line.join("small", 1)
    assert line.order == ["first"]
    with pytest.raises(BudgetExceeded) as caught, pool.acquire(1):
        pass
    assert caught.value.left == 0  # four are free, but not for whoever comes last
    await line.leave("first")
    assert line.order == ["first", "big", "small"]
    await line.leave("big", "small")
    await asyncio.gather(first, big, small)
    assert held(pool) == (0, 0)


async def test_a_wait_that_runs_out_is_a_timeout_and_lets_the_next_one_go() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    first = await line.join("first", 6)
    big = await line.join("big", 8, timeout=0.01)
    small = await line.join("small", 1)
    with pytest.raises(TimeoutError) as caught:
        await big
    assert isinstance(caught.value, BudgetTimeoutError)
    assert (caught.value.asked, caught.value.left) == (8, 4)
    assert caught.value.__context__ is None
    await settle_down()
    assert line.order == ["first", "small"]
    await line.leave("first", "small")
    await asyncio.gather(first, small)
    with somebody_holding(pool, 1), pytest.raises(BudgetTimeoutError):
        await pool.acquire(10, wait=True, timeout=0).__aenter__()


async def test_a_hold_that_was_not_granted_may_be_tried_again() -> None:
    pool = BudgetPool(usd=10)
    budget = pool.acquire(10, wait=True, timeout=0)
    with somebody_holding(pool, 1):
        for _ in range(2):
            with pytest.raises(BudgetTimeoutError):
                await budget.__aenter__()
    async with budget:
        budget.charge(usd=0)


async def test_a_cancelled_waiter_lets_the_next_one_go() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    first = await line.join("first", 6)
    big = await line.join("big", 8)
    small = await line.join("small", 1)
    big.cancel()
    await settle_down()
    assert big.cancelled()
    assert line.order == ["first", "small"]
    await line.leave("first", "small")
    await asyncio.gather(first, small)


async def test_cancelled_at_the_instant_of_the_grant_gives_the_money_on() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    first = await line.join("first", 10)
    second = await line.join("second", 10)
    third = await line.join("third", 10)
    line.gates["first"].set()
    await asyncio.sleep(0)  # first settles: second is granted, and not yet awake
    assert first.done() or held(pool) == (0, 10)
    second.cancel()
    await settle_down()
    assert second.cancelled()
    assert line.order == ["first", "third"]
    await line.leave("third")
    await third
    assert held(pool) == (0, 0)


async def test_what_can_never_fit_fails_at_once() -> None:
    pool = BudgetPool(usd=10, tokens=5)
    with pool.acquire(9) as budget:
        budget.charge(usd=3)
        task = start(pool.acquire(8, wait=True).__aenter__())
        with pytest.raises(BudgetExceeded):
            await task
        task = start(pool.acquire(1, 6, wait=True).__aenter__())
        with pytest.raises(BudgetExceeded, match="6 tokens"):
            await task


async def test_a_waiter_fails_when_the_money_it_waits_for_is_spent() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    first = await line.join("first", 9, spend=3)
    big = await line.join("big", 8)
    small = await line.join("small", 2)
    assert not big.done()
    await line.leave("first")
    with pytest.raises(BudgetExceeded) as caught:
        await big
    assert caught.value.asked == 8
    assert line.order == ["first", "small"]
    await line.leave("small")
    await asyncio.gather(first, small)


async def test_a_pool_that_closes_fails_all_who_wait() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    first = await line.join("first", 10, spend=11)
    others = [await line.join(str(number), 1) for number in range(3)]
    await line.leave("first")
    for task in (first, *others):
        with pytest.raises(BudgetExceeded):
            await task


async def test_waiting_for_ones_own_hold_is_a_deadlock() -> None:
    pool = BudgetPool(usd=10)
    async with pool.acquire(6) as outer:
        with pytest.raises(BudgetDeadlockError) as caught:
            async with pool.acquire(5, wait=True):
                pass
        assert (caught.value.asked, caught.value.left) == (5, 4)

        async def child() -> None:
            async with pool.acquire(5, wait=True):
                pass

        with pytest.raises(BudgetDeadlockError):
            await asyncio.create_task(child())
        with pytest.raises(BudgetDeadlockError):
            await asyncio.to_thread(lambda: pool.acquire(5, wait=True).__enter__())
        async with outer.acquire(5, wait=True) as inner:
            inner.charge(usd=1)
    assert held(pool) == (1, 0)


async def test_a_partition_and_a_nested_hold_count_as_ones_own() -> None:
    pool = BudgetPool(usd=10)
    async with pool.partition([3, 3]) as (part, _), part.acquire(1) as inner:
        inner.charge(usd=0)
        with pytest.raises(BudgetDeadlockError):
            async with pool.acquire(5, wait=True):
                pass
    async with pool.acquire(max_tokens=1) as outer:
        outer.charge(tokens=0)
        async with outer.acquire(6) as inner:
            inner.charge(usd=0)
            with pytest.raises(BudgetDeadlockError):
                async with pool.acquire(5, wait=True):
                    pass


async def test_a_hold_that_two_children_inherit_counts_once() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    stranger = await line.join("stranger", 5)
    async with pool.acquire(4) as mine:
        mine.charge(usd=0)
        children = [asyncio.create_task(line.stand(name, 6)) for name in ("a", "b")]
        await settle_down()
        await line.leave("stranger")
        await line.leave("a")
        await line.leave("b")
        await asyncio.gather(stranger, *children)
    assert line.order == ["stranger", "a", "b"]


async def test_a_hold_that_was_overrun_still_keeps_what_its_sub_holds_have() -> None:
    pool = BudgetPool(usd=10)
    async with pool.acquire(2) as stage, stage.acquire(2) as call:
        call.charge(usd=0)
        with pytest.raises(BudgetExceeded):
            stage.charge(usd=3)
        with pytest.raises(BudgetDeadlockError) as caught:
            await pool.acquire(6, wait=True, timeout=1).__aenter__()
        assert caught.value.left == 5


async def test_a_hold_that_was_left_is_no_longer_ones_own() -> None:
    pool, other = BudgetPool(usd=10), BudgetPool(usd=10)
    line = Line(pool)
    stranger = await line.join("stranger", 6)
    async with other.acquire(10) as elsewhere:
        elsewhere.charge(usd=0)
        async with pool.acquire(4) as early:
            early.charge(usd=0)
            waiter = asyncio.create_task(line.stand("waiter", 6))
            await settle_down()
    assert not waiter.done()
    await line.leave("stranger")
    assert line.order == ["stranger", "waiter"]
    await line.leave("waiter")
    await asyncio.gather(stranger, waiter)


async def test_whoever_holds_what_the_first_in_line_needs_goes_before_it() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    async with pool.acquire(6) as mine:
        mine.charge(usd=0)
        big = await line.join("big", 8)
        async with pool.acquire(2, wait=True) as more:
            more.charge(usd=0)
        with pool.acquire(2) as more:  # neither must it wait
            more.charge(usd=0)
        nested = asyncio.create_task(line.stand("nested", 3))
        await settle_down()
        assert line.order == ["nested"]
        await line.leave("nested")
        await nested
        assert not big.done()
    await settle_down()
    assert line.order == ["nested", "big"]
    await line.leave("big")
    await big


async def test_a_holder_waits_its_turn_behind_who_does_not_need_its_money() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    stranger = await line.join("stranger", 5)
    async with pool.acquire(1) as mine:
        mine.charge(usd=0)
        first = await line.join("first", 6)
        second = asyncio.create_task(line.stand("second", 1))
        await settle_down()
        assert line.order == ["stranger"]
        await line.leave("stranger")
        assert line.order == ["stranger", "first", "second"]
        await line.leave("first", "second")
        await asyncio.gather(stranger, first, second)


async def test_holders_go_before_who_needs_the_money_of_several_of_them() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    go = asyncio.Event()

    async def holder(more: int, name: str) -> None:
        async with pool.acquire(1) as mine:
            mine.charge(usd=0)
            await go.wait()
            await line.stand(name, more)

    first, second = start(holder(1, "first")), start(holder(2, "second"))
    await settle_down()
    big = await line.join("big", 9)  # needs the money of one of the two
    go.set()
    await settle_down()
    assert line.order == ["first"]
    await line.leave("first")
    await line.leave("big")
    assert line.order == ["first", "big", "second"]
    await line.leave("second")
    await asyncio.gather(first, second, big)


async def test_of_two_that_wait_for_each_other_the_second_is_told() -> None:
    pool = BudgetPool(usd=10, tokens=10)
    line = Line(pool)

    async def holder(first: dict, more: dict, name: str) -> None:
        async with pool.acquire(**first) as mine:
            mine.charge(usd=0)
            await asyncio.sleep(0)
            await line.stand(name, more.pop("max_usd", None), **more)

    for first, other in (
        (({"max_usd": 5}, {"max_usd": 5}), ({"max_usd": 5}, {"max_usd": 5})),
        (({"max_usd": 9}, {"max_tokens": 5}), ({"max_tokens": 9}, {"max_usd": 5})),
    ):
        waits = start(holder(*first, "waits"))
        told = start(holder(*other, "told"))
        await settle_down()
        with pytest.raises(BudgetDeadlockError) as caught:
            await told
        assert caught.value.left < caught.value.asked
        await settle_down()
        await line.leave("waits")
        await waits
    assert held(pool) == (0, 0)


async def test_a_knot_tied_by_a_charge_is_cut_at_its_youngest() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    stranger = pool.acquire(4)
    contextvars.Context().run(stranger.__enter__)

    async def holder(name: str) -> None:
        async with pool.acquire(3) as mine:
            mine.charge(usd=0)
            await asyncio.sleep(0)
            await line.stand(name, 4)

    older, younger = start(holder("older")), start(holder("younger"))
    await settle_down()
    assert line.order == []
    stranger.charge(usd=1)
    with pytest.raises(BudgetDeadlockError):
        await younger
    stranger.settle()
    await settle_down()
    assert line.order == ["older"]
    await line.leave("older")
    await older
    assert held(pool) == (1, 0)


async def test_a_charge_that_blocks_the_first_lets_a_holder_go_before_it() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    stranger = pool.acquire(1)
    contextvars.Context().run(stranger.__enter__)

    async def holder() -> None:
        async with pool.acquire(1) as mine:
            mine.charge(usd=0)
            await asyncio.sleep(0)
            await line.stand("holder", 1)

    small = asyncio.create_task(holder(), context=contextvars.Context())
    big = await line.join("big", 9)
    await settle_down()
    assert line.order == []
    stranger.charge(usd="0.5")  # now big needs what small holds
    await settle_down()
    assert line.order == ["holder"]
    stranger.settle()
    await line.leave("holder")
    await line.leave("big")
    await asyncio.gather(small, big)


async def test_a_holder_that_joins_lets_others_go_before_the_first() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    go = [asyncio.Event(), asyncio.Event()]

    async def holder(number: int, more: float, name: str) -> None:
        async with pool.acquire(1) as mine:
            mine.charge(usd=0)
            await go[number].wait()
            await line.stand(name, more)

    small, large = start(holder(0, 1, "small")), start(holder(1, 8.5, "large"))
    await settle_down()
    big = await line.join("big", 9)
    go[0].set()
    await settle_down()
    assert line.order == []  # large may still give way, and big come before small
    go[1].set()
    await settle_down()
    assert line.order == ["small"]
    await line.leave("small")
    await line.leave("big")
    assert line.order == ["small", "big", "large"]
    await line.leave("large")
    await asyncio.gather(small, large, big)
    assert held(pool) == (0, 0)


async def test_a_waiter_collected_while_others_are_served_upsets_nobody() -> None:
    class Collecting(Ledger):
        """The collector may close an abandoned coroutine at any moment."""

        __slots__ = ()

        def grant(self, waiter) -> None:
            super().grant(waiter)
            if len(self.waiting) == 3:
                self.leave(list(self.waiting)[1])

    pool = BudgetPool(usd=10)
    pool._ledger = Collecting(pool._ledger.prices, strict=False)
    line = Line(pool)
    tasks = [await line.join("first", 10)]
    tasks += [await line.join(name, 3) for name in ("second", "gone", "third")]
    await line.leave("first")
    assert line.order == ["first", "second", "third"]
    tasks.pop(2).cancel()
    await line.leave("second", "third")
    await asyncio.gather(*tasks)
    assert held(pool) == (0, 0)


async def test_those_who_wait_on_a_budget_that_is_left_are_told() -> None:
    pool = BudgetPool(usd=10)
    stage = pool.acquire(5)
    async with stage:
        line = Line(stage)
        first = await line.join("first", 5)
        waiting = [await line.join(str(number), 1) for number in range(2)]
    for task in waiting:
        with pytest.raises(BudgetClosedError):
            await task
    await line.leave("first")
    await first
    assert held(pool) == (0, 0)


async def test_a_grant_from_a_budget_left_meanwhile_is_given_back() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    stranger = await line.join("stranger", 10)
    stage = pool.acquire(max_tokens=5)
    async with stage:
        stage.charge(tokens=0)
        waiting = start(stage.acquire(2, wait=True).__aenter__())
        await settle_down()
    await line.leave("stranger")
    with pytest.raises(BudgetClosedError):
        await waiting
    await stranger
    assert held(pool) == (0, 0)


async def test_two_axes_from_two_pools_stand_in_two_lines() -> None:
    pool = BudgetPool(usd=10)
    async with pool.acquire(max_tokens=10) as stage:
        stage.charge(tokens=0)
        money, counts = Line(pool), Line(stage)
        rich = await money.join("rich", 10)
        wordy = await counts.join("wordy", None, max_tokens=10)
        both = await counts.join("both", 5, max_tokens=5)
        more = await money.join("more", 1)
        words = await counts.join("words", None, max_tokens=1)
        await counts.leave("wordy")
        assert (money.order, counts.order) == (["rich"], ["wordy"])
        await money.leave("rich")
        assert (money.order, counts.order) == (
            ["rich", "more"],
            ["wordy", "both", "words"],
        )
        await counts.leave("both", "words")
        await money.leave("more")
        await asyncio.gather(rich, wordy, both, more, words)
    assert held(pool) == (0, 0)


async def test_a_partition_waits_for_all_its_parts_together() -> None:
    pool = BudgetPool(usd=10)
    line = Line(pool)
    first = await line.join("first", 6)

    async def stages() -> None:
        async with pool.partition([4, 4], wait=True) as parts:
            for part in parts:
                part.charge(usd=1)

    waiting = start(stages())
    await settle_down()
    assert held(pool) == (0, 6)
    await line.leave("first")
    await asyncio.gather(first, waiting)
    assert held(pool) == (2, 0)


async def test_sync_code_on_a_loops_thread_is_told_to_use_async_with() -> None:
    pool = BudgetPool(usd=10)
    with pytest.raises(RuntimeError, match="async with"), pool.acquire(1, wait=True):
        pass
    with pytest.raises(RuntimeError, match="async with"):
        pool.partition([1], wait=True).__enter__()
    assert held(pool) == (0, 0)


def test_threads_wait_in_the_same_line(run_threads) -> None:
    pool = BudgetPool(usd=10)
    order, entered, go = [], threading.Event(), threading.Event()

    def first() -> None:
        with pool.acquire(10, wait=True) as budget:
            entered.set()
            go.wait(10)
            budget.charge(usd=1)

    def later() -> None:
        entered.wait(10)
        with pool.acquire(9, wait=True) as budget:
            order.append(budget)
            budget.charge(usd=0)

    def release() -> None:
        while len(pool._watch.queue if pool._watch else ()) < 2:
            threading.Event().wait(0.001)
        go.set()

    run_threads(first, later, later, release)
    assert len(order) == 2
    assert held(pool) == (1, 0)


def test_a_thread_gives_up_in_time_and_what_is_hopeless_fails_at_once() -> None:
    pool = BudgetPool(usd=10)
    with somebody_holding(pool, 8):
        with (
            pytest.raises(BudgetTimeoutError),
            pool.acquire(5, wait=True, timeout=0.01),
        ):
            pass
        with pytest.raises(BudgetExceeded), pool.acquire(11, wait=True):
            pass
        with pool.acquire(2, wait=True) as budget:
            budget.charge(usd=0)
            with pytest.raises(BudgetClosedError):
                budget.__enter__()
    assert held(pool) == (0, 0)


class somebody_holding:  # noqa: N801  # reads as the function it stands for
    """Hold money outside this context, so that it is somebody else's."""

    def __init__(self, pool, usd) -> None:
        self.budget = pool.acquire(usd)

    def __enter__(self) -> None:
        contextvars.Context().run(self.budget.__enter__)

    def __exit__(self, *_error: object) -> None:
        self.budget.charge(usd=0)
        self.budget.settle()


def test_an_interrupted_thread_leaves_the_line() -> None:
    pool = BudgetPool(usd=10)

    def interrupt() -> None:
        while not (pool._watch and pool._watch.queue):
            threading.Event().wait(0.001)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with somebody_holding(pool, 8):
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt), pool.acquire(5, wait=True):
            pass
        thread.join()
        assert not pool._watch.queue
    assert held(pool) == (0, 0)


def test_tasks_and_threads_share_one_line(run_threads) -> None:
    pool = BudgetPool(usd=10)
    order: list[str] = []

    def waiting() -> int:
        return len(pool._watch.queue) if pool._watch else 0

    def arrive(turn: int) -> None:
        while waiting() < turn:
            threading.Event().wait(0.001)

    def thread(name: str, turn: int):
        def run() -> None:
            arrive(turn)
            with pool.acquire(10, wait=True) as budget:
                order.append(name)
                budget.charge(usd=0)

        return run

    def loop(name: str, turn: int):
        async def main() -> None:
            async with pool.acquire(10, wait=True) as budget:
                order.append(name)
                budget.charge(usd=0)

        def run() -> None:
            arrive(turn)
            asyncio.run(main())

        return run

    def release() -> None:
        arrive(4)
        first.charge(usd=0)
        first.settle()

    first = pool.acquire(10)
    contextvars.Context().run(first.__enter__)
    run_threads(thread("a", 0), loop("b", 1), thread("c", 2), loop("d", 3), release)
    assert order == ["a", "b", "c", "d"]
    assert held(pool) == (0, 0)


def test_a_waiter_whose_loop_was_closed_is_passed_over() -> None:
    pool = BudgetPool(usd=10)
    first = pool.acquire(10)
    contextvars.Context().run(first.__enter__)
    loop = asyncio.new_event_loop()
    dead = loop.create_task(pool.acquire(10, wait=True).__aenter__())
    loop.run_until_complete(settle_down())
    assert len(pool._watch.queue) == 1
    loop.close()
    second = pool.acquire(10, wait=True)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(second.__enter__()))
    thread.start()
    while len(pool._watch.queue) < 2:
        threading.Event().wait(0.001)
    first.charge(usd=0)
    first.settle()
    thread.join(10)
    assert seen == [second]
    second.charge(usd=0)
    second.settle()
    assert held(pool) == (0, 0)
    dead._log_destroy_pending = False
    dead.get_coro().close()


def test_a_loop_closed_in_the_same_thread_is_passed_over_too() -> None:
    pool = BudgetPool(usd=10)
    first = pool.acquire(10)
    contextvars.Context().run(first.__enter__)
    loop = asyncio.new_event_loop()
    dead = loop.create_task(pool.acquire(10, wait=True).__aenter__())
    loop.run_until_complete(settle_down())
    loop.close()
    first.charge(usd=0)
    first.settle()
    assert held(pool) == (0, 0)
    with pool.acquire(10) as budget:
        budget.charge(usd=0)
    dead._log_destroy_pending = False
    dead.get_coro().close()
    assert held(pool) == (0, 0)


def test_one_pool_serves_any_number_of_event_loops() -> None:
    pool = BudgetPool(usd=10)

    async def main() -> None:
        line = Line(pool)
        tasks = [await line.join(str(number), 10) for number in range(3)]
        for number in range(3):
            await line.leave(str(number))
        await asyncio.gather(*tasks)

    for _ in range(3):
        asyncio.run(main())
    assert held(pool) == (0, 0)
