"""What a run keeps: in memory, and in a file that outlives its process."""

# ruff: noqa: PLC0415 - as in the other suites

import asyncio
import json
import os
import sqlite3
import tempfile
import tracemalloc
from itertools import repeat
from pathlib import Path

from benchmarks.suites._scheduler_cases import BOUND, JOURNAL, MEMORY
from benchmarks.suites.scheduler import (
    INLINE,
    OURS,
    inline,
    nothing,
    ours,
    sorter_of,
)
from benchmarks.suites.scheduler_queue import layered


ANSWER = "The change is small, tested and safe to merge as it is, yes."
INSERT = "INSERT INTO ended VALUES (?, ?)"


async def answer(_task):
    return ANSWER


async def kept_by_hand(needs, keep):
    """One after another, each kept as it ends."""
    sorter = sorter_of(needs)
    while sorter.is_active():
        for name in sorter.get_ready():
            keep(name, await answer(name))
            sorter.done(name)


def emptied(folder):
    for path in Path(folder).iterdir():
        path.unlink()


def in_files(way):
    """`way(needs, path)` again and again, each time with a new file."""

    async def make():
        needs = layered(1_000)
        with tempfile.TemporaryDirectory() as folder:

            async def run(times):
                for _ in repeat(None, times):
                    await way(needs, Path(folder, "run"))
                    emptied(folder)

            yield run

    return make


@JOURNAL.limit("one line of JSON, one `os.write`")
@in_files
async def _lines(needs, path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def keep(name, value):
        os.write(fd, json.dumps({"task": name, "value": value}).encode() + b"\n")

    await kept_by_hand(needs, keep)
    os.close(fd)


@JOURNAL.peer("a line of JSON, a buffered file flushed", env="own")
@in_files
async def _flushed(needs, path):
    with path.open("w", encoding="utf-8") as file:

        def keep(name, value):
            file.write(json.dumps({"task": name, "value": value}) + "\n")
            file.flush()

        await kept_by_hand(needs, keep)


@JOURNAL.peer("SQLite, a commit for each (WAL, no fsync)", env="own")
@in_files
async def _sqlite(needs, path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE ended (task TEXT PRIMARY KEY, value TEXT)")
    await kept_by_hand(
        needs, lambda name, value: database.execute(INSERT, (name, value))
    )
    database.close()


async def journaled(needs, **settings):
    from waybell_scheduler import Task, arun

    made = [Task(name, depends_on=found) for name, found in needs.items()]
    result = await arun(made, call=answer, max_concurrent=BOUND, **settings)
    if not result.ok:
        raise AssertionError(result)


@JOURNAL.ours(f"{OURS}, `journal=`")
@in_files
async def _journaled(needs, path):
    await journaled(needs, journal=path)


@JOURNAL.ours("the same without a journal")
@in_files
async def _unjournaled(needs, path):
    path.touch()
    await journaled(needs)


def peak(way, work):
    """Bytes at the most that one task takes while all are run."""

    async def make():
        async def run(times):
            needs = layered(times)
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            await way(needs, work)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return (most - before) / times

        yield run

    return make


async def all_at_once(needs, work):
    """An `asyncio.Task` for each from the beginning, which waits for those it needs."""
    made = {}

    async def one(found):
        for need in found:
            await made[need]
        await work()

    for name, found in needs.items():
        made[name] = asyncio.create_task(one(found))
    await asyncio.gather(*made.values())


MEMORY.limit(INLINE)(peak(inline, nothing))
MEMORY.ours(OURS)(peak(ours, nothing))
MEMORY.peer("an `asyncio.Task` for each, which awaits those it needs", env="own")(
    peak(all_at_once, nothing)
)
