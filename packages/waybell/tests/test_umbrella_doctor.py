"""What `waybell doctor` finds, and what shells are told."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from waybell import _doctor
from waybell._command import main
from waybell._completion import everything


def test_a_sound_installation_has_no_fault(tmp_path, capsys) -> None:
    assert _doctor.command(["--out", str(tmp_path / "new" / "runs")], environ={}) == 0
    out = capsys.readouterr().out
    assert "✓ waybell-bus" in out
    assert "✗" not in out
    assert "\x1b" not in out


def test_values_of_variables_are_never_shown(tmp_path, capsys) -> None:
    known = {"OPENAI_API_KEY": "sk-secret", "WAYBELL_MODEL": "offline"}
    assert _doctor.command(["--json", "--out", str(tmp_path)], environ=known) == 0
    out = capsys.readouterr().out
    assert "sk-secret" not in out
    states = {f["what"]: (f["state"], f["told"]) for f in json.loads(out)}
    assert states["OPENAI_API_KEY"] == ("note", "set")
    assert states["OLLAMA_HOST"] == ("note", "not set")
    assert states["WAYBELL_MODEL"] == ("good", "offline")


def test_a_model_that_is_none_is_a_fault_with_the_nearest(tmp_path, capsys) -> None:
    environ = {"WAYBELL_MODEL": "antropic:claude"}
    assert _doctor.command(["--out", str(tmp_path)], environ=environ) == 1
    assert "did you mean 'anthropic'" in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path, capsys) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert _doctor.command(["--out", str(tmp_path / "runs")], environ={}) == 1
    assert "cannot write in" in capsys.readouterr().out


def test_a_sandbox_is_tried_and_not_believed(tmp_path) -> None:
    (missing,) = _doctor.sandbox(lambda _name: None)
    assert "not installed" in missing.told
    fake = tmp_path / "bwrap"
    for code, told in (
        ("exit 0", "works"),
        ("echo no >&2; exit 1", "not work here: no"),
    ):
        fake.write_text(f"#!/bin/sh\n{code}\n")
        fake.chmod(0o700)
        (found,) = _doctor.sandbox(lambda _name: str(fake))
        assert told in found.told
    (gone,) = _doctor.sandbox(lambda _name: str(tmp_path / "nowhere"))
    assert gone.state == "note"


@pytest.mark.parametrize("words", [["doctor", "--nonsense"], ["completion", "tea"]])
def test_words_that_are_off_are_exit_code_2(words: list[str], capsys) -> None:
    assert main(words) == 2
    assert words[1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "option"),
    [("demo", "--ask"), ("doctor", "--out"), ("run", "--journal"), ("report", "--open"),
     ("show", "--failed"), ("stats", "--by"), ("decisions", "--where"),
     ("tail", "--follow"), ("chrome", "--limit"), ("completion", "shell")],
)  # fmt: skip
def test_every_command_is_completed_with_its_options(command: str, option: str) -> None:
    (below,) = (each for each in everything()._actions if each.choices)
    words = below.choices[command]._actions
    assert option in {
        name for each in words for name in (*each.option_strings, each.dest)
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_the_words(shell: str, capsys) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "doctor" in out
    assert "--ask" in out or "ask" in out


def test_bash_completes_a_command(capsys, tmp_path) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "waybell.bash"
    script.write_text(capsys.readouterr().out)
    ask = (
        f"source {script}; COMP_WORDS=(waybell doc); COMP_CWORD=1; "
        "_shtab_waybell waybell doc waybell; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["doctor"]


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    call = f"{sys.executable} -m waybell completion bash 2>{tmp_path}/err | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", call], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("141", "0")
    assert (tmp_path / "err").read_text() == ""
