"""`waybell demo` as a process of its own: signals, pipes, terminals, sockets."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from waybell_decisions import DecisionLog
from waybell_trace import Tracer, read_traces


START = "import sys; from waybell._command import main; sys.exit(main(sys.argv[1:]))"
HANGS = """
import asyncio, sys
from waybell._demo import command
from waybell_adapters import OfflineAdapter

class Hangs(OfflineAdapter):
    __slots__ = ()
    async def agenerate(self, prompt, **options):
        if prompt.startswith("Review"):
            await asyncio.sleep(60)
        return self.generate(prompt, **options)

sys.exit(command(sys.argv[1:], build=lambda spec: Hangs()))
"""
NO_SOCKETS = """
import sys
def refuse(event, args):
    if event.startswith(("socket.connect", "socket.get", "socket.bind", "socket.send")):
        raise SystemExit(f"{event} {args}")
sys.addaudithook(refuse)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.md"
    path.write_text("The server listens on port 8080.\n")
    return path


def start(code: str, *words: object, **setting: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        **setting,
    )


def assert_whole(out: Path) -> None:
    traces = read_traces(out / "traces.jsonl")
    records = DecisionLog.read(out / "decisions.jsonl")
    assert (traces.torn, traces.foreign, traces.unfinished) == (0, 0, [])
    assert all("decision" in record for record in records)
    assert (records.torn, records.foreign) == (0, 0)


def test_an_interrupt_leaves_whole_files_and_one_line(
    tmp_path: Path, notes: Path
) -> None:
    out = tmp_path / "out"
    with start(HANGS, notes, "--ask", "Which port?", "--out", out) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "  ask     reviewer\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    left = f"{out}/traces.jsonl and {out}/decisions.jsonl"
    assert err == f"\nInterrupted. What was done until then is in {left}.\n"
    assert_whole(out)
    [record] = DecisionLog.read(out / "decisions.jsonl").query(
        "deliver", where={"topic": "agent:reviewer"}
    )
    assert record["outcome"] == "cancelled"


@pytest.mark.parametrize("line", ["Read", "Question", "  ask", "Answer"])
def test_an_interrupt_at_any_moment_is_one_line(
    tmp_path: Path, notes: Path, line: str
) -> None:
    with start(START, "demo", notes, "--out", tmp_path / "out") as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(line):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    if process.returncode != 0:  # it was not at its end already
        assert process.returncode == 130
        assert err.startswith("\nInterrupted.")
        assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("lines", [1, 5])
def test_a_reader_that_goes_away_is_told_by_the_code_alone(
    tmp_path: Path, notes: Path, lines: int
) -> None:
    with start(START, "demo", notes, "--out", tmp_path / "out") as process:
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141
    assert_whole(tmp_path / "out")


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[int]:
    """A pipe that nobody reads."""
    theirs, mine = os.pipe()
    os.close(theirs)
    yield mine
    os.close(mine)


@pytest.mark.parametrize(
    "line",
    [
        "--version", "--help", "demo notes.md", "demo --help", "run team.json",
        "run --help", "doctor", "doctor --json", "completion bash", "show", "stats",
        "decisions", "tail", "chrome --json", "report --json", "report -o -",
    ],
)  # fmt: skip
def test_every_command_that_nobody_reads_ends_with_141(
    tmp_path: Path, notes: Path, unread: int, line: str
) -> None:
    team = {"model": "offline", "agents": [{"name": "a"}]}
    team["tasks"] = [{"id": "t", "description": "Summarise: Bells ring.", "agent": "a"}]
    (tmp_path / "team.json").write_text(json.dumps(team))
    with Tracer(tmp_path / "traces.jsonl") as tracer, tracer.span("step"):
        DecisionLog(tmp_path / "decisions.jsonl").record(decision="x")
    words = [sys.executable, "-W", "error", "-c", START, *line.split()]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    ran = subprocess.run(
        words, stdout=unread, stderr=subprocess.PIPE, text=True, check=False,
        cwd=tmp_path, env=env,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (141, "")


def test_a_run_whose_reader_goes_away_does_all_its_tasks(
    tmp_path: Path, unread: int
) -> None:
    (tmp_path / "team.json").write_text(
        '{"model": "offline", "agents": [{"name": "a"}],'
        ' "tasks": [{"id": "t", "description": "Summarise: Bells ring."}]}'
    )
    words = [sys.executable, "-c", START, "run", "team.json"]
    subprocess.run(words, stdout=unread, check=False, cwd=tmp_path)
    told = json.loads((tmp_path / "waybell-out/results.json").read_text())
    assert told["status"] == "done"


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))
"""


def test_a_full_disk_is_a_few_lines_and_the_answer_is_printed(
    tmp_path: Path, notes: Path
) -> None:
    words = ("demo", notes, "--ask", "Which port?", "--out", tmp_path / "out")
    with start(FULL + START, *words) as process:
        said, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "The server listens on port 8080. [1]" in said
    assert "Traceback" not in err
    lines = err.splitlines()
    assert 0 < len(lines) <= 4
    assert all(line.startswith("waybell: ") for line in lines)
    assert all("File too large" in line for line in lines)


def test_results_that_cannot_be_written_are_printed(tmp_path: Path) -> None:
    team = {"agents": [{"name": "a", "model": "offline"}]}
    said = "Summarise: Bells ring."
    team["tasks"] = [{"id": f"{n}" * 2_500, "description": said} for n in range(3)]
    (tmp_path / "team.json").write_text(json.dumps(team))
    with start(FULL + START, "run", "team.json", cwd=tmp_path) as process:
        said, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Done: 3 done" in said
    assert "waybell run: waybell-out/results.json: File too large\n" in err
    assert "Traceback" not in err


def test_no_socket_is_connected_and_no_name_looked_up(tmp_path: Path) -> None:
    words = ("demo", "--out", tmp_path / "out")
    with start(NO_SOCKETS + START, *words, cwd=Path(__file__).parents[3]) as process:
        said, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "Review         approved" in said


def test_the_refusal_of_sockets_bites() -> None:
    code = NO_SOCKETS + "import socket; socket.getaddrinfo('localhost', 80)"
    with start(code) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "socket.getaddrinfo" in err


@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_the_agents_are_drawn(
    tmp_path: Path, notes: Path, *, colour: bool
) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    env |= {"TERM": "xterm-256color"} | ({} if colour else {"NO_COLOR": "1"})
    env["COLUMNS"] = "45"
    mine, theirs = pty.openpty()
    words = [sys.executable, "-c", START, "demo", notes, "--out", tmp_path / "out"]
    process = subprocess.Popen(words, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    said = read_all(mine)
    assert process.wait(timeout=20) == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "✓ classifier" in plain
    assert re.search(r"✗ retrieve:trigram +1 call .*…\r\n", plain)  # on one line
    assert "  ask " not in said
    assert ("\x1b[32m" in said) is colour


def read_all(terminal: int) -> str:
    found, end = b"", time.monotonic() + 20
    while select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        found += part
    os.close(terminal)
    return found.decode()
