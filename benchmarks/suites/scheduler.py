"""Whole runs of graphs of no-ops, beside graphlib driven by hand and asyncio alone."""

# ruff: noqa: PLC0415 - as in the other suites

import asyncio
import random
from graphlib import TopologicalSorter
from itertools import repeat
from time import perf_counter

from benchmarks._cases import Case, Suite, Target
from benchmarks.suites.scheduler_queue import SHAPES


SIZES = (1_000, 10_000, 100_000)
BOUND = 64
INLINE = "graphlib by hand, inline"
POOL = "graphlib by hand, 64 asyncio.Tasks at a time"
LAYERS = "`asyncio.gather` by layers"
OURS = "waybell_scheduler `arun`"
LOWER = "the lower bound"


async def noop():
    return None


async def once():
    await asyncio.sleep(0)


async def inline(needs, work):
    """One after another: nothing can be faster by hand, and nothing runs at once."""
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    results = {}
    while sorter.is_active():
        for name in sorter.get_ready():
            results[name] = await work()
            sorter.done(name)
    return results


async def pooled(needs, work, bound=BOUND):
    """At most so many at once, each as soon as its own dependencies are done."""
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    results, running, ready = {}, {}, list(sorter.get_ready())
    while sorter.is_active():
        while ready and len(running) < bound:
            name = ready.pop()
            running[asyncio.create_task(work())] = name
        ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            name = running.pop(task)
            results[name] = task.result()
            sorter.done(name)
        ready.extend(sorter.get_ready())
    return results


async def layer_by_layer(needs, work):
    """All that is ready at once, then all that is ready after that."""
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    results = {}
    while sorter.is_active():
        ready = sorter.get_ready()
        values = await asyncio.gather(*[work() for _ in ready])
        results.update(zip(ready, values, strict=True))
        sorter.done(*ready)
    return results


async def ours(needs, work, bound=BOUND):
    from waybell_scheduler import Task, arun

    tasks = [Task(name, depends_on=found, run=work) for name, found in needs.items()]
    return await arun(tasks, max_concurrent=bound)


def runs(way, shape, size, work):
    async def make():
        needs = shape(size)

        async def run(times):
            for _ in repeat(None, times):
                result = await way(needs, work)
                assert len(result) == size

        yield run

    return make


def _cases():
    for shape, words in SHAPES:
        for size in SIZES:
            case = Case(
                f"{shape.__name__}_{size}",
                f"Build and run {size:,} no-ops: {words}",
                note="Of one task. Ours runs each in a context of its own, and has a "
                "result for each; by hand inline, nothing could run at once.",
                per=size,
            )
            case.limit(INLINE)(runs(inline, shape, size, noop))
            case.ours(OURS)(runs(ours, shape, size, noop))
            case.peer(POOL, env="own")(runs(pooled, shape, size, noop))
            case.peer(LAYERS, env="own")(runs(layer_by_layer, shape, size, noop))
            yield case


def _waiting():
    for shape, words in SHAPES:
        size = 10_000
        case = Case(
            f"{shape.__name__}_once",
            f"The same where each of {size:,} waits once: {words}",
            note="For one turn of the loop, so that 64 are under way.",
            per=size,
        )
        case.limit(INLINE)(runs(inline, shape, size, once))
        case.ours(OURS)(runs(ours, shape, size, once))
        case.peer(POOL, env="own")(runs(pooled, shape, size, once))
        case.peer(LAYERS, env="own")(runs(layer_by_layer, shape, size, once))
        yield case


CASES = {case.name: case for case in (*_cases(), *_waiting())}
MAKESPAN = Case(
    "makespan",
    "How long 200 tasks of random durations take, 8 at a time",
    kind="value",
    unit="times the lower bound",
    note="Each takes 4 to 12 ms and needs up to three of the 60 before it; the lower "
    "bound is the longest chain, or all of them divided by 8. The mean of five graphs.",
)


def random_graph(seed, size=200, window=60):
    """Dependencies and durations by id, and the least time that 8 places need."""
    rng = random.Random(seed)
    needs, seconds, chain = {}, {}, {}
    for i in range(size):
        before = range(max(0, i - window), i)
        picked = rng.sample(before, min(len(before), rng.randrange(4)))
        name = str(i)
        needs[name] = tuple(map(str, picked))
        seconds[name] = rng.uniform(0.004, 0.012)
        chain[name] = seconds[name] + max((chain[n] for n in needs[name]), default=0)
    return needs, seconds, max(*chain.values(), sum(seconds.values()) / 8)


def stretched(way):
    """How much longer than the lower bound it takes on average."""

    async def run(times):
        ratios = []
        for seed in range(5):
            needs, seconds, least = random_graph(seed)
            began = perf_counter()
            await way(needs, seconds)
            ratios.append((perf_counter() - began) / least)
        return sum(ratios) / len(ratios)

    return run


@MAKESPAN.limit(LOWER)
async def _lower():
    async def run(times):
        return 1.0

    yield run


@MAKESPAN.ours(OURS)
async def _ours_makespan():
    from waybell_scheduler import Task, arun

    async def way(needs, seconds):
        async def nap(task):
            await asyncio.sleep(seconds[task.id])

        tasks = [Task(name, depends_on=found) for name, found in needs.items()]
        await arun(tasks, call=nap, max_concurrent=8)

    yield stretched(way)


@MAKESPAN.peer("supersteps: a layer at a time, 8 at once", env="own")
async def _supersteps():
    async def way(needs, seconds):
        places = asyncio.Semaphore(8)

        async def nap(name):
            async with places:
                await asyncio.sleep(seconds[name])

        sorter = TopologicalSorter(needs)
        sorter.prepare()
        while sorter.is_active():
            ready = sorter.get_ready()
            await asyncio.gather(*map(nap, ready))
            sorter.done(*ready)

    yield stretched(way)


def _targets():
    for shape, words in SHAPES:
        for size in SIZES:
            case = CASES[f"{shape.__name__}_{size}"]
            yield Target(f"{size:,} no-ops, {words}", case, OURS, INLINE, 1.5, 1.0)
    for shape, words in SHAPES:
        case = CASES[f"{shape.__name__}_once"]
        yield Target(f"each waiting once, {words}", case, OURS, POOL, 1 / 1.5, 1 / 2.5)
    yield Target("the makespan, against the lower bound", MAKESPAN, OURS, None, 1.05)


SUITE = Suite(
    "scheduler", "Scheduler", (*CASES.values(), MAKESPAN), targets=tuple(_targets())
)
