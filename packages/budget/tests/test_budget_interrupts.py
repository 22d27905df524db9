"""A signal handler may raise between any two calls, and the pool still cannot lie."""

import asyncio
import contextvars
import sys

import pytest

from waybell_budget import BudgetPool


class Interrupt(BaseException):
    pass


def one_hold(pool) -> None:
    with pool.acquire(1) as budget:
        budget.charge(usd=1)


def two_axes(pool) -> None:
    with pool.acquire(1, 10) as budget:
        budget.charge(usd=1, tokens=10)


def waiting(pool) -> None:
    with pool.acquire(1, 10, wait=True) as budget:
        budget.charge(usd=1, tokens=10)


def waiting_task(pool) -> None:
    async def main() -> None:
        async with pool.acquire(1, 10, wait=True) as budget:
            budget.charge(usd=1, tokens=10)

    coroutine = main()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    finally:
        coroutine.close()


def partition(pool) -> None:
    with pool.partition([1, {"max_usd": 1, "max_tokens": 10}]) as parts:
        for part in parts:
            part.charge(usd=1)


def interrupted(work, pool, after: int) -> str | None:
    """Raise at the nth point where a signal can arrive; tell where, None past the last.

    Those points are where a function begins and where a built-in one has returned.
    """
    seen, where = 0, None

    def profile(frame, event, _argument) -> None:
        nonlocal seen, where
        code = frame.f_code
        if event in ("call", "c_return") and "waybell_budget" in code.co_filename:
            seen += 1
            if seen == after:
                sys.setprofile(None)
                where = code.co_name
                raise Interrupt

    def profiled() -> None:
        sys.setprofile(profile)
        work(pool)

    try:
        contextvars.Context().run(profiled)
    except Interrupt:
        pass
    finally:
        sys.setprofile(None)
    return where


@pytest.mark.parametrize("work", [one_hold, two_axes, waiting, waiting_task, partition])
def test_an_interrupt_anywhere_frees_no_money_that_is_held(work) -> None:
    count, leaks = 0, set()
    while True:
        count += 1
        pool = BudgetPool(usd=10, tokens=100)
        where = interrupted(work, pool, count)
        if where is None:
            break
        now = pool.snapshot()
        assert now.usd_held >= 0, where
        assert now.tokens_held >= 0, where
        assert now.usd_spent + now.usd_held + now.usd_remaining == 10
        assert not pool._ledger.lock._is_owned()
        assert not (pool._watch and pool._watch.queue)
        if now.usd_held or now.tokens_held:
            leaks.add(where)
    assert count > 10
    # Where the books are in the middle of it, too much is held rather than too little.
    assert leaks <= {"__exit__", "settle", "shut", "release", "hold"}


def test_an_interrupt_while_a_task_waits_leaves_the_line() -> None:
    pool = BudgetPool(usd=10)
    with pool.acquire(5) as other:
        other.charge(usd=5)

        async def main() -> None:
            async with pool.acquire(4, wait=True):
                raise Interrupt

        with pytest.raises(Interrupt):
            asyncio.run(main())
    assert (pool.snapshot().usd_held, pool._ledger.open) == (0, 0)
