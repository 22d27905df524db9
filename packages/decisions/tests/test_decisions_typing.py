"""What the docs show passes both type checkers, strict, without a word about types."""

import subprocess
import sys
from pathlib import Path

import pytest


SNIPPETS = Path(__file__).parent / "typing/snippets.py"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mypy", ["--strict", "--no-incremental"]),
        ("pyright", ["--pythonpath", sys.executable]),
    ],
)
def test_the_snippets_of_the_docs_pass_a_type_checker(name, options, tmp_path):
    pytest.importorskip(name, reason="only where the checkers are installed")
    settings = tmp_path / "pyproject.toml"  # lest the ones of a folder above count
    settings.write_text("")
    words = [sys.executable, "-m", name, *options, SNIPPETS]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
