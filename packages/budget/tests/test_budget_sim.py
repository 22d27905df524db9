"""A thousand schedules each: nothing overspent, leaked, forgotten or overtaken."""

import asyncio
import contextvars

import pytest

from waybell_budget import (
    BudgetDeadlockError,
    BudgetError,
    BudgetExceeded,
    BudgetPool,
)


pytestmark = pytest.mark.soak


def clean(pool, *, cap: int) -> None:
    now = pool.snapshot()
    assert now.usd_held == 0, "a hold leaked"
    assert now.usd_spent + now.usd_remaining == cap
    assert now.usd_overdrawn == 0
    assert not (pool._watch and pool._watch.queue), "somebody is left in line"
    pool.reset()


@pytest.mark.simulate(seeds=1000)
async def test_the_cap_holds_under_random_cancellation(rng) -> None:
    pool = BudgetPool(usd=100)

    async def agent() -> None:
        for _ in range(rng.randint(1, 3)):
            most = rng.randint(1, 60)
            wait = rng.random() < 0.8
            async with pool.acquire(
                most, wait=wait, timeout=rng.choice((1, 50))
            ) as hold:
                await asyncio.sleep(rng.choice((0, 0, 1, 2)))
                if rng.random() < 0.3:
                    async with hold.acquire(most // 2, wait=True) as inner:
                        await asyncio.sleep(rng.choice((0, 1)))
                        inner.charge(usd=rng.randint(0, most // 2))
                hold.charge(usd=rng.randint(0, most - most // 2))
                watch()

    def watch() -> None:
        now = pool.snapshot()
        assert now.usd_spent + now.usd_held <= 100

    async def killer(tasks) -> None:
        for _ in range(3):
            await asyncio.sleep(rng.choice((0, 1, 2)))
            rng.choice(tasks).cancel()

    # Each in a context of its own, as tasks of different requests are.
    tasks = [
        asyncio.create_task(agent(), context=contextvars.Context()) for _ in range(8)
    ]
    await killer(tasks)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, BudgetError | asyncio.CancelledError), outcome
    clean(pool, cap=100)


@pytest.mark.simulate(seeds=1000)
async def test_all_who_wait_are_served_in_the_order_they_came(rng) -> None:
    pool = BudgetPool(usd=10)
    asked: list[int] = []
    served: list[int] = []

    async def agent(number: int) -> None:
        await asyncio.sleep(rng.choice((0, 0, 1, 2)))
        asked.append(number)
        async with pool.acquire(rng.randint(1, 10), wait=True, timeout=10**6) as hold:
            # Granted in order; who awakes first of those granted is the loop's choice.
            served.append(number)
            await asyncio.sleep(rng.choice((0, 1, 2)))
            hold.charge(usd=0)

    grants = watch_grants(pool, served)
    await asyncio.gather(*[agent(number) for number in range(8)])
    assert sorted(served) == sorted(asked) == list(range(8))
    assert grants == sorted(grants)
    clean(pool, cap=10)


def watch_grants(pool, served) -> list[int]:
    """The places in line of all requests, in the order they were granted."""
    ledger, line, grants = pool._ledger, [], []

    class Recorder(type(ledger)):
        __slots__ = ()

        def join(self, waiter) -> None:
            line.append(waiter)
            super().join(waiter)

        def grant(self, waiter) -> None:
            if waiter in line:
                grants.append(line.index(waiter))
            super().grant(waiter)

    pool._ledger = Recorder(ledger.prices, strict=False)
    return grants


@pytest.mark.simulate(seeds=1000)
async def test_no_wake_up_is_lost_when_waiters_are_cancelled(rng) -> None:
    pool = BudgetPool(usd=3)
    done: list[int] = []

    async def agent(number: int) -> None:
        async with pool.acquire(rng.randint(1, 3), wait=True, timeout=10**6) as hold:
            await asyncio.sleep(rng.choice((0, 0, 1)))
            hold.charge(usd=0)
        done.append(number)

    tasks = [asyncio.create_task(agent(number)) for number in range(8)]
    for _ in range(4):
        await asyncio.sleep(rng.choice((0, 0, 1)))
        rng.choice(tasks).cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome is not None] == [
        outcome for outcome in outcomes if isinstance(outcome, asyncio.CancelledError)
    ]
    assert len(done) == sum(outcome is None for outcome in outcomes)
    clean(pool, cap=3)


@pytest.mark.simulate(seeds=1000)
async def test_of_64_calls_of_a_cent_ten_run_on_ten_cents(rng) -> None:
    pool = BudgetPool(usd="0.10")
    ran: list[int] = []

    async def call(number: int) -> None:
        async with pool.acquire(max_usd="0.01") as hold:
            ran.append(number)
            await asyncio.sleep(rng.choice((0, 0, 1, 2)))
            hold.charge(usd="0.01")

    calls = [call(number) for number in range(64)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert len(ran) == 10
    assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 54
    assert pool.snapshot().usd_remaining == 0


@pytest.mark.simulate(seeds=1000)
async def test_holders_who_want_more_never_hang(rng) -> None:
    pool = BudgetPool(usd=10, tokens=10)

    def some() -> dict:
        axes = rng.choice((("max_usd",), ("max_tokens",), ("max_usd", "max_tokens")))
        return {axis: rng.randint(1, 6) for axis in axes}

    async def agent() -> None:
        async with pool.acquire(**some(), wait=True, timeout=10**6) as mine:
            mine.charge(usd=0)
            await asyncio.sleep(rng.choice((0, 0, 1, 2)))
            async with pool.acquire(**some(), wait=True, timeout=10**6) as more:
                await asyncio.sleep(rng.choice((0, 1)))
                more.charge(usd=0)

    async def stranger() -> None:
        await asyncio.sleep(rng.choice((0, 1)))
        async with pool.acquire(rng.randint(5, 10), wait=True, timeout=10**6) as hold:
            hold.charge(usd=0)

    tasks = [
        asyncio.create_task(work(), context=contextvars.Context())
        for work in (agent, agent, agent, agent, stranger, stranger)
    ]
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(outcome, BudgetDeadlockError), outcome
    clean(pool, cap=10)
    assert not pool._ledger.waiting


@pytest.mark.simulate(seeds=1000)
async def test_partitions_and_sub_holds_never_leak(rng) -> None:
    pool = BudgetPool(usd=20, tokens=20)

    async def pipeline() -> None:
        sizes = [rng.randint(1, 5) for _ in range(3)]
        shares = [{"max_usd": size, "max_tokens": size} for size in sizes]
        async with pool.partition(shares, wait=True, timeout=50) as stages:
            for stage, size in zip(stages, sizes, strict=True):
                async with stage, stage.acquire(size, size, wait=True) as call:
                    await asyncio.sleep(rng.choice((0, 0, 1)))
                    call.charge(usd=rng.randint(0, 1), tokens=rng.randint(0, 1))

    tasks = [
        asyncio.create_task(pipeline(), context=contextvars.Context()) for _ in range(5)
    ]
    await asyncio.sleep(rng.choice((0, 1)))
    rng.choice(tasks).cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(
            outcome, BudgetError | asyncio.CancelledError
        ), outcome
    now = pool.snapshot()
    assert (now.usd_held, now.tokens_held) == (0, 0)
    pool.reset()
