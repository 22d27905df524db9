"""Hold branch coverage to its floors: whole where money or data is held, 95 % elsewhere.

Run through `make cov`, after the tests. It also says when a named file is gone,
so that a rename cannot quietly drop a floor.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


ROOT = Path(__file__).parent.parent
WHOLE = (
    "packages/budget/src/waybell_budget/_account.py",
    "packages/budget/src/waybell_budget/_budget.py",
    "packages/budget/src/waybell_budget/_ledger.py",
    "packages/budget/src/waybell_budget/_partition.py",
    "packages/budget/src/waybell_budget/_pool.py",
    "packages/budget/src/waybell_budget/_purse.py",
    "packages/decisions/src/waybell_decisions/_writer.py",
    "packages/scheduler/src/waybell_scheduler/_breaker.py",
    "packages/scheduler/src/waybell_scheduler/_graph.py",
    "packages/scheduler/src/waybell_scheduler/_journal.py",
    "packages/scheduler/src/waybell_scheduler/_queue.py",
    "packages/trace/src/waybell_trace/_writer.py",
)
FLOOR = 95.0


def measured() -> dict[str, float]:
    """Percent of lines and branches covered, by path from the root."""
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache") as folder:
        report = Path(folder) / "coverage.json"
        subprocess.run(
            [sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)],
            cwd=ROOT,
            check=True,
        )
        files = json.loads(report.read_text())["files"]
    return {name: entry["summary"]["percent_covered"] for name, entry in files.items()}


def main() -> int:
    """Print what is below its floor; the exit code counts it."""
    percent = measured()
    problems = [f"{name}: not measured" for name in WHOLE if name not in percent]
    for name, value in sorted(percent.items()):
        floor = 100.0 if name in WHOLE else FLOOR
        if value < floor:
            problems.append(f"{name}: {value:.1f} %, floor {floor:.0f} %")
    print("\n".join(problems) or f"coverage: all {len(percent)} files at their floors")
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
