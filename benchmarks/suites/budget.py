"""The budget: a counter, a semaphore and ours."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import asyncio
import random
import threading
from itertools import repeat

from benchmarks._cases import Case, Suite, Target


WITH = Case(
    "with",
    "Hold, charge and settle with `with`",
    note="Hold 5 cents, charge 1, give the rest back.",
)
ASYNC_WITH = Case("async_with", "The same with `async with`")
LEVELS = Case(
    "levels",
    "Two levels deep",
    note="A hold of the pool, and in it a hold of that hold, charged and settled.",
)
RACE = Case(
    "race",
    "Overspend race: how many calls ran",
    kind="value",
    unit="calls",
    note="A pool of 10 cents and 64 calls of 1 cent that start together on one "
    "event loop and take different times: 10 may run.",
)
PRICE = Case(
    "price",
    "Pricing one call by its tokens",
    note="Ours also books it; the prices of the others are their own lists'.",
)
GROWTH = Case(
    "growth",
    "Cost against open holds",
    kind="growth",
    note="One hold more, charged and settled, while so many are open.",
)

COUNTER = "a counter behind `threading.Lock`"


class Counter:
    """The least that can hold and settle from threads."""

    __slots__ = ("cap", "held", "lock", "spent")

    def __init__(self):
        self.cap, self.held, self.spent = 10**15, 0, 0
        self.lock = threading.Lock()

    def hold(self, nano):
        with self.lock:
            if self.held + self.spent + nano > self.cap:
                raise OverflowError
            self.held += nano

    def settle(self, held, spent):
        with self.lock:
            self.held -= held
            self.spent += spent


@WITH.limit(COUNTER)
@LEVELS.limit(COUNTER)
def _counter():
    counter = Counter()

    def run(times):
        for _ in repeat(None, times):
            counter.hold(50_000_000)
            counter.settle(50_000_000, 10_000_000)

    yield run


@ASYNC_WITH.limit("`asyncio.Semaphore`")
async def _semaphore():
    semaphore = asyncio.Semaphore(8)

    async def run(times):
        for _ in repeat(None, times):
            async with semaphore:
                pass

    yield run


def new_pool(usd=10**9):
    from waybell_budget import BudgetPool

    return BudgetPool(usd=usd)


@WITH.ours("waybell_budget")
def _ours():
    pool = new_pool()

    def run(times):
        for _ in repeat(None, times):
            with pool.acquire(max_usd=0.05) as budget:
                budget.charge(usd=0.01)

    yield run


@WITH.ours("waybell_budget, money as `str`")
def _ours_str():
    pool = new_pool()

    def run(times):
        for _ in repeat(None, times):
            with pool.acquire(max_usd="0.05") as budget:
                budget.charge(usd="0.01")

    yield run


@WITH.ours("waybell_budget, dollars and tokens")
def _ours_both():
    pool = new_pool()

    def run(times):
        for _ in repeat(None, times):
            with pool.acquire(max_usd=0.05, max_tokens=4000) as budget:
                budget.charge(usd=0.01, tokens=812)

    yield run


@ASYNC_WITH.ours("waybell_budget")
async def _ours_async():
    pool = new_pool()

    async def run(times):
        for _ in repeat(None, times):
            async with pool.acquire(max_usd=0.05) as budget:
                budget.charge(usd=0.01)

    yield run


@LEVELS.ours("waybell_budget")
def _ours_levels():
    pool = new_pool()

    def run(times):
        for _ in repeat(None, times):
            with (
                pool.acquire(max_usd=0.50) as stage,
                stage.acquire(max_usd=0.05) as budget,
            ):
                budget.charge(usd=0.01)

    yield run


def race(call):
    """Run 64 of `call(pause)` together; count those that reached their pause."""

    async def run(_):
        ran, latencies = [], random.Random(7)

        async def pause():
            ran.append(1)
            await asyncio.sleep(latencies.choice((0, 0.001, 0.002)))

        await asyncio.gather(*[call(pause) for _ in range(64)])
        return len(ran)

    return run


@RACE.limit("may run")
def _may_run():
    def run(_):
        return 10

    yield run


@RACE.ours("waybell_budget, hold")
async def _ours_race():
    from waybell_budget import BudgetExceeded

    async def run(times):
        pool = new_pool("0.10")

        async def call(pause):
            try:
                async with pool.acquire(max_usd=0.01) as budget:
                    await pause()
                    budget.charge(usd=0.01)
            except BudgetExceeded:
                return

        return await race(call)(times)

    yield run


def _growing(size):
    @GROWTH.ours("hold, charge, settle", size=size)
    def _grown():
        pool = new_pool()
        held = [pool.acquire(max_usd=0.05) for _ in range(size)]
        for hold in held:
            hold.__enter__().charge(usd=0)

        def run(times):
            for _ in repeat(None, times):
                with pool.acquire(max_usd=0.05) as budget:
                    budget.charge(usd=0.01)

        yield run


for _size in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
    _growing(_size)


SUITE = Suite(
    "budget",
    "Budget",
    (WITH, ASYNC_WITH, LEVELS, PRICE, RACE, GROWTH),
    (
        Target(
            "hold, charge and settle with `with`, against a counter behind a lock",
            WITH,
            "waybell_budget",
            COUNTER,
            6.0,
        ),
        Target(
            "the same with `async with`, against `asyncio.Semaphore`",
            ASYNC_WITH,
            "waybell_budget",
            "`asyncio.Semaphore`",
            5.0,
        ),
        Target(
            "the same with `with`, against token_budget's `with`",
            WITH,
            "waybell_budget",
            "token_budget `with`",
            1.0,
        ),
    ),
)
