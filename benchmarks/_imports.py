"""The CPU time of an import: fresh interpreters, minus what is there anyway."""

import os
import random
import subprocess
from pathlib import Path

from benchmarks._cases import Case, Contestant
from benchmarks._driver import Effort
from benchmarks._environments import (
    SCRATCH,
    clean_variables,
    environment,
    without_places,
)
from benchmarks._figures import CaseResult, Row, Sample


def run_imports(case: Case, effort: Effort) -> CaseResult:
    """Measure every import of a case, bases and imports interleaved.

    The contestants of an import case are generators that yield two pieces of code:
    what is there anyway (empty for the bare interpreter) and what is measured.
    """
    result = CaseResult(case)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    jobs = []
    for contestant in case.contestants:
        place = environment(contestant.env)
        if place.python is None:
            result.left_out.append((contestant.label, place.reason))
        else:
            jobs.append((contestant, place.python, *next(contestant.make())))
    taken: dict[str, list[Sample | None]] = {job[0].key: [] for job in jobs}
    for _ in range(min(effort.rounds, case.rounds) + 1):
        random.shuffle(jobs)
        for job in jobs:
            _measure(job, taken[job[0].key], effort, result)
    failed = {label for label, _ in result.left_out}
    for contestant in case.contestants:
        samples = taken.get(contestant.key, [])[1:]
        if contestant.label not in failed and samples:
            result.rows.append(Row(contestant, samples))
    return result


def _measure(
    job: tuple[Contestant, Path, str, str],
    samples: list[Sample | None],
    effort: Effort,
    result: CaseResult,
) -> None:
    contestant, python, base, code = job
    if any(label == contestant.label for label, _ in result.left_out):
        return
    spent = sum(sample.cpu for sample in samples if sample) * 1_000_000
    if spent > effort.patience_ns and len(samples) > 3:
        samples.append(None)
        return
    try:
        extra = _cpu_ms(python, f"{base}\n{code}") - _cpu_ms(python, base)
    except ImportError as error:
        result.left_out.append((contestant.label, without_places(str(error))))
        return
    samples.append(Sample(extra, extra))


def _cpu_ms(python: Path, code: str) -> float:
    variables = {k: v for k, v in clean_variables().items() if k != "PYTHONPATH"}
    process = subprocess.Popen(
        [str(python), "-W", "ignore", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SCRATCH,
        env=variables,
    )
    told = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ImportError(told.strip().rpartition("\n")[2])
    return 1000 * (usage.ru_utime + usage.ru_stime)
