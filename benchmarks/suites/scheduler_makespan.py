"""How long runs take beside how long they must: on a virtual clock, so exactly."""

# ruff: noqa: PLC0415 - as in the other suites

import asyncio
from collections import deque

from benchmarks.suites._scheduler_cases import CRITICAL, MAKESPAN, SKEWED
from benchmarks.suites.scheduler import OURS, sorter_of


PLACES, GRAPHS = 8, 20


def random_needs(rng, size=200, window=60):
    found = {}
    for i in range(size):
        before = range(max(0, i - window), i)
        picked = rng.sample(before, min(len(before), rng.randrange(4)))
        found[str(i)] = tuple(map(str, picked))
    return found


def even(rng):
    needs = random_needs(rng)
    return needs, {name: rng.uniform(4, 12) for name in needs}


def skewed(rng):
    needs = random_needs(rng)
    return needs, {name: rng.lognormvariate(1.386, 1) for name in needs}


def critical(rng):
    needs = {f"alone {i}": () for i in range(280)}
    needs |= {f"chain {i}": (f"chain {i - 1}",) if i else () for i in range(40)}
    return needs, {name: rng.uniform(4, 12) for name in needs}


def lower_bound(needs, seconds):
    ends = {}
    for name, found in needs.items():
        ends[name] = seconds[name] + max((ends[need] for need in found), default=0)
    return max(*ends.values(), sum(seconds.values()) / PLACES)


def remaining(needs, seconds):
    """The longest chain from each to the end, in whole milliseconds."""
    after = dict.fromkeys(needs, 0)
    for name in reversed(needs):
        after[name] += round(1000 * seconds[name])
        for need in needs[name]:
            after[need] = max(after[need], after[name])
    return after


def stretched(family, way):
    """The mean of how many thousandths of the lower bound it takes."""

    def run(_):
        from waybell_sim import simulate

        found = []

        async def main(rng):
            needs, seconds = family(rng)
            loop = asyncio.get_running_loop()
            began = loop.time()
            await way(needs, seconds)
            found.append((loop.time() - began) / lower_bound(needs, seconds))

        simulate(main, seeds=range(GRAPHS))
        return 1000 * sum(found) / len(found)

    return run


def ours(urgency):
    """Ours, where `urgency(needs, seconds)` gives priorities by id."""

    async def way(needs, seconds):
        from waybell_scheduler import Task, arun

        async def call(task):
            await asyncio.sleep(seconds[task.id])

        urgent = urgency(needs, seconds)
        made = [
            Task(name, depends_on=found, priority=urgent[name])
            for name, found in needs.items()
        ]
        result = await arun(made, call=call, max_concurrent=PLACES)
        if not result.ok:
            raise AssertionError(result)

    return way


def none(needs, _seconds):
    return dict.fromkeys(needs, 0)


async def first_in_first_out(needs, seconds):
    """Each starts as soon as a place is free, in the order in which they were readied."""
    sorter, ready, running = sorter_of(needs), deque(), {}
    while sorter.is_active():
        ready.extend(sorter.get_ready())
        while ready and len(running) < PLACES:
            name = ready.popleft()
            running[asyncio.create_task(asyncio.sleep(seconds[name]))] = name
        ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            sorter.done(running.pop(task))


async def supersteps(needs, seconds):
    """All that is ready, so many at a time; what they ready waits for the last of them."""
    sorter, places = sorter_of(needs), asyncio.Semaphore(PLACES)

    async def one(name):
        async with places:
            await asyncio.sleep(seconds[name])

    while sorter.is_active():
        ready = sorter.get_ready()
        await asyncio.gather(*map(one, ready))
        sorter.done(*ready)


def lower(_):
    return 1000


def shown(run):
    def make():
        yield run

    return make


def _register():
    for case, family in ((MAKESPAN, even), (SKEWED, skewed), (CRITICAL, critical)):
        case.limit("the lower bound")(shown(lower))
        case.ours(OURS)(shown(stretched(family, ours(none))))
        told = stretched(family, ours(remaining))
        case.ours("the same, told durations by `priority=`")(shown(told))
        fifo = stretched(family, first_in_first_out)
        case.peer("first in, first out", env="own")(shown(fifo))
        steps = stretched(family, supersteps)
        case.peer("supersteps, as langgraph's", env="own")(shown(steps))


_register()
