"""Run the contestants of one case in this interpreter, told what by lines of JSON."""

import asyncio
import contextlib
import gc
import inspect
import json
import os
import sys
import warnings
from importlib import metadata
from time import perf_counter_ns, process_time_ns
from typing import Any

from benchmarks._cases import Contestant


class Sync:
    """A contestant without an event loop.

    Args:
        contestant: What to set up.
    """

    __slots__ = ("_lifetime", "_run")

    def __init__(self, contestant: Contestant) -> None:
        self._lifetime = contestant.make()
        self._run = next(self._lifetime)

    def run(self, count: int) -> dict[str, Any]:
        """Do it `count` times, timed."""
        with quiet_collector():
            wall, cpu = perf_counter_ns(), process_time_ns()
            value = self._run(count)
            return figures(wall, cpu, value)

    def close(self) -> None:
        """Clean up."""
        next(self._lifetime, None)


class Async:
    """A contestant on an event loop of its own, in one task for its whole life.

    Args:
        contestant: What to set up.
    """

    __slots__ = ("_inbox", "_loop", "_make", "_task")

    def __init__(self, contestant: Contestant) -> None:
        self._make = contestant.make
        self._loop = asyncio.new_event_loop()
        self._inbox: asyncio.Queue[tuple[int, asyncio.Future[Any]] | None]
        self._inbox = asyncio.Queue()
        ready = self._loop.create_future()
        self._task = self._loop.create_task(self._live(ready))
        self._loop.run_until_complete(ready)

    def run(self, count: int) -> dict[str, Any]:
        """Do it `count` times, timed."""
        done = self._loop.create_future()
        self._inbox.put_nowait((count, done))
        return self._loop.run_until_complete(done)

    def close(self) -> None:
        """Clean up."""
        self._inbox.put_nowait(None)
        self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _live(self, ready: asyncio.Future[Any]) -> None:
        lifetime = self._make()
        try:
            run = await anext(lifetime)
        except Exception as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        while (order := await self._inbox.get()) is not None:
            count, done = order
            try:
                with quiet_collector():
                    wall, cpu = perf_counter_ns(), process_time_ns()
                    value = await run(count)
                    done.set_result(figures(wall, cpu, value))
            except Exception as error:
                done.set_exception(error)
        await anext(lifetime, None)


def figures(wall: int, cpu: int, value: object) -> dict[str, Any]:
    """What has passed since `wall` and `cpu`, and what the run returned."""
    cpu = process_time_ns() - cpu
    return {"wall": perf_counter_ns() - wall, "cpu": cpu, "value": value}


@contextlib.contextmanager
def quiet_collector() -> Any:
    """Keep the cyclic collector out of the measuring, as timeit does."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def live(contestant: Contestant) -> Sync | Async:
    """Set a contestant up and keep what it made out of later collections."""
    kind = Async if inspect.isasyncgenfunction(contestant.make) else Sync
    made = kind(contestant)
    gc.collect()
    gc.freeze()
    return made


def versions(contestant: Contestant) -> dict[str, str]:
    """The installed versions of the distributions a contestant names."""
    return {name: metadata.version(name) for name in contestant.package.split()}


class Desk:
    """Answer the orders of the driver.

    Args:
        contestants: By key.
    """

    __slots__ = ("_alive", "_contestants")

    def __init__(self, contestants: dict[str, Contestant]) -> None:
        self._contestants = contestants
        self._alive: dict[str, Sync | Async] = {}

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do as told; an error is an answer too."""
        try:
            return self._do(order)
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            return {"error": f"{type(error).__name__}: {first}"[:200]}

    def _do(self, order: dict[str, Any]) -> dict[str, Any]:
        key = order["key"]
        match order["do"]:
            case "make":
                self._alive[key] = live(self._contestants[key])
                return {"versions": versions(self._contestants[key])}
            case "run":
                return self._alive[key].run(order["count"])
            case _:
                self._alive.pop(key).close()
                return {}


def main(suite: str, case: str) -> None:
    """Serve one case until the orders end."""
    warnings.simplefilter("ignore")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # peers may print
    from benchmarks.suites import SUITES  # noqa: PLC0415 - after stdout is ours

    found = next(s for s in SUITES if s.name == suite).case(case)
    desk = Desk({c.key: c for c in found.contestants})
    for line in sys.stdin:
        replies.write(json.dumps(desk.answer(json.loads(line))) + "\n")
        replies.flush()
    os._exit(0)  # a peer's threads or hooks must not keep us


if __name__ == "__main__":
    main(*sys.argv[1:])
