"""The scheduler alone: a graph of functions, a failure, a retry, a journal, a breaker.

Prints:
    order: fetch, parse, count, report
    report: {'count': 3}
    failed: ValueError; skipped: count, report because of parse
    again, from the journal: fetch is not repeated, report is {'count': 3}
    open: the circuit is open after ConnectionError: down; try again in 60 s
"""

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import Any

from waybell_scheduler import AgentPool, CircuitOpenError, Task, arun, run


done: list[str] = []
broken = False


async def fetch() -> str:
    done.append("fetch")
    return "ding dong dang"


async def parse(results: dict[str, Any]) -> list[str]:
    if broken:
        raise ValueError("no words")
    done.append("parse")
    return results["fetch"].split()


def count(results: dict[str, Any]) -> int:  # a sync one runs in a thread
    done.append("count")
    return len(results["parse"])


async def report(results: dict[str, Any]) -> dict[str, int]:
    done.append("report")
    return dict(results)


tasks = [
    Task("report", depends_on=["count"], run=report),
    Task("count", depends_on=["parse"], run=count),
    Task("parse", depends_on=["fetch"], run=parse),
    Task("fetch", run=fetch),
]
result = run(tasks)
print("order:", ", ".join(done))
print("report:", result["report"].value)

with tempfile.TemporaryDirectory() as folder:
    journal = Path(folder) / "run.jsonl"
    broken = True
    result = asyncio.run(arun(tasks, journal=journal))
    skipped = sorted(name for name, one in result.items() if one.status == "skipped")
    stem = result["report"].stems_from
    error = type(result["parse"].error).__name__
    print(f"failed: {error}; skipped: {', '.join(skipped)} because of {stem}")

    broken = False
    done.clear()
    result = run(tasks, journal=journal, retry_failed=True)
    repeated = "" if "fetch" in done else "not "
    value = result["report"].value
    print(f"again, from the journal: fetch is {repeated}repeated, report is {value}")


def down() -> None:
    raise ConnectionError("down")


logging.disable(logging.WARNING)  # the pool warns when it opens
pool = AgentPool(consecutive_failure_limit=2, recovery_timeout_s=60)
for _ in range(3):
    try:
        pool.call(down)
    except CircuitOpenError as error:
        print("open:", error)
    except ConnectionError:
        pass
