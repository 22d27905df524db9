"""`waybell report`: words, output, exit codes."""

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from waybell_report._page_command import command


@pytest.fixture
def folder(write, otlp):
    """A failed run."""
    return write(otlp.failed_run())


def test_the_page_is_written_and_told(folder, tmp_path, capsys):
    page = tmp_path / "out.html"
    assert command([str(folder), "-o", str(page), "--title", "nightly"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(
        f"{page}  0.1 MB, 5 spans, 0 decisions\nfailed: planner: TimeoutError"
    )
    assert err == ""
    assert "<title>nightly: failed: planner" in page.read_text()


def test_without_words_the_usual_folder_is_read(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "waybell-out")
    assert command([]) == 0
    assert (tmp_path / "report.html").exists()
    monkeypatch.chdir(tmp_path / "waybell-out")
    assert command(["-o", "here.html"]) == 0
    assert (tmp_path / "waybell-out" / "here.html").exists()


def test_json_tells_what_was_written(folder, tmp_path, capsys):
    page = tmp_path / "out.html"
    assert command([str(folder), "-o", str(page), "--json", "--limit", "3"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["path"], told["bytes"], told["spans"]) == (
        str(page),
        page.stat().st_size,
        3,
    )
    assert told["notes"][0].startswith("Of 5 spans")
    assert err.startswith("waybell report: Of 5 spans")


def test_the_page_can_go_to_a_pipe(folder, capsys):
    assert command([str(folder), "-o", "-", "--open"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")


def test_the_page_can_be_opened(folder, tmp_path, capsys):
    opened = []
    assert (
        command(
            [str(folder), "-o", str(tmp_path / "p.html"), "--open"],
            browse=opened.append,
        )
        == 0
    )
    assert opened == [(tmp_path / "p.html").as_uri()]


def test_an_empty_run_is_written_and_told_by_the_exit_code(write, tmp_path, capsys):
    assert command([str(write()), "-o", str(tmp_path / "p.html")]) == 1
    assert "nothing was recorded in these files yet" in capsys.readouterr().err
    assert (tmp_path / "p.html").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ["nowhere"],
            "cannot read nowhere: No such file or directory; give the folder of a run",
        ),
        (["--limit", "0"], "'0' is no count above 0"),
        (["--what"], "unrecognized arguments: --what"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    words, why, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert command(words) == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_an_error(folder, capsys):
    assert command([str(folder), "-o", f"{folder}/traces.jsonl/x.html"]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_titles_and_verdicts_of_strangers_cannot_steer_the_terminal(
    write, otlp, tmp_path, capsys
):
    folder = write([otlp.span(1, name="x\x1b[2J", error="\x1b]0;owned\x07")])
    assert command([str(folder), "-o", str(tmp_path / "p.html")]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_help_has_examples_and_exit_codes(capsys):
    assert command(["--help"]) == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "exit codes:" in out


def test_the_waybell_command_finds_it():
    (point,) = entry_points(group="waybell.commands", name="report")
    assert point.load() is command


def test_progress_is_shown_on_a_terminal_only(write, otlp, tmp_path):
    folder = write(otlp.span(i) for i in range(1, 6_000))
    code = f"from waybell_report._page_command import command; command([{str(folder)!r}, '-o', {str(tmp_path / 'p.html')!r}])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    forced = {"FORCE_COLOR": "1", "PATH": "", "TERM": "xterm"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=forced,
    )
    assert "read 5,000 spans" in run.stderr or "reading" in run.stderr
