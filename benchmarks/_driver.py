"""Run a case: calibrate, then rounds over all contestants in shuffled order."""

import contextlib
import functools
import json
import os
import random
import re
import select
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks._cases import Case, Contestant, Suite
from benchmarks._environments import (
    NEWER,
    SCRATCH,
    clean_variables,
    environment,
    without_places,
)
from benchmarks._figures import CaseResult, Row, Sample


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Args:
        rounds: Counted rounds; one more is run first and dropped.
        run_ns: How long one contestant runs in one round.
        largest: Contestants of a greater size are left out.
        patience_ns: A contestant that has used this much runs no further rounds,
            but at least three.
    """

    rounds: int = 15
    run_ns: int = 25_000_000
    largest: int = 1_000_000
    patience_ns: int = 20_000_000_000


QUICK = Effort(rounds=5, run_ns=8_000_000, largest=10_000, patience_ns=3_000_000_000)


#: What one subscription, hold or record is thought to need at most.
BYTES_EACH = 3_000
#: Seconds after which a contestant that does not answer is given up.
PATIENCE = 180


class Worker:
    """A process for one contestant: nobody else's imports, caches or threads in it.

    Args:
        suite: The suite's name.
        case: The case's name.
        told: Variables beside the usual ones.
        env: The environment's name.
    """

    __slots__ = ("_errors", "_process")

    def __init__(self, suite: str, case: str, told: dict[str, str], env: str) -> None:
        python = environment(env).python
        # Closed with the process, in __exit__.
        self._errors = tempfile.TemporaryFile("w+", dir=SCRATCH)  # noqa: SIM115 - see above
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks._worker", suite, case],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=SCRATCH,
            env=clean_variables() | told,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def ask(self, do: str, key: str, count: int = 1) -> dict[str, Any]:
        """Give an order and wait for what came of it."""
        order = {"do": do, "key": key, "count": count}
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            heard, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
            if not heard:
                self._process.kill()
                return {"error": f"it did not answer within {PATIENCE} s"}
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"error": self._last_words()}

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"its process died: {lines[-1]}" if lines else "its process died"


class Lane:
    """One contestant in one worker, with what was measured of it.

    Args:
        contestant: The row.
        worker: Who runs it.
        env: Where.
    """

    __slots__ = ("contestant", "count", "env", "failure", "samples", "spent", "worker")

    def __init__(self, contestant: Contestant, worker: Worker, env: str) -> None:
        self.contestant = contestant
        self.worker = worker
        self.env = env
        self.count = 1
        self.failure = ""
        self.spent = 0
        self.samples: list[Sample | None] = []

    def make(self) -> dict[str, str]:
        """Set it up; the versions it names."""
        reply = self._ask("make")
        return reply.get("versions", {})

    def calibrate(self, case: Case, effort: Effort) -> None:
        """Find how often to run it, so that a round lasts long enough."""
        if case.kind in {"value", "rate"}:
            self.count = case.count
            return
        for _ in range(20):
            wall = max(self._ask("run", self.count).get("wall", 1), 1)
            if self.failure or 0.5 < wall / effort.run_ns < 2:
                return
            wanted = self.count * effort.run_ns / wall
            self.count = max(1, int(min(wanted, 10 * self.count)))
            if self.count == 1:
                return

    def measure(self, case: Case) -> None:
        """One round."""
        reply = self._ask("run", self.count)
        if self.failure:
            self.samples.append(None)
            return
        self.spent += reply["wall"]
        if case.kind == "value":
            value = float(reply["value"])
            self.samples.append(Sample(value, value))
        elif case.kind == "rate":
            done, wall, cpu = reply["value"]
            self.samples.append(Sample(cpu / done / 1000, wall / done / 1000))
        else:
            scale = 1000 * self.count * case.per
            self.samples.append(Sample(reply["cpu"] / scale, reply["wall"] / scale))

    def close(self) -> None:
        """Clean up."""
        if not self.failure:
            self._ask("close")

    def _ask(self, do: str, count: int = 1) -> dict[str, Any]:
        reply = self.worker.ask(do, self.contestant.key, count)
        if "error" in reply:
            self.failure = without_places(reply["error"])
        return reply


def run_case(suite: Suite, case: Case, effort: Effort) -> CaseResult:
    """Measure every contestant of a case that can be run here."""
    result = CaseResult(case)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with case.beside() as told:
        hire = functools.partial(Worker, suite.name, case.name, told)
        for batch in _batches(case, effort, result):
            _run_batch(hire, case, batch, effort, result)
    return result


def _batches(
    case: Case, effort: Effort, result: CaseResult
) -> Iterator[list[tuple[Contestant, str]]]:
    """Who runs beside whom: all, but sizes by themselves, for the sake of memory."""
    sizes = sorted({contestant.size for contestant in case.contestants})
    for size in sizes:
        batch = [c for c in case.contestants if c.size == size]
        if size > effort.largest:
            continue
        if size * len(batch) * BYTES_EACH > free_memory():
            reason = "not enough free memory"
            result.left_out += [(f"{c.label}, {size:,}", reason) for c in batch]
            continue
        yield _placed(case, batch, result)


def _placed(
    case: Case, batch: list[Contestant], result: CaseResult
) -> list[tuple[Contestant, str]]:
    found, limit = [], case.reference()
    for contestant in batch:
        place = environment(contestant.env)
        if place.python is None:
            result.left_out.append((contestant.label, place.reason))
        else:
            found.append((contestant, contestant.env))
    newer = {env for _, env in found if env in NEWER}
    return found + [(limit, env) for env in sorted(newer) if limit is not None]


def _run_batch(
    hire: Callable[[str], Worker],
    case: Case,
    batch: list[tuple[Contestant, str]],
    effort: Effort,
    result: CaseResult,
) -> None:
    with contextlib.ExitStack() as stack:
        lanes = [
            Lane(contestant, stack.enter_context(hire(env)), env)
            for contestant, env in batch
        ]
        # Imports take long, and nothing is measured yet: as many at once as there are cores.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for named in threads.map(Lane.make, lanes):
                result.versions |= named
        for lane in lanes:
            if not lane.failure:
                lane.calibrate(case, effort)
        _rounds(case, lanes, effort)
        for lane in lanes:
            lane.close()
    _collect(lanes, result)


def _rounds(case: Case, lanes: list[Lane], effort: Effort) -> None:
    most = 3 if case.kind == "value" else case.rounds
    rounds = min(effort.rounds, most)
    patience = case.patience * 1_000_000_000 or effort.patience_ns
    least = 1 if case.patience else 3
    for number in range(rounds + _dropped(case)):
        order = [lane for lane in lanes if not lane.failure]
        random.shuffle(order)
        for lane in order:
            if lane.spent > patience and number > least:
                lane.samples.append(None)
            else:
                lane.measure(case)


def _dropped(case: Case) -> int:
    """Rounds that do not count, as they only warm up; those of a rate do that each."""
    return 0 if case.kind == "rate" else 1


def _collect(lanes: list[Lane], result: CaseResult) -> None:
    first = _dropped(result.case)
    references = {
        lane.env in NEWER: lane.samples[first:]
        for lane in lanes
        if lane.contestant.role == "limit" and not lane.failure
    }
    for lane in lanes:
        if lane.contestant.role == "limit" and lane.env in NEWER:
            continue
        if lane.failure:
            result.left_out.append((lane.contestant.label, lane.failure))
            continue
        reference = references.get(lane.env in NEWER, [])
        result.rows.append(Row(lane.contestant, lane.samples[first:], reference))


def free_memory() -> float:
    """Bytes that could be taken now, as far as the system tells."""
    try:
        told = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return float("inf")
    found = re.search(r"MemAvailable:\s+(\d+) kB", told)
    return int(found[1]) * 1024 if found else float("inf")
