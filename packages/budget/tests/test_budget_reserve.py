"""A model call's worst case is set aside, or waited for, or refused before it is made."""

import asyncio
import threading
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_budget import (
    BudgetDeadlockError,
    BudgetExceeded,
    BudgetPool,
    BudgetTimeoutError,
    Price,
    UnknownPriceError,
)
from waybell_sim import simulate


PRICES = {"m": Price(input=1, output=10)}  # a micro-dollar in, ten out


def test_the_worst_case_of_a_call_is_held_and_what_is_left_comes_back():
    pool = BudgetPool(usd="0.01", prices=PRICES)
    with pool.reserve(500, model="m", input_tokens=1000) as call:
        assert call.max_tokens == 500
        assert pool.snapshot().usd_held == Decimal("0.006")
        call.charge(model="m", usage={"input_tokens": 1000, "output_tokens": 20})
    assert pool.snapshot().usd_spent == Decimal("0.0012")
    assert pool.snapshot().usd_held == 0


def test_more_output_than_can_be_paid_is_not_allowed():
    pool = BudgetPool(usd="0.001", tokens=90, prices=PRICES)
    with pool.reserve(4096, model="m", input_tokens=10) as call:
        assert call.max_tokens == 80
    pool = BudgetPool(usd="0.001", prices=PRICES)
    with pool.reserve(4096, model="m", input_tokens=10) as call:
        assert call.max_tokens == 99
        assert pool.snapshot().usd_remaining == 0


def test_without_a_limit_nothing_is_held_and_no_price_is_needed():
    pool = BudgetPool()
    with pool.reserve(4096, model="nobody knows", input_tokens=10) as call:
        assert call.max_tokens == 4096
        call.charge(usd=1)
    pool = BudgetPool(tokens=100)
    with pool.reserve(50, model="nobody knows", input_tokens=10) as call:
        assert pool.snapshot().tokens_held == 60
        call.charge(tokens=12)
    assert pool.snapshot().tokens_spent == 12


def test_a_price_that_nobody_knows_is_refused_before_the_call():
    pool = BudgetPool(usd=1, prices={})
    with (
        pytest.raises(UnknownPriceError, match="new-model"),
        pool.reserve(1, model="new-model"),
    ):
        raise AssertionError("never reached")
    stated = {"input": 1, "output": 2}
    with pool.reserve(10, model="new-model", input_tokens=5, price=stated) as call:
        assert pool.snapshot().usd_held == Decimal("0.000025")
        call.charge(usd=0)


def test_a_call_that_cannot_be_paid_at_all_is_refused():
    pool = BudgetPool(usd="0.00001", prices=PRICES)
    with pytest.raises(BudgetExceeded), pool.reserve(1, model="m", input_tokens=1):
        raise AssertionError("never reached")
    with (
        pytest.raises(BudgetExceeded),
        BudgetPool(tokens=10).reserve(1, input_tokens=10, wait=True),
    ):
        raise AssertionError("never reached")
    with pytest.raises(ValueError, match="at least 1"):
        pool.reserve(0, model="m")


def test_what_others_hold_is_refused_without_a_wait():
    pool = BudgetPool(usd="0.001", prices=PRICES)
    with pool.reserve(100, model="m") as call:
        with pytest.raises(BudgetExceeded), pool.reserve(1, model="m"):
            raise AssertionError("never reached")
        call.charge(usd=0)


async def test_who_holds_it_all_waits_for_nobody_and_is_told_so():
    pool = BudgetPool(usd="0.001", prices=PRICES)
    async with pool.reserve(100, model="m") as call:
        with pytest.raises(BudgetDeadlockError):
            async with pool.reserve(1, model="m", wait=True):
                raise AssertionError("never reached")
        call.charge(usd=0)


async def test_a_wait_runs_out():
    pool = BudgetPool(usd="0.001", prices=PRICES)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def holder():
        async with pool.reserve(100, model="m") as call:
            entered.set()
            await leave.wait()
            call.charge(usd=0)

    task = asyncio.create_task(holder())
    await entered.wait()
    with pytest.raises(BudgetTimeoutError):
        async with pool.reserve(1, model="m", wait=True, timeout=0.01):
            raise AssertionError("never reached")
    leave.set()
    await task


def test_a_wait_that_begins_anew_for_less_is_no_longer():
    async def main(rng):
        loop = asyncio.get_running_loop()
        pool = BudgetPool(usd="0.001", prices=PRICES)

        async def holder():
            async with pool.acquire(max_usd="0.001") as hold:
                await asyncio.sleep(40)
                hold.charge(usd="0.0005")
                await asyncio.sleep(160)

        task = asyncio.create_task(holder())
        await asyncio.sleep(1)
        with pytest.raises(BudgetTimeoutError):
            async with pool.reserve(100, model="m", wait=True, timeout=60):
                raise AssertionError("never reached")
        assert loop.time() == pytest.approx(61, abs=1)
        await task

    simulate(main, seeds=20)


@pytest.mark.soak
def test_calls_that_wait_use_all_the_money_and_never_more():
    async def main(rng):
        cap = rng.randrange(1, 3000)
        pool = BudgetPool(usd=Decimal(cap) / 10**6, prices=PRICES)
        done, refused = [], []

        async def call():
            try:
                async with pool.reserve(
                    rng.randrange(1, 200), model="m", input_tokens=7, wait=True
                ) as budget:
                    assert pool.snapshot().usd_remaining >= 0
                    await asyncio.sleep(rng.random())
                    used = rng.randrange(1, budget.max_tokens + 1)
                    budget.charge(
                        model="m", usage={"input_tokens": 7, "output_tokens": used}
                    )
                    done.append(7 + 10 * used)
            except BudgetExceeded:
                refused.append(1)

        await asyncio.gather(*(call() for _ in range(rng.randrange(1, 20))))
        shot = pool.snapshot()
        assert shot.usd_overdrawn == shot.usd_held == 0
        assert int(shot.usd_spent * 10**6) == sum(done) <= cap
        if refused:  # nobody is refused what could have been paid
            assert cap - sum(done) < 17

    simulate(main, seeds=1000)


def test_threads_wait_for_each_other_and_stay_within_the_cap():
    pool = BudgetPool(usd="0.002", prices=PRICES)
    refused = []

    def work():
        for _ in range(20):
            try:
                with pool.reserve(100, model="m", input_tokens=5, wait=True) as call:
                    call.charge(
                        model="m", usage={"input_tokens": 5, "output_tokens": 3}
                    )
            except BudgetExceeded:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shot = pool.snapshot()
    assert shot.usd_overdrawn == shot.usd_held == 0
    assert shot.usd_spent == Decimal("0.000035") * (160 - len(refused))
    assert Decimal("0.002") - shot.usd_spent < Decimal("0.000035")


@given(
    st.integers(0, 10**6), st.integers(0, 5000), st.integers(1, 10_000), st.booleans()
)
def test_what_is_held_pays_for_what_is_allowed(nano, given, want, nested):
    pool = BudgetPool(usd=Decimal(nano) / 10**9, prices=PRICES)
    with pool.acquire(max_usd=Decimal(nano) / 10**9) as hold:
        source = hold if nested else pool
        if not nested:
            hold.settle()
        try:
            with source.reserve(want, model="m", input_tokens=given) as call:
                assert 1 <= call.max_tokens <= want
                call.charge(
                    model="m",
                    usage={"input_tokens": given, "output_tokens": call.max_tokens},
                )
        except BudgetExceeded:
            assert 1000 * given + 10_000 > nano
    assert pool.snapshot().usd_overdrawn == 0


def test_a_usage_has_its_price_without_being_charged():
    pool = BudgetPool(prices=PRICES)
    usage = {"input_tokens": 7, "output_tokens": 2}
    assert pool.quote(model="m", usage=usage) == Decimal("0.000027")
    assert pool.snapshot().usd_spent == 0
    guess = BudgetPool(unknown="ceiling", ceiling=Price(input=1, output=1))
    for asked in (pool, guess):
        with pytest.raises(UnknownPriceError):
            asked.quote(model="new-model", usage=usage)
