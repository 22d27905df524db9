"""A guarded call: the closed breaker's cost, and who gets through a half-open one."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import asyncio
from datetime import timedelta
from itertools import repeat

from benchmarks._cases import Case, Suite, Target
from benchmarks.suites.scheduler_threads import THREADS


CLOSED = Case(
    "closed",
    "A guarded call through the closed breaker",
    note="The function does nothing; the limit calls it without a guard. Ours also "
    "bounds how many calls run at once, which no peer does. circuitbreaker guards only "
    "what it decorates: its own `call` never looks whether it is open.",
)
CLOSED_ASYNC = Case(
    "closed_async",
    "The same of an async function",
    note="It does not suspend.",
)
HALF_OPEN = Case(
    "half_open",
    "Let through by a breaker that has just become half-open, of 50 callers",
    kind="value",
    unit="calls",
    note="One failure opened it and its time is over; 50 tasks call at once, each "
    "call taking 10 ms. One is right: the other side is perhaps still down.",
)
PYBREAKER = {"env": "breakers", "package": "pybreaker"}
AIOBREAKER = {"env": "breakers", "package": "aiobreaker"}
PURGATORY = {"env": "breakers", "package": "purgatory"}
CIRCUITBREAKER = {"env": "breakers", "package": "circuitbreaker"}
BARE = "no guard"
OURS = "waybell_scheduler `AgentPool.call`"
OURS_ASYNC = "waybell_scheduler `AgentPool.acall`"


def nothing():
    """What is guarded."""


async def anothing():
    """The same, async."""


def calls(call):
    def run(times):
        for _ in repeat(None, times):
            call(nothing)

    return run


def acalls(call):
    async def run(times):
        for _ in repeat(None, times):
            await call(anothing)

    return run


def decorated(guarded):
    def run(times):
        for _ in repeat(None, times):
            guarded()

    return run


def adecorated(guarded):
    async def run(times):
        for _ in repeat(None, times):
            await guarded()

    return run


def through(breaker):
    """How many of 50 get through, once `breaker()` gives a call that has just opened."""

    async def run(times):
        passed = 0

        async def down():
            raise ConnectionError

        async def work():
            nonlocal passed
            passed += 1
            await asyncio.sleep(0.01)

        for _ in repeat(None, times):
            call = await breaker()
            await asyncio.gather(call(down), return_exceptions=True)
            await asyncio.sleep(0.03)
            await asyncio.gather(
                *(call(work) for _ in range(50)), return_exceptions=True
            )
        return passed / times

    return run


@CLOSED.limit(BARE)
def _bare():
    yield calls(lambda function: function())


@CLOSED_ASYNC.limit(BARE)
async def _bare_async():
    yield acalls(lambda function: function())


@HALF_OPEN.limit("no breaker")
async def _no_breaker():
    async def breaker():
        return lambda function: function()

    yield through(breaker)


@CLOSED.ours(OURS)
def _pool():
    from waybell_scheduler import AgentPool

    yield calls(AgentPool(64).call)


@CLOSED.ours("the same, its only place taken each time")
def _pool_of_one():
    from waybell_scheduler import AgentPool

    yield calls(AgentPool(1).call)


@CLOSED_ASYNC.ours(OURS_ASYNC)
async def _pool_async():
    from waybell_scheduler import AgentPool

    yield acalls(AgentPool(64).acall)


@CLOSED_ASYNC.ours("the same, its only place taken each time")
async def _pool_of_one_async():
    from waybell_scheduler import AgentPool

    yield acalls(AgentPool(1).acall)


@CLOSED_ASYNC.peer("`asyncio.Semaphore(64)`, no breaker", env="own")
async def _semaphore():
    semaphore = asyncio.Semaphore(64)

    async def call(function):
        async with semaphore:
            await function()

    yield acalls(call)


@HALF_OPEN.ours("waybell_scheduler")
async def _pool_half_open():
    from waybell_scheduler import AgentPool

    async def breaker():
        pool = AgentPool(64, consecutive_failure_limit=1, recovery_timeout_s=0.02)
        return pool.acall

    yield through(breaker)


@CLOSED.peer("pybreaker", **PYBREAKER)
def _pybreaker():
    from pybreaker import CircuitBreaker

    yield calls(CircuitBreaker(fail_max=5).call)


@CLOSED.peer("circuitbreaker, decorated", **CIRCUITBREAKER)
def _circuitbreaker():
    from circuitbreaker import CircuitBreaker

    yield decorated(CircuitBreaker(failure_threshold=5)(nothing))


@CLOSED_ASYNC.peer("circuitbreaker, decorated", **CIRCUITBREAKER)
async def _circuitbreaker_async():
    from circuitbreaker import CircuitBreaker

    yield adecorated(CircuitBreaker(failure_threshold=5)(anothing))


@HALF_OPEN.peer("circuitbreaker, decorated", **CIRCUITBREAKER)
async def _circuitbreaker_half_open():
    from circuitbreaker import CircuitBreaker

    async def breaker():
        one = CircuitBreaker(failure_threshold=1, recovery_timeout=0.02)
        return lambda function: one(function)()

    yield through(breaker)


@CLOSED.peer("aiobreaker", **AIOBREAKER)
def _aiobreaker():
    from aiobreaker import CircuitBreaker

    yield calls(CircuitBreaker(fail_max=5).call)


@CLOSED_ASYNC.peer("aiobreaker", **AIOBREAKER)
async def _aiobreaker_async():
    from aiobreaker import CircuitBreaker

    yield acalls(CircuitBreaker(fail_max=5).call_async)


@HALF_OPEN.peer("aiobreaker", **AIOBREAKER)
async def _aiobreaker_half_open():
    from aiobreaker import CircuitBreaker

    async def breaker():
        wait = timedelta(seconds=0.02)
        return CircuitBreaker(fail_max=1, timeout_duration=wait).call_async

    yield through(breaker)


@CLOSED.peer("purgatory, its breaker at hand", **PURGATORY)
def _purgatory():
    from purgatory import SyncCircuitBreakerFactory

    breaker = SyncCircuitBreakerFactory(default_threshold=5).get_breaker("model")

    def call(function):
        with breaker:
            function()

    yield calls(call)


@CLOSED_ASYNC.peer("purgatory, its breaker at hand", **PURGATORY)
async def _purgatory_async():
    from purgatory import AsyncCircuitBreakerFactory

    factory = AsyncCircuitBreakerFactory(default_threshold=5)
    breaker = await factory.get_breaker("model")

    async def call(function):
        async with breaker:
            await function()

    yield acalls(call)


@CLOSED_ASYNC.peer("purgatory, decorated", **PURGATORY)
async def _purgatory_decorated():
    from purgatory import AsyncCircuitBreakerFactory

    factory = AsyncCircuitBreakerFactory(default_threshold=5)
    yield adecorated(factory("model")(anothing))


@CLOSED.peer("purgatory, decorated", **PURGATORY)
def _purgatory_sync_decorated():
    from purgatory import SyncCircuitBreakerFactory

    yield decorated(SyncCircuitBreakerFactory(default_threshold=5)("model")(nothing))


@HALF_OPEN.peer("purgatory", **PURGATORY)
async def _purgatory_half_open():
    from purgatory import AsyncCircuitBreakerFactory

    async def breaker():
        factory = AsyncCircuitBreakerFactory(default_threshold=1, default_ttl=0.02)
        one = await factory.get_breaker("model")

        async def call(function):
            async with one:
                await function()

        return call

    yield through(breaker)


SUITE = Suite(
    "breaker",
    "Breaker",
    (CLOSED, CLOSED_ASYNC, HALF_OPEN, THREADS),
    targets=tuple(
        Target(f"{what}, against {peer}", case, ours, peer, 0.5)
        for what, case, ours in (
            ("a call through the closed breaker", CLOSED, OURS),
            ("the same of an async function", CLOSED_ASYNC, OURS_ASYNC),
        )
        for peer in ("purgatory, its breaker at hand", "circuitbreaker, decorated")
    ),
    left_out=(("pybreaker, async", "its async calls need Tornado"),),
)
