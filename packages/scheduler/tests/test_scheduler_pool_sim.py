"""A thousand schedules each: never too many, one probe, nothing late, nothing lost."""

import asyncio
from contextlib import suppress
from contextvars import Context

import pytest

from waybell_scheduler import AgentPool, CircuitOpenError


pytestmark = pytest.mark.soak


class Refused(ConnectionError):
    """A failure that asks to wait."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("refused")
        self.retry_after = retry_after


def clean(pool: AgentPool) -> None:
    status = pool.status()
    assert (status["active"], status["queued"]) == (0, 0), "a place leaked"
    assert len(pool._gate.places.free) == status["max_concurrent"]
    assert pool._gate.places.free[0] is not None, "the last place is not the bottom one"


def task(coroutine) -> asyncio.Task:
    """In a context of its own, as tasks of different requests are."""
    return asyncio.create_task(coroutine, context=Context())


@pytest.mark.simulate(seeds=1000)
async def test_concurrency_is_never_exceeded_whatever_is_cancelled(rng) -> None:
    size = rng.randint(1, 4)
    pool = AgentPool(
        size, consecutive_failure_limit=100, wait_timeout=rng.choice((2, 1000))
    )
    running = 0

    async def work(depth: int) -> None:
        nonlocal running
        running += 1
        assert running <= size, "too many at once"
        try:
            await asyncio.sleep(rng.choice((0, 0, 1, 2)))
            if rng.random() < 0.2:
                raise OSError("down")
        finally:
            running -= 1
        if depth and rng.random() < 0.4:
            inner = [pool.acall(work, depth - 1) for _ in range(rng.randint(1, 2))]
            await asyncio.gather(*inner, return_exceptions=True)

    async def caller() -> None:
        await asyncio.sleep(rng.choice((0, 0, 1)))
        await pool.acall(work, 2)

    callers = [task(caller()) for _ in range(10)]
    for _ in range(3):
        await asyncio.sleep(rng.choice((0, 1, 2)))
        rng.choice(callers).cancel()
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        assert outcome is None or isinstance(
            outcome, OSError | TimeoutError | asyncio.CancelledError
        ), outcome
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if rest:  # what gather left when it was cancelled
        await asyncio.wait(rest)
    clean(pool)


@pytest.mark.simulate(seeds=1000)
async def test_all_are_served_in_the_order_they_came(rng) -> None:
    pool = AgentPool(1)
    asked, served = [], []

    async def work(number: int) -> None:
        served.append(number)
        await asyncio.sleep(rng.choice((0, 0, 1, 2)))

    async def caller(number: int) -> None:
        await asyncio.sleep(rng.choice((0, 0, 1, 2)))
        asked.append(number)
        await pool.acall(work, number)

    callers = [task(caller(n)) for n in range(12)]
    await asyncio.sleep(rng.choice((0, 1, 2, 3)))
    gone = rng.randrange(12)
    callers[gone].cancel()
    await asyncio.wait(callers)
    assert served == [number for number in asked if number != gone or number in served]
    assert len(served) >= 11
    clean(pool)


@pytest.mark.simulate(seeds=1000)
async def test_of_fifty_callers_one_probes(rng) -> None:
    pool = AgentPool(
        50, consecutive_failure_limit=rng.randint(1, 3), recovery_timeout_s=10
    )
    fate = rng.choice(["succeeds", "fails", "is cancelled", "says nothing"])
    probes = 0

    async def down() -> None:
        await asyncio.sleep(rng.choice((0, 1)))
        raise Refused(rng.choice((None, 3, 20)))

    await asyncio.gather(
        *(task(pool.acall(down)) for _ in range(3)), return_exceptions=True
    )
    assert pool.status()["state"] == "open"
    await asyncio.sleep(pool.retry_after())

    async def probe() -> None:
        nonlocal probes
        probes += 1
        await asyncio.sleep(5)
        if fate == "fails":
            raise Refused(None)
        if fate == "says nothing":
            error = ValueError("bad request")
            error.status = 400
            raise error

    waits = []

    async def caller() -> None:
        await asyncio.sleep(rng.choice((0, 1, 2)))
        try:
            await pool.acall(probe)
        except CircuitOpenError as error:
            waits.append(error.retry_after)

    callers = [task(caller()) for _ in range(50)]
    await asyncio.sleep(3)
    assert probes == 1
    assert sum(one.done() for one in callers) == len(waits) == 49
    assert min(waits) > 0
    (probing,) = [one for one in callers if not one.done()]
    if fate == "is cancelled":
        probing.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    status = pool.status()
    expected = {"succeeds": "closed", "fails": "open"}.get(fate, "half_open")
    assert (probes, status["state"]) == (1, expected)
    if expected == "half_open":
        assert pool.retry_after() == 0
    clean(pool)


class Witness:
    """Sees the state as each call begins and ends, and knows which ones may change it."""

    def __init__(self, pool: AgentPool) -> None:
        self.pool = pool
        self.changes = 0
        self.probe: asyncio.Task | None = None
        self.known = "closed"

    def state(self) -> str:
        return self.pool.status()["state"]

    async def guarded(self, work) -> None:
        me = asyncio.current_task()
        began = before = None

        async def call() -> None:
            nonlocal began, before
            if self.state() == "half_open":
                assert self.probe is None, "two probes"
                self.probe = me
                self.changes += self.known == "open"
            self.known = self.state()
            assert self.known != "open", "a call was made while it is open"
            began = self.changes
            try:
                await work()
            finally:
                before = self.state()

        try:
            await self.pool.acall(call)
        finally:  # in the same step as what the pool did when the call ended
            if before is not None:
                fresh = began == self.changes and (
                    before == "closed" or self.probe is me
                )
                after = self.state()
                assert fresh or after == before, "a late result settled something"
                self.changes += after != before
                self.known = after
                if self.probe is me:
                    self.probe = None


@pytest.mark.simulate(seeds=1000)
async def test_no_late_result_settles_a_newer_probe(rng) -> None:
    pool = AgentPool(50, consecutive_failure_limit=2, recovery_timeout_s=4)
    witness = Witness(pool)

    async def work() -> None:
        await asyncio.sleep(rng.choice((0, 1, 2, 5, 9)))
        if rng.random() < 0.5:
            raise Refused(rng.choice((None, None, 3)))

    async def caller() -> None:
        for _ in range(5):
            await asyncio.sleep(rng.choice((0, 0, 1, 3)))
            with suppress(OSError):
                await witness.guarded(work)

    callers = [task(caller()) for _ in range(12)]
    await asyncio.sleep(rng.choice((3, 5, 8)))
    for one in rng.sample(callers, 3):
        one.cancel()
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
    clean(pool)
