"""Real threads: the same promises without a simulator."""

import asyncio
import contextvars
import random
import sys
import threading

import pytest

from waybell_budget import BudgetExceeded, BudgetPool


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_of_64_threads_with_a_cent_each_ten_run_on_ten_cents(run_threads) -> None:
    pool = BudgetPool(usd="0.10")
    ran, refused = [], []

    def call() -> None:
        try:
            with pool.acquire(max_usd="0.01") as budget:
                ran.append(1)
                budget.charge(usd="0.01")
        except BudgetExceeded:
            refused.append(1)

    run_threads(*[call] * 64)
    assert (len(ran), len(refused)) == (10, 54)
    assert pool.snapshot().usd_remaining == 0


def test_threads_lose_no_charge_and_leak_no_hold(run_threads) -> None:
    pool = BudgetPool(usd=10**6, tokens=10**6)

    def work() -> None:
        for _ in range(200):
            with pool.acquire(2, 2, label="a") as outer:
                with outer.acquire(1, 1) as inner:
                    inner.charge(usd=1, tokens=1)
                outer.charge(usd="0.5")

    run_threads(*[work] * 8)
    now = pool.snapshot()
    assert (now.usd_spent, now.tokens_spent) == (2400, 1600)
    assert (now.usd_held, now.tokens_held, now.unreported) == (0, 0, 0)
    assert now.by_label == {"a": (2400, 1600)}
    pool.reset()


def test_only_one_of_many_threads_enters_a_hold(run_threads) -> None:
    for _ in range(50):
        pool = BudgetPool(usd=10)
        budget, entered = pool.acquire(1), []

        def enter(budget=budget, entered=entered) -> None:
            try:
                budget.__enter__()
            except RuntimeError:
                return
            entered.append(1)

        run_threads(*[enter] * 4)
        assert entered == [1]
        assert pool.snapshot().usd_held == 1


def test_threads_and_loops_wait_for_each_other_and_all_are_served(run_threads) -> None:
    pool = BudgetPool(usd=10)
    served: list[int] = []

    def check() -> None:
        now = pool.snapshot()
        assert now.usd_spent + now.usd_held <= 10

    def thread(seed: int):
        rng = random.Random(seed)

        def run() -> None:
            for _ in range(30):
                with pool.acquire(rng.randint(1, 10), wait=True) as budget:
                    check()
                    budget.charge(usd=0)
                served.append(seed)

        return run

    def loop(seed: int):
        rng = random.Random(seed)

        async def agent() -> None:
            for _ in range(10):
                async with pool.acquire(rng.randint(1, 10), wait=True) as budget:
                    check()
                    await asyncio.sleep(0)
                    budget.charge(usd=0)
                served.append(seed)

        async def main() -> None:
            await asyncio.gather(agent(), agent(), agent())

        return lambda: asyncio.run(main())

    run_threads(*[thread(number) for number in range(3)], loop(7), loop(8))
    assert len(served) == 150
    assert pool.snapshot().usd_held == 0
    assert not (pool._watch and pool._watch.queue)


def test_cancelled_loops_beside_threads_leak_nothing(run_threads) -> None:
    pool = BudgetPool(usd=4)

    def thread() -> None:
        for _ in range(40):
            with pool.acquire(3, wait=True) as budget:
                budget.charge(usd=0)

    async def agent() -> None:
        async with pool.acquire(2, wait=True) as budget:
            await asyncio.sleep(0)
            budget.charge(usd=0)

    async def main() -> None:
        for _ in range(20):
            tasks = [asyncio.create_task(agent()) for _ in range(4)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            tasks[2].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run_threads(thread, thread, lambda: asyncio.run(main()))
    assert pool.snapshot().usd_held == 0
    pool.reset()


def test_a_hold_may_be_charged_and_left_by_another_thread() -> None:
    pool = BudgetPool(usd=10)
    budget = pool.acquire(5)
    contextvars.Context().run(budget.__enter__)
    thread = threading.Thread(target=lambda: (budget.charge(usd=1), budget.settle()))
    thread.start()
    thread.join()
    assert (pool.snapshot().usd_spent, pool.snapshot().usd_held) == (1, 0)


def test_a_threshold_rings_once_for_all_threads(run_threads) -> None:
    pool = BudgetPool(usd=100)
    rung = []
    pool.on_threshold(0.5, rung.append)
    run_threads(*[lambda: [pool.charge(usd=1) for _ in range(20)]] * 4)
    assert len(rung) == 1
    assert rung[0].usd_spent >= 50
