"""Every example runs, prints what it says, warns of nothing, and stays offline."""

import ast
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest


ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(  # Those with other frameworks are tested in tests/frameworks.
    path for path in (ROOT / "examples").glob("*.py") if path.stem[:5] != "with_"
)
OFFLINE = ROOT / "tests/offline.py"


def run_offline(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", OFFLINE, *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_there_is_an_example_for_each_pattern_and_each_package_alone() -> None:
    names = {path.stem for path in EXAMPLES}
    patterns = "router pipeline broadcast supervisor retry fallback degrade"
    packages = {path.name for path in (ROOT / "packages").iterdir()}
    alone = {f"{name}_alone" for name in packages - {"patterns", "waybell"}}
    assert {*patterns.split(), *alone} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_its_first_lines_say(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    head, found, prints = said.partition("\nPrints:\n")
    assert head
    assert found, "the docstring of an example ends with what it prints"
    done = run_offline(path)
    assert (done.stdout.rstrip(), done.stderr) == (dedent(prints).rstrip(), "")


def test_the_offline_runner_really_refuses_the_network(tmp_path: Path) -> None:
    script = tmp_path / "call_home.py"
    script.write_text("import socket\nsocket.getaddrinfo('localhost', 80)\n")
    done = run_offline(script)
    assert done.returncode != 0
    assert "the network is forbidden here: socket.getaddrinfo" in done.stderr
