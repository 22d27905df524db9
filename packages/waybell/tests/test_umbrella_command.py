import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from waybell import __version__
from waybell._command import _unknown, main


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution whose subcommand needs a package that is not there."""
    info = tmp_path / "broken_demo-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-demo\n")
    (info / "entry_points.txt").write_text(
        "[waybell.commands]\nbroken = waybell_absent_part.cli:command\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], ["-h"]])
def test_help_lists_the_commands_with_their_summaries(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert re.search(r"demo +Answer a question from a folder of text and code", out)


@pytest.mark.parametrize("word", ["-V", "--version", "version"])
def test_the_version_is_printed(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"waybell {__version__}\n"


def test_python_m_waybell_is_the_command() -> None:
    words = [sys.executable, "-W", "error", "-m", "waybell", "--version"]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == (f"waybell {__version__}\n", "")


def test_an_unknown_command_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["DMO"]) == 2
    assert "no command 'DMO'; did you mean demo?" in capsys.readouterr().err


def test_a_command_like_no_other_names_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["xyzzy"]) == 2
    err = capsys.readouterr().err
    assert "did you mean" not in err
    assert "There are: " in err
    assert "demo" in err


@pytest.mark.usefixtures("broken")
def test_a_command_whose_package_is_missing_says_what_to_install(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["broken"]) == 2
    assert "pip install waybell-absent-part" in capsys.readouterr().err


@pytest.mark.usefixtures("broken")
def test_help_survives_a_command_whose_package_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"broken +\(needs waybell-absent-part\)", out)


def test_help_loads_neither_rich_nor_any_package() -> None:
    code = (
        "import sys; from waybell._command import _unknown, main; main(['--help']); "
        "print([m for m in sys.modules if m.startswith('waybell_') or m == 'rich'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_command_of_a_package_that_is_not_installed_says_what_to_install() -> None:
    assert "pip install waybell-report" in _unknown("report", {})


def test_a_terminal_without_the_letters_gets_others() -> None:
    words = [sys.executable, "-m", "waybell", "doctor", "--out", "."]
    poor = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(words, capture_output=True, check=False, env=poor)
    assert b"Traceback" not in ran.stderr
    assert b"python" in ran.stdout


def test_an_output_that_is_closed_or_full_is_no_traceback() -> None:
    words = [sys.executable, "-m", "waybell", "--version"]
    closed = ["sh", "-c", '"$@" >&-', "sh", *words]
    ran = subprocess.run(closed, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            ran = subprocess.run(
                words, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert ran.returncode == 2
        assert "No space" in ran.stderr
        assert "Traceback" not in ran.stderr
