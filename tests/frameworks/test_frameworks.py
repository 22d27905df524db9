"""Beside other frameworks: each example runs with the versions it is pinned to."""

import ast
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest


ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.txt"))


def test_every_framework_has_its_pins_and_its_example() -> None:
    examples = {path.stem for path in (ROOT / "examples").glob("with_*.py")}
    assert examples == {f"with_{name}" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_what_its_first_lines_say_and_stays_offline(name: str) -> None:
    home = ROOT / ".venv" / "frameworks" / name
    if not (home / ".pins").exists():
        pytest.skip(f"{name} is not installed: make frameworks")
    example = ROOT / "examples" / f"with_{name}.py"
    said = ast.get_docstring(ast.parse(example.read_text())) or ""
    done = subprocess.run(
        [home / "bin" / "python", "-W", "error", ROOT / "tests/offline.py", example],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    _, found, prints = said.partition("\nPrints:\n")
    assert found
    assert done.stdout.rstrip() == dedent(prints).rstrip(), done.stderr[-2000:]
