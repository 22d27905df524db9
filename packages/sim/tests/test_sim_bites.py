"""Seeded bugs are found, and the printed seed shows the very same run again."""

import asyncio
import collections

import pytest

from waybell_sim import DeadlockError, Faults, SimulationFailed, simulate


class Pool:
    """A purse of money; subclasses say how it is broken."""

    def __init__(self, cents):
        self.left, self.held, self.spent = cents, 0, 0

    async def hold(self, cents):
        if self.left < cents:
            return False
        self.left -= cents
        self.held += cents
        return True

    def settle(self, cents, used):
        self.held -= cents
        self.spent += used
        self.left += cents - used


class SpendsLate(Pool):
    """Awaits between its check and its spending."""

    async def hold(self, cents):
        if self.left < cents:
            return False
        await asyncio.sleep(0)
        self.left -= cents
        self.held += cents
        return True


def agents_on(pool_class, log):
    async def main(rng):
        pool = pool_class(100)
        faults = Faults(timeout=0.05, rate_limit=0.05)

        @faults.wrap
        async def model(name):
            log.append((asyncio.get_running_loop().time(), name))
            return rng.randrange(40)

        async def agent(name):
            if await pool.hold(40):
                used = 0
                try:
                    used = await model(name)
                finally:
                    pool.settle(40, used)

        await asyncio.gather(*map(agent, range(8)), return_exceptions=True)
        log.append((pool.left, pool.spent))
        assert pool.left >= 0, f"overspent by {-pool.left}"
        assert pool.held == 0, f"leaked {pool.held}"

    return main


class Leaky:
    """Calls the model between holding and `try`: a cancellation there leaks."""

    def __init__(self, log):
        self.log = log

    async def __call__(self, rng):
        pool = Pool(1000)

        async def agent(name):
            await pool.hold(40)
            await asyncio.sleep(rng.choice((0, 0, 1, 2)))
            try:
                self.log.append((asyncio.get_running_loop().time(), name))
                await asyncio.sleep(rng.choice((0, 0, 1, 2)))
            finally:
                pool.settle(40, 10)

        tasks = [asyncio.create_task(agent(n)) for n in range(8)]

        async def canceller():
            await asyncio.sleep(rng.choice((0, 1, 2)))
            rng.choice(tasks).cancel()

        await asyncio.gather(canceller(), *tasks, return_exceptions=True)
        assert pool.held == 0, f"leaked {pool.held}"


class Sleepy:
    """A queue that wakes one getter per put, even one that has been cancelled."""

    def __init__(self, log):
        self.log = log

    async def __call__(self, rng):
        items, waiters = collections.deque(), collections.deque()

        def note(*what):
            self.log.append((asyncio.get_running_loop().time(), *what))

        def put(item):
            note("put", item)
            items.append(item)
            while waiters:
                waiter = waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)  # the bug: its getter may be cancelled
                    return

        async def get(name, patience):
            async with asyncio.timeout(patience):
                while not items:
                    note("wait", name)
                    waiters.append(asyncio.get_running_loop().create_future())
                    await waiters[-1]
            note("get", name)
            return items.popleft()

        async def produce():
            await asyncio.sleep(rng.choice((0, 1, 2)))
            put("item")

        async def impatient():
            try:
                await get("impatient", 1)
            except TimeoutError:
                return
            put("again")

        async with asyncio.TaskGroup() as group:
            group.create_task(impatient())
            group.create_task(get("patient", None))
            group.create_task(produce())


def spends_late(log):
    return agents_on(SpendsLate, log)


BUGS = {
    "an await between check and spend": (spends_late, AssertionError, "overspent"),
    "a hold leaked on cancel": (Leaky, AssertionError, "leaked 40"),
    "a lost wake-up": (Sleepy, DeadlockError, "in Sleepy.__call__.<locals>.get"),
}


def said(error):
    """Leave the lines out that pytest adds to an assertion: they hold addresses."""
    return str(error).splitlines()[0]


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found_and_its_seed_replays_it_exactly(bug):
    make, kind, word = BUGS[bug]
    log = []
    with pytest.raises(SimulationFailed) as failed:
        simulate(make(log), seeds=range(1000))
    first = failed.value
    assert isinstance(first.cause, kind)
    assert word in str(first)

    again = []
    with pytest.raises(SimulationFailed) as replayed:
        simulate(make(again), seeds=[first.seed])
    assert again
    assert again == log[-len(again) :]
    assert said(replayed.value.cause) == said(first.cause)


@pytest.mark.soak
def test_the_sound_pool_is_never_caught():
    simulate(agents_on(Pool, []), seeds=1000)
