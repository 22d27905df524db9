"""Whole runs of graphs of tasks: ours, and what can be written by hand with graphlib."""

# ruff: noqa: PLC0415 - as in the other suites

import asyncio
from collections import deque
from graphlib import TopologicalSorter
from itertools import repeat

from benchmarks._cases import Suite, Target
from benchmarks.suites._scheduler_cases import (
    BOUND,
    CRITICAL,
    JOURNAL,
    LARGE,
    MAKESPAN,
    MEMORY,
    NO_OPS,
    ONCE,
    OWN,
    SIZES,
    SKEWED,
    SUSPENDING,
)
from benchmarks.suites.scheduler_queue import SHAPES, layered


INLINE = "graphlib by hand, one after another"
TASKS = "graphlib by hand, 64 `asyncio.Task`s at a time"
OURS = "waybell_scheduler `arun`"
HUNDRED = "the same, as 100 runs of 1,000"
LANGGRAPH = "langgraph"
LAYERS = "`asyncio.gather` by layers"


async def nothing():
    """What is run."""


async def once():
    """The same, where others get a turn."""
    await asyncio.sleep(0)


def sorter_of(needs):
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    return sorter


async def inline(needs, work):
    """One after another."""
    sorter = sorter_of(needs)
    while sorter.is_active():
        for name in sorter.get_ready():
            await work()
            sorter.done(name)


async def tasks(needs, work):
    """An `asyncio.Task` for each as soon as it is ready and one of 64 places is free."""
    sorter = sorter_of(needs)
    ready, free = deque(sorter.get_ready()), BOUND

    async def one(name):
        nonlocal free
        await work()
        free += 1
        sorter.done(name)
        ready.extend(sorter.get_ready())
        start()

    def start():
        nonlocal free
        while ready and free:
            free -= 1
            group.create_task(one(ready.popleft()))

    async with asyncio.TaskGroup() as group:
        start()


async def waits(needs, work):
    """The same, with `asyncio.wait` for the first to end."""
    sorter, ready, running = sorter_of(needs), deque(), {}
    while sorter.is_active():
        ready.extend(sorter.get_ready())
        while ready and len(running) < BOUND:
            name = ready.popleft()
            running[asyncio.create_task(work())] = name
        ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
            sorter.done(running.pop(task))


async def semaphore(needs, work):
    """A task for each that is ready, which waits for one of 64 places."""
    sorter, places, ended = sorter_of(needs), asyncio.Semaphore(BOUND), asyncio.Queue()

    async def one(name):
        async with places:
            await work()
        ended.put_nowait(name)

    async with asyncio.TaskGroup() as group:
        while sorter.is_active():
            for name in sorter.get_ready():
                group.create_task(one(name))
            sorter.done(await ended.get())


async def workers(needs, work):
    """64 tasks that take from one queue and report to another, in one context each."""
    sorter, todo, ended = sorter_of(needs), asyncio.Queue(), asyncio.Queue()

    async def worker():
        while True:
            name = await todo.get()
            await work()
            ended.put_nowait(name)

    hired = [asyncio.create_task(worker()) for _ in range(BOUND)]
    while sorter.is_active():
        for name in sorter.get_ready():
            todo.put_nowait(name)
        sorter.done(await ended.get())
    for each in hired:
        each.cancel()
    await asyncio.gather(*hired, return_exceptions=True)


async def by_layers(needs, work):
    """All that is ready, however many, and only then what that has readied."""
    sorter = sorter_of(needs)
    while sorter.is_active():
        ready = sorter.get_ready()
        await asyncio.gather(*[work() for _ in ready])
        sorter.done(*ready)


async def ours(needs, work):
    from waybell_scheduler import Task, arun

    made = [Task(name, depends_on=found, run=work) for name, found in needs.items()]
    ended(await arun(made, max_concurrent=BOUND), made)


async def ours_called(needs, work):
    """One function for all, which is told the task."""
    from waybell_scheduler import Task, arun

    async def call(_task):
        await work()

    made = [Task(name, depends_on=found) for name, found in needs.items()]
    ended(await arun(made, call=call, max_concurrent=BOUND), made)


def ended(result, made):
    if not result.ok or len(result) != len(made):
        raise AssertionError(f"not all were run: {result}")


def runs(way, shape, size, work=nothing, each=1):
    async def make():
        needs = shape(size)

        async def run(times):
            for _ in repeat(None, times * each):
                await way(needs, work)

        yield run

    return make


def _no_ops():
    for shape, _ in SHAPES:
        for size in SIZES:
            case = NO_OPS[f"{shape.__name__}_{size}"]
            told = size if size > SIZES[0] else 0  # what a smoke test leaves out
            case.limit(INLINE, size=told)(runs(inline, shape, size))
            case.ours(OURS, size=told)(runs(ours, shape, size))
            if size == LARGE:
                few = runs(ours, shape, SIZES[0], each=size // SIZES[0])
                case.ours(HUNDRED, size=told)(few)
            else:
                called = runs(ours_called, shape, size)
                case.ours("the same, one function for all", size=told)(called)
            for label, way in ((TASKS, tasks), (LAYERS, by_layers)):
                case.peer(label, env="own", size=told)(runs(way, shape, size))


def _once():
    for shape, _ in SHAPES:
        case = ONCE[f"{shape.__name__}_once"]
        case.limit(INLINE)(runs(inline, shape, SUSPENDING, once))
        case.ours(OURS)(runs(ours, shape, SUSPENDING, once))
        for label, way in (
            (TASKS, tasks),
            ("the same with `asyncio.wait`", waits),
            ("the same with `asyncio.Semaphore(64)`", semaphore),
            ("graphlib by hand, 64 workers and two queues", workers),
            (f"{LAYERS}, no bound", by_layers),
        ):
            case.peer(label, env="own")(runs(way, shape, SUSPENDING, once))


_no_ops()
_once()


async def fed(_results):
    """What is given results."""


def feeding():
    async def own(_results):
        pass

    return own


async def inline_fed(needs, _work):
    sorter, results = sorter_of(needs), {}
    while sorter.is_active():
        for name in sorter.get_ready():
            results[name] = await fed({need: results[need] for need in needs[name]})
            sorter.done(name)


async def ours_own(needs, _work):
    from waybell_scheduler import Task, arun

    made = [
        Task(name, depends_on=found, run=feeding()) for name, found in needs.items()
    ]
    ended(await arun(made, max_concurrent=BOUND), made)


OWN.limit(INLINE)(runs(inline_fed, layered, 1_000))
OWN.ours(OURS)(runs(ours, layered, 1_000, fed))
OWN.ours(f"{OURS}, a function for each")(runs(ours_own, layered, 1_000))


def _targets():
    for case in NO_OPS.values():
        words = case.title.removeprefix("Build and run ")
        size = "" if case.per == SIZES[0] else f"@{case.per}"
        against = f"{words}, against graphlib"
        yield Target(against, case, OURS + size, INLINE + size, 1.5, 1.0)
        if case.per == LARGE:
            what = f"{words}, against runs of 1,000"
            yield Target(what, case, OURS + size, HUNDRED + size, 2.0)
        if not size:
            yield Target(f"{words}, against langgraph", case, OURS, LANGGRAPH, 0.02)
    for case in ONCE.values():
        words = case.title.removeprefix("Build and run ")
        what = f"{words}, against graphlib and `asyncio.Task`s"
        yield Target(what, case, OURS, TASKS, 1 / 1.5, 1 / 2.5)
    for case in (MAKESPAN, CRITICAL):
        what = f"{case.title[0].lower()}{case.title[1:]}, against the lower bound"
        yield Target(what, case, OURS, "the lower bound", 1.05)


SUITE = Suite(
    "scheduler",
    "Scheduler",
    (
        *NO_OPS.values(),
        *ONCE.values(),
        OWN,
        MAKESPAN,
        SKEWED,
        CRITICAL,
        MEMORY,
        JOURNAL,
    ),
    targets=tuple(_targets()),
    left_out=(
        (
            "langgraph, llama-index-workflows and pydantic-graph, 10,000 no-ops and more",
            "a run takes seconds to minutes",
        ),
        ("dask, 100,000 no-ops", "a run takes seconds to minutes"),
    ),
)
