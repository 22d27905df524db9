"""Does every case of ours still run? Once each, here, without the peers."""

import gc
import os
import tempfile
import warnings
from collections.abc import Iterable

from benchmarks._cases import Case, Contestant, Suite
from benchmarks._driver import Effort
from benchmarks._environments import SCRATCH, without_places
from benchmarks._imports import run_imports
from benchmarks._worker import live


LARGEST = 10


def smoke(suites: Iterable[Suite]) -> int:
    """Run each once; the number of those that cannot be run, at most 1."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(SCRATCH)
    warnings.simplefilter("ignore")
    failures = [
        f"{suite.name}, {case.name}: {failure}"
        for suite in suites
        for case in suite.cases
        for failure in _failures(case)
    ]
    for failure in failures:
        print(failure)
    print("smoke: " + (f"{len(failures)} failed" if failures else "all ran"))
    return min(len(failures), 1)


def _failures(case: Case) -> list[str]:
    if case.kind == "import":
        return _import_failures(case)
    with case.beside() as told:
        os.environ.update(told)
        return _call_failures(case)


def _call_failures(case: Case) -> list[str]:
    found = []
    for contestant in case.contestants:
        if contestant.env != "own" or contestant.size > LARGEST:
            continue
        try:
            _once(contestant)
        except Exception as error:
            told = without_places(f"{type(error).__name__}: {error}")
            found.append(f"{contestant.label}: {told}")
        finally:
            gc.unfreeze()
    return found


def _once(contestant: Contestant) -> None:
    alive = live(contestant)
    try:
        alive.run(1)
    finally:
        alive.close()


def _import_failures(case: Case) -> list[str]:
    own = [c for c in case.contestants if c.role == "ours"]
    mine = Case(case.name, case.title, "import", contestants=own)
    result = run_imports(mine, Effort(rounds=0))
    return [f"{label}: {reason}" for label, reason in result.left_out]
