"""What each framework weighs: `python -m benchmarks.weight`, after `make frameworks`.

Prints, for each, the distributions that installing it brings, their size on disk and the
CPU time of importing it in a fresh interpreter: the median of interleaved rounds, beyond
the bare interpreter. Only what it requires by itself is counted, no extras.
"""

import random
import statistics
import subprocess
import sys
from pathlib import Path

import packaging

from benchmarks._environments import SCRATCH, environment
from benchmarks._imports import _cpu_ms
from benchmarks._page import _table, number


ROOT = Path(__file__).parent.parent
ROUNDS = 9
FRAMEWORKS = (  # distribution, environment, what is imported
    ("waybell", "own", "import waybell"),
    ("waybell, every name used", "own", "from waybell import *"),
    ("waybell-bus", "own", "import waybell_bus"),
    ("langgraph", "langgraph", "import langgraph.graph"),
    ("pydantic-ai-slim", "pydantic_ai", "import pydantic_ai"),
    ("openai-agents", "openai_agents", "import agents"),
    ("llama-index-workflows", "peers", "import workflows"),
    ("autogen-core", "peers", "import autogen_core"),
)


def interpreter(name: str) -> Path | None:
    """Of an environment, if it was installed."""
    if name == "own":
        return Path(sys.executable)
    if name == "peers":
        return environment("agents").python
    home = ROOT / ".venv" / "frameworks" / name
    return home / "bin" / "python" if (home / ".pins").exists() else None


def weigh(python: Path, distribution: str) -> tuple[str, int, float]:
    """The version, how many distributions, how many megabytes."""
    lent = Path(packaging.__file__).parent.parent
    words = [python, Path(__file__).parent / "_closure.py", distribution, lent]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    version, count, size = done.stdout.split()
    return version, int(count), int(size) / 1e6


def main() -> None:
    """Measure and print."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    found = [(label, interpreter(name), code) for label, name, code in FRAMEWORKS]
    jobs = [(label, python, code) for label, python, code in found if python]
    taken: dict[str, list[float]] = {label: [] for label, _, _ in jobs}
    for _ in range(ROUNDS):
        for label, python, code in random.sample(jobs, len(jobs)):
            taken[label].append(_cpu_ms(python, code) - _cpu_ms(python, ""))
    rows = []
    for label, python, _ in jobs:
        version, count, size = weigh(python, label.partition(",")[0])
        middle = statistics.median(taken[label])
        rows.append((label, version, str(count), number(size), number(middle)))
    print(_table(["", "version", "distributions", "MB", "import, CPU ms"], rows))
    for label, python, _ in found:
        if python is None:
            print(f"\nnot measured: {label} (make frameworks installs it)")


if __name__ == "__main__":
    main()
