"""The queue alone: what it costs to build a graph and go through it, and to keep it."""

# ruff: noqa: PLC0415 - as in the other suites

import random
import tracemalloc
from graphlib import TopologicalSorter
from itertools import repeat

from benchmarks._cases import Case, Suite, Target


SIZES = (1_000, 100_000)
GRAPHLIB = "graphlib by hand"
DOOR = "waybell_scheduler, its public door"
LOOP = "waybell_scheduler, as its run loop does"


def chain(size):
    return {str(i): (str(i - 1),) if i else () for i in range(size)}


def fan_out(size):
    return {str(i): ("0",) if i else () for i in range(size)}


def layered(size):
    """Layers of 100, each task needing three of the layer before."""
    rng = random.Random(7)
    found = {}
    for i in range(size):
        before = (i // 100 - 1) * 100
        picked = rng.sample(range(100), 3) if i >= 100 else ()
        found[str(i)] = tuple(str(before + k) for k in picked)
    return found


SHAPES = (
    (chain, "a chain"),
    (fan_out, "one that all others need"),
    (layered, "layers of 100, three dependencies each"),
)
MEMORY = Case(
    "memory",
    "Memory of one task in a queue",
    kind="value",
    unit="bytes",
    count=100_000,
    note="Of 100,000 in layers, as tracemalloc counts, without the texts of the ids.",
)


def go(build, walk, shape, size):
    def make():
        needs = shape(size)

        def run(times):
            for _ in repeat(None, times):
                walk(build(needs))

        yield run

    return make


def tasks_of(needs):
    from waybell_scheduler import Task

    return [Task(name, depends_on=found) for name, found in needs.items()]


def queue_of(needs):
    from waybell_scheduler import TaskQueue

    return TaskQueue(tasks_of(needs))


def sorter_of(needs):
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    return sorter


def walk_sorter(sorter):
    while sorter.is_active():
        for name in sorter.get_ready():
            sorter.done(name)


def walk_door(queue):
    while batch := queue.ready():
        for task in batch:
            queue.start(task.id)
            queue.complete(task.id)


def walk_loop(queue):
    frontier, state = queue._frontier, queue._state
    while frontier:
        i = frontier.popleft()
        if not state[i]:
            queue._done(i)


def _cases():
    for shape, words in SHAPES:
        for size in SIZES:
            case = Case(
                f"{shape.__name__}_{size}",
                f"Build and go through {size:,} tasks: {words}",
                note="Of one task; nothing is run. Ours keeps states and results, too.",
                per=size,
            )
            case.limit(GRAPHLIB)(go(sorter_of, walk_sorter, shape, size))
            case.ours(LOOP)(go(queue_of, walk_loop, shape, size))
            case.ours(DOOR)(go(queue_of, walk_door, shape, size))
            yield case


CASES = tuple(_cases())


def traced(build):
    def run(times):
        needs = layered(times)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept = build(needs)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del kept
        return (after - before) / times

    return run


@MEMORY.limit(GRAPHLIB)
def _sorter_memory():
    yield traced(sorter_of)


@MEMORY.ours("waybell_scheduler `TaskQueue` and its `Task`s")
def _queue_memory():
    yield traced(queue_of)


@MEMORY.ours("waybell_scheduler `Task`s alone")
def _task_memory():
    yield traced(tasks_of)


SUITE = Suite(
    "queue",
    "Task queue",
    (*CASES, MEMORY),
    targets=tuple(
        Target(f"{case.title[13:]}, against graphlib", case, LOOP, GRAPHLIB, 1.5, 1.0)
        for case in CASES
    ),
)
