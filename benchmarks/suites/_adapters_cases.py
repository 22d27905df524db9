"""The questions that the clients of models are asked, and how a client answers them.

A client is a context manager of a server's address. It gives two functions, each of
which returns the text of an answer: a call as the client makes it by default, and a
call that takes the answer piece by piece. `async_client` and `sync_client` register it
for all the cases.
"""

import asyncio
import os
import re
from itertools import repeat
from pathlib import Path
from time import perf_counter_ns, process_time_ns

from benchmarks._cases import Case
from benchmarks._model_server import SERVER, model_server, words


PIECES = 3
LONG = 1_000
ALONE_SYNC = Case(
    "alone_sync",
    "A call, one after another, without a loop",
    note="An answer of three words. Peers ask for one piece of JSON, as they do by "
    "default; ours always for a stream, which is what lets a call be ended.",
    rounds=7,
    beside=model_server,
)
ALONE = Case(
    "alone",
    "The same, awaited",
    rounds=7,
    beside=model_server,
)
FLIGHTS = {
    width: Case(
        f"flight_{width}",
        f"{width} calls in flight, a server that answers at once",
        kind="rate",
        unit="calls",
        note="So many calls are under way all the time; counted are those that end "
        "within a part of it, after each connection was used."
        if width == 16
        else "",
        count=300 if width == 256 else 150,
        rounds=4 if width == 256 else 3,
        patience=8,
        beside=model_server,
    )
    for width in (16, 64, 256)
}
SLOW = Case(
    "slow",
    "256 calls in flight, a server that answers after 100 ms",
    kind="rate",
    unit="calls",
    note="At most 2,560 a second are possible. Peers ask for one piece of JSON, but "
    "where a stream is named; ours always for a stream.",
    count=400,
    rounds=4,
    patience=8,
    beside=model_server,
)
CHUNKS_SYNC = Case(
    "chunks_sync",
    "A chunk of a stream, without a loop",
    note=f"{LONG:,} words in one answer, each in an event, a chunk and a write of its "
    "own, as fast as the server can; what the call itself costs is shared among them.",
    per=LONG,
    rounds=7,
    beside=model_server,
)
CHUNKS = Case(
    "chunks",
    "The same, awaited",
    per=LONG,
    rounds=7,
    beside=model_server,
)
MEMORY = Case(
    "memory",
    "Memory of a process after 256 calls in flight",
    kind="value",
    unit="MB",
    note="The most that was resident, the interpreter and the loop included.",
    rounds=1,
    beside=model_server,
)
IMPORTS = Case(
    "imports",
    "Imports, everything they bring included",
    kind="import",
    unit="ms",
    note="Beyond the bare interpreter. `waybell_adapters` loads requests with the first "
    "call, so that is measured too: one to a server that is not there.",
    rounds=3,
)


def address(*, delay=0, pieces=PIECES, together=1):
    """Where the server does this."""
    return f"{os.environ[SERVER]}/{delay}/{pieces}/{together}"


def register(case, label, role, env, package):
    """The decorator that adds a contestant of any role."""
    if role == "limit":
        return case.limit(label, package=package)
    if role == "ours":
        return case.ours(label)
    return case.peer(label, env=env, package=package)


def sync_client(label, *, role="peer", env="clients", package="", only=()):
    """Ask a client all that needs no loop, or only some cases."""

    def add(client):
        for case, which, pieces in ((ALONE_SYNC, 0, PIECES), (CHUNKS_SYNC, 1, LONG)):
            if not only or case in only:
                one_by_one(case, client, which, pieces)
        return client

    def one_by_one(case, client, which, pieces):
        @register(case, label, role, env, package)
        def _contestant():
            with client(address(pieces=pieces)) as functions:
                function = functions[which]
                check(function(), pieces)

                def run(times):
                    for _ in repeat(None, times):
                        function()

                yield run

    return add


def async_client(label, *, role="peer", env="clients", package="", only=()):
    """Ask a client all that needs a loop, or only some cases."""

    def add(client):
        for case, which, pieces in ((ALONE, 0, PIECES), (CHUNKS, 1, LONG)):
            if not only or case in only:
                one_by_one(case, client, which, pieces)
        for width, case in (*FLIGHTS.items(), (256, SLOW)):
            if not only or case in only:
                many(case, client, width, 100 if case is SLOW else 0)
        if not only or MEMORY in only:
            memory(client)
        return client

    def one_by_one(case, client, which, pieces):
        @register(case, label, role, env, package)
        async def _contestant():
            async with client(address(pieces=pieces)) as functions:
                function = functions[which]
                check(await function(), pieces)

                async def run(times):
                    for _ in repeat(None, times):
                        await function()

                yield run

    def many(case, client, width, delay):
        @register(case, label, role, env, package)
        async def _contestant():
            async with client(address(delay=delay)) as (call, _):
                check(await call(), PIECES)
                yield sustained(call, width, delay)

    def memory(client):
        @register(MEMORY, label, role, env, package)
        async def _contestant():
            async with client(address()) as (call, _):

                async def run(_):
                    await asyncio.gather(*(call() for _ in range(256)))
                    return most_resident()

                yield run

    return add


def check(text, pieces):
    """A client that says something else does not do the work."""
    if text != "".join(words(pieces)):
        raise ValueError(f"not what the server said: {text[:40]!r}")


def sustained(call, width, delay):
    """So many calls at any time; counted are those that end in so many milliseconds."""

    async def run(milliseconds):
        done, goal, on, reached = 0, width, True, asyncio.Event()

        async def worker(number):
            nonlocal done, on
            # Else all would wait for the server at once, and for us at once.
            await asyncio.sleep(delay / 1000 * number / width)
            try:
                while on:
                    await call()
                    done += 1
                    if done >= goal:
                        reached.set()
            except BaseException:
                on = False
                reached.set()
                raise

        workers = [asyncio.create_task(worker(i)) for i in range(width)]
        await reached.wait()  # there are connections and threads for all
        await asyncio.sleep(milliseconds / 2000)
        if on:
            goal = done + width // 8  # what is slower is given more time
            reached.clear()
        before, wall, cpu = done, perf_counter_ns(), process_time_ns()
        await asyncio.sleep(milliseconds / 1000)
        await reached.wait()
        counted = done - before
        wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
        on = False
        await asyncio.gather(*workers)
        return counted, wall, cpu

    return run


def most_resident():
    """Megabytes."""
    told = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", told)[1]) / 1000
