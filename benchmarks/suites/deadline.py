"""The deadline: the clock, asyncio's timeout, two peers and ours."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment
# ruff: noqa: ASYNC100 - what an empty scope costs is the question

import asyncio
import time
from itertools import repeat

from benchmarks._cases import Case, Suite, Target


CHECK = Case(
    "check",
    "Asking whether time is up",
    note="Ten calls in each turn of the loop that measures; the figure is of one.",
    per=10,
)
ASYNC_CHECK = Case(
    "async_check",
    "The same in a coroutine, within the deadline's own block",
    note="As an agent does between two awaits.",
    per=10,
)
SCOPE = Case(
    "scope",
    "Entering and leaving a nested scope",
    note="A scope of 30 s made, entered and left within one of 60 s; nothing is "
    "awaited in it.",
)
CLOCK = "`time.monotonic()`"


def ten_calls(function):
    def run(times):
        for _ in repeat(None, times):
            function(), function(), function(), function(), function()
            function(), function(), function(), function(), function()

    return run


def ten_calls_async(function):
    async def run(times):
        for _ in repeat(None, times):
            function(), function(), function(), function(), function()
            function(), function(), function(), function(), function()

    return run


@CHECK.limit(CLOCK)
def _monotonic():
    yield ten_calls(time.monotonic)


@ASYNC_CHECK.limit(CLOCK)
async def _monotonic_async():
    yield ten_calls_async(time.monotonic)


@ASYNC_CHECK.peer("the running loop's `time()`", env="own")
async def _loop_time():
    yield ten_calls_async(asyncio.get_running_loop().time)


def new_deadline(seconds):
    from waybell_deadline import Deadline

    return Deadline(seconds=seconds)


@CHECK.ours("waybell_deadline `check`")
def _check():
    yield ten_calls(new_deadline(3600).check)


@CHECK.ours("waybell_deadline `expired`")
def _expired():
    yield ten_calls(new_deadline(3600).expired)


@ASYNC_CHECK.ours("waybell_deadline `check`")
async def _check_async():
    deadline = new_deadline(3600)
    async with deadline:
        yield ten_calls_async(deadline.check)


@CHECK.peer("cancelscope `checkpoint`", package="cancelscope")
def _checkpoint():
    import cancelscope

    with cancelscope.fail_after(3600):
        yield ten_calls(cancelscope.checkpoint)


@SCOPE.limit("`asyncio.timeout`")
async def _timeout():
    async def run(times):
        async with asyncio.timeout(60):
            for _ in repeat(None, times):
                async with asyncio.timeout(30):
                    pass

    yield run


@SCOPE.ours("waybell_deadline `async with`")
async def _wall():
    from waybell_deadline import Deadline

    async def run(times):
        async with Deadline(seconds=60):
            for _ in repeat(None, times):
                async with Deadline(seconds=30):
                    pass

    yield run


@SCOPE.ours("waybell_deadline `async with`, tighter than its parent's")
async def _tightened():
    async def run(times):
        async with new_deadline(60) as outer:
            for _ in repeat(None, times):
                async with outer.tighten(seconds=30):
                    pass

    yield run


@SCOPE.ours("waybell_deadline `with`")
def _cooperative():
    from waybell_deadline import Deadline

    def run(times):
        with Deadline(seconds=60):
            for _ in repeat(None, times):
                with Deadline(seconds=30):
                    pass

    yield run


@SCOPE.peer("`anyio.fail_after`", package="anyio")
async def _anyio():
    import anyio

    async def run(times):
        with anyio.fail_after(60):
            for _ in repeat(None, times):
                with anyio.fail_after(30):
                    pass

    yield run


@SCOPE.peer("cancelscope `fail_after`", package="cancelscope")
def _cancelscope():
    import cancelscope

    def run(times):
        with cancelscope.fail_after(60):
            for _ in repeat(None, times):
                with cancelscope.fail_after(30):
                    pass

    yield run


SUITE = Suite(
    "deadline",
    "Deadline",
    (CHECK, ASYNC_CHECK, SCOPE),
    (
        Target(
            "`deadline.check()`, against `time.monotonic()`",
            CHECK,
            "waybell_deadline `check`",
            CLOCK,
            2.0,
        ),
        Target(
            "`deadline.check()` in a coroutine, against `time.monotonic()`",
            ASYNC_CHECK,
            "waybell_deadline `check`",
            CLOCK,
            2.0,
        ),
        Target(
            "entering and leaving a nested scope, against `asyncio.timeout`",
            SCOPE,
            "waybell_deadline `async with`",
            "`asyncio.timeout`",
            1.0,
        ),
    ),
)
