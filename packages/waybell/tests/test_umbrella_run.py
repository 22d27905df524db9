"""`waybell run`: a team from a file, its words, its files, its exit codes."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from waybell._run import command
from waybell._team._live import Progress
from waybell_adapters import ScriptedAdapter, ToolCall
from waybell_decisions import DecisionLog
from waybell_trace import read_traces


CHAIN = """
[[agents]]
name = "a"
{more}
[[tasks]]
id = "one"
description = "Summarise: Bells ring."
agent = "a"
[[tasks]]
id = "two"
agent = "a"
depends_on = ["one"]
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAYBELL_MODEL", raising=False)
    (tmp_path / "tasks.toml").write_text(CHAIN.format(more=""))
    return tmp_path


@pytest.fixture
def say(capsys):
    """Runs the command; the exit code and what was printed."""

    def say(*words, model=None):
        build = None if model is None else lambda spec: model
        given = [] if model is None else ["--model", "built"]
        code = command(["tasks.toml", *given, *map(str, words)], build=build)
        out, err = capsys.readouterr()
        return code, out, err

    return say


def read(name="results.json"):
    return json.loads((Path("waybell-out") / name).read_text())


def test_it_runs_the_tasks_and_writes_what_came_of_them(say):
    code, out, err = say("--model", "offline")
    assert (code, err) == (0, "")
    assert "Done: 2 done; " in out
    assert (
        out.index("started   one")
        < out.index("done      one")
        < out.index("started   two")
    )
    results = read()
    assert (results["team"], results["status"]) == ("tasks", "done")
    one = results["tasks"]["one"]
    assert (one["value"], one["usd"], one["tokens"] > 5) == ("Bells ring.", "0", True)
    assert results["agents"]["a"]["calls"] == 2
    assert "## one: done\n\nBells ring." in Path("waybell-out/results.md").read_text()
    modes = {path.stat().st_mode & 0o777 for path in Path("waybell-out").iterdir()}
    assert modes == {0o600}
    spans = {span.name for span in read_traces("waybell-out/traces.jsonl").spans}
    assert {"agent:a", "invoke_agent a", "chat offline", "task one"} <= spans
    records = DecisionLog.read("waybell-out/decisions.jsonl")
    assert {record["decision"] for record in records} == {"deliver", "task"}


def test_what_an_earlier_run_wrote_is_moved_aside(say):
    say("--model", "scripted:first")
    say("--model", "scripted:second")
    assert read("earlier-1/results.json")["tasks"]["one"]["value"] == "first"
    assert read()["tasks"]["one"]["value"] == "second"


def test_without_a_model_nothing_starts_and_it_says_what_to_set(say):
    code, out, err = say()
    assert (code, out) == (2, "")
    assert "set the variable WAYBELL_MODEL" in err
    assert "--model offline" in err
    assert not Path("waybell-out").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "ofline"], "--model: no provider 'ofline'"),
        (["--budget", "much"], "--budget: "),
        (["--deadline", "0"], "is no number of seconds above 0"),
        (["--decide", "x"], "'x' is not KEY=VALUE"),
        (
            ["--decide", "x=yes"],
            "--decide goes on with an earlier run: name its --journal",
        ),
        (["--retry-failed"], "--retry-failed goes on with an earlier run"),
        (
            ["--journal", "none", "--decide", "x=yes"],
            "none does not wait for 'x', but for nothing: there is no such file",
        ),
        (["--out", "tasks.toml"], "--out: "),
        (["--journal", "tasks.toml"], "tasks.toml is damaged"),
        (["--journal", "."], "--journal: .: Is a directory"),
        (["--journal", "./waybell-out/results.json"], "is one of the files in --out"),
        (["--journal", "tasks.toml", "--decide", "x=yes"], "tasks.toml is damaged"),
    ],
)
def test_words_that_are_off_are_told_with_code_2(say, words, says):
    code, _, err = say(*([] if "--model" in words else ["--model", "offline"]), *words)
    assert code == 2
    assert says in err


def test_a_file_that_is_off_is_told_by_key_path(say, here):
    (here / "tasks.toml").write_text(CHAIN.format(more="max_step = 1"))
    code, _, err = say()
    assert code == 2
    assert "agents[0].max_step: is no key here; did you mean 'max_steps'?" in err
    (here / "tasks.toml").unlink()
    assert say()[2] == "waybell run: tasks.toml: No such file or directory\n"
    (here / "tasks.toml").write_bytes(b"\xff")
    assert say()[0] == 2


def test_a_failure_is_told_and_the_code_is_1(say):
    model = ScriptedAdapter([ValueError("off\x1b[2J")])
    code, out, _ = say(model=model)
    assert code == 1
    assert "Failed one: ValueError: off\ufffd[2J" in out
    assert "skipped   two            needs one" in out
    assert "Failed: 1 failed, 1 skipped" in out
    assert read()["tasks"]["two"] == {
        "status": "skipped", "error": "it needs one", "stems_from": "one", "seconds": 0.0,
        "attempts": 0,
    }  # fmt: skip


def test_a_budget_and_a_deadline_hold(say):
    async def hang(prompt):
        await asyncio.Event().wait()

    code, out, _ = say("--deadline", "0.05", model=ScriptedAdapter([hang]))
    assert code == 1
    assert "DeadlineExceeded" in out
    code, out, _ = say("--budget", "0", model=ScriptedAdapter(["x", "y"]))
    assert code == 0  # they cost nothing


def test_with_a_journal_it_goes_on_and_does_failed_tasks_again_when_told(say):
    code, out, _ = say(
        "--journal", "j", model=ScriptedAdapter(["first", ValueError("off")])
    )
    assert code == 1
    again = "Again  waybell run tasks.toml --journal j --model built --retry-failed"
    assert again in out
    assert say("--journal", "j", model=ScriptedAdapter([]))[0] == 1
    code, _, _ = say(
        "--journal", "j", "--retry-failed", model=ScriptedAdapter(["second"])
    )
    assert code == 0
    values = {name: one["value"] for name, one in read()["tasks"].items()}
    assert values == {"one": "first", "two": "second"}


@pytest.fixture
def notes(here):
    (here / "notes").mkdir()
    tool = '[{ use = "write_file", root = "notes", approve = true }]'
    (here / "tasks.toml").write_text(CHAIN.format(more=f"tools = {tool}"))
    arguments = {"path": "a.txt", "content": "hello"}
    return [[ToolCall("1", "write_file", arguments)], "written", "fin"]


def test_what_needs_approval_suspends_and_goes_on_as_decided(say, here, notes):
    code, out, _ = say("--journal", "j", model=ScriptedAdapter(notes[:1]))
    assert code == 3
    assert "may write_file be called?" in out
    line = next(line for line in out.splitlines() if line.startswith("Go on  "))
    words = shlex.split(line)[5:]
    assert words[:4] == ["--journal", "j", "--model", "built"]
    del words[2:4]
    assert read()["pending"]
    assert not (here / "notes/a.txt").exists()
    code, _, _ = say(*words, model=ScriptedAdapter(notes[1:]))
    assert (code, (here / "notes/a.txt").read_text()) == (0, "hello")


@pytest.mark.parametrize(
    ("value", "told"),
    [("no", "not approved"), ("later", "later"), ("FALSE", "not approved")],
)
def test_a_decision_may_name_the_task_alone_and_refuse(say, here, notes, value, told):
    say("--journal", "j", model=ScriptedAdapter(notes[:1]))
    model = ScriptedAdapter(notes[1:])
    code, _, _ = say("--journal", "j", "--decide", f"one={value}", model=model)
    assert code == 0
    assert told in model.calls[0].prompt[-1]["content"]
    assert not (here / "notes/a.txt").exists()


def test_what_goes_on_keeps_the_limits_and_the_folder(say, here, notes):
    terms = ["--budget", "0.25", "--deadline", "90", "--out", "o p"]
    _, out, _ = say("--journal", "j", *terms, model=ScriptedAdapter(notes[:1]))
    line = next(line for line in out.splitlines() if line.startswith("Go on  "))
    said = ["--budget", "0.25", "--deadline", "90.0", "--out", "o p"]
    words = shlex.split(line)
    assert words[words.index("--budget") :][:6] == said


def test_a_decision_for_a_task_that_waits_for_several_must_say_for_which(
    say, here, notes
):
    wanted = [
        ToolCall(name, "write_file", {"path": name, "content": "x"}) for name in "ab"
    ]
    say("--journal", "j", model=ScriptedAdapter([wanted]))
    first, second = read()["pending"]
    code, _, err = say(
        "--journal", "j", "--decide", "one=yes", model=ScriptedAdapter([])
    )
    assert code == 2
    assert f"'one' waits for several: name {first!r} or {second!r}" in err
    say("--journal", "j", "--decide", f"{first}=yes", model=ScriptedAdapter([]))
    assert [*read()["pending"]] == [second]
    model = ScriptedAdapter(["written", "fin"])
    code, _, _ = say("--journal", "j", "--decide", "one=no", model=model)
    assert code == 0
    assert (here / "notes/a").exists()
    assert not (here / "notes/b").exists()


def test_a_refused_run_leaves_the_files_of_the_earlier_one_where_they_are(say, here):
    out = here / "waybell-out"
    say("--journal", "j", model=ScriptedAdapter(["first", "second"]))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (here / "tasks.toml").write_text(CHAIN.format(more="").replace("Bells", "Gongs"))
    code, _, err = say("--journal", "j", model=ScriptedAdapter([]))
    assert (code, "the journal of another graph" in err) == (2, True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    code, _, _ = say("--journal", "j", "--out", "new", model=ScriptedAdapter([]))
    assert (code, [*(here / "new").iterdir()]) == (2, [])


def test_a_decision_about_nothing_is_refused(say, notes):
    say("--journal", "j", model=ScriptedAdapter(notes[:1]))
    code, _, err = say(
        "--journal", "j", "--decide", "three=1", model=ScriptedAdapter([])
    )
    assert code == 2
    assert "does not wait for 'three'" in err


def test_without_a_journal_what_needs_approval_is_refused(say, here, notes):
    model = ScriptedAdapter(notes)
    assert say(model=model)[0] == 0
    assert "keeps no --journal" in model.calls[1].prompt[-1]["content"]
    assert not (here / "notes/a.txt").exists()


@pytest.fixture
def vendor(monkeypatch):
    """A server that answers as OpenAI's does; what it was asked."""
    asked = []
    reply = {
        "id": "1", "model": "made-up-1-2026", "usage": {"prompt_tokens": 9, "completion_tokens": 2},
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Bronze."}}],
    }  # fmt: skip

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(
                json.loads(self.rfile.read(int(self.headers["content-length"])))
            )
            body = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv(
            "OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1"
        )
        yield asked
        server.shutdown()
        thread.join()


def test_a_price_nobody_knows_is_refused_with_what_to_say(say, vendor):
    code, out, _ = say("--model", "openai:made-up-1", "--budget", "0.5")
    assert (code, vendor) == (1, [])
    hint = "no price for 'made-up-1': state it with --rates FILE, or install waybell[prices]"
    assert out.count(hint) == 2
    assert hint in read()["tasks"]["one"]["error"]
    assert "BudgetPool" not in out


@pytest.mark.parametrize("where", ["option", "file"])
def test_rates_say_what_a_model_costs(say, here, vendor, where):
    (here / "other.toml").write_text('model = "other"\ninput = 1\noutput = 1\n')
    (here / "rates.toml").write_text('model = "made-up-1"\ninput = 3\noutput = 15\n')
    words = ["--rates", "other.toml", "--rates", "rates.toml", "--budget", "0.5"]
    if where == "option":
        words += ["--model", "openai:made-up-1"]
    else:
        more = 'model = "openai:made-up-1"'
        (here / "tasks.toml").write_text(CHAIN.format(more=more))
    code, out, err = say(*words)
    assert (code, err, len(vendor)) == (0, "", 2), out
    if where == "option":
        assert read()["agents"]["a"]["usd"] == "0.000114"  # twice 9 * 3 + 2 * 15


def test_rates_hold_for_the_limits_of_the_file(say, here, vendor):
    text = "[limits]\nusd = 0.00001\n" + CHAIN.format(more="")
    (here / "tasks.toml").write_text(text)
    (here / "rates.toml").write_text('{"model": "made-up-1", "input": 3, "output": 15}')
    code, out, _ = say("--model", "openai:made-up-1", "--rates", "rates.toml")
    assert (code, vendor) == (1, [])
    assert "BudgetExceeded" in out


def test_what_goes_on_names_the_rates(say, here):
    (here / "rates.toml").write_text('model = "m"\ninput = 3\noutput = 15\n')
    words = ["--journal", "j", "--rates", "rates.toml"]
    _, out, _ = say(*words, model=ScriptedAdapter([ValueError("no ink")]))
    assert "--rates=rates.toml --retry-failed" in out
    code, _, err = say("--rates", "gone.toml")
    assert code == 2
    assert "--rates: gone.toml: No such file" in err


def test_an_agent_that_no_task_wants_needs_no_model(say, here):
    more = 'model = "offline"\n[[agents]]\nname = "b"'
    (here / "tasks.toml").write_text(CHAIN.format(more=more))
    assert say()[0] == 0


def test_help_shows_examples_and_codes(capsys):
    assert command(["--help"]) == 0
    out = capsys.readouterr().out
    assert "waybell run tasks.toml --model offline" in out
    assert "exit codes: 0 all tasks are done" in out


def test_the_example_runs(say, here):
    example = Path(__file__).parents[3] / "examples/team/tasks.toml"
    assert command([str(example), "--model", "offline"]) == 0
    assert "bronze" in read()["tasks"]["page"]["value"]


def picture(progress):
    with progress._console.capture() as shown:
        progress._console.print(progress.lines())
    return shown.get()


def test_the_live_view_shows_what_happens_first_where_there_is_little_room():
    console = Console(width=60, height=8, force_terminal=False)
    time = [0.0]
    tasks = {f"t{n}": n == 0 for n in range(9)}
    progress = Progress(console, tasks, lambda: "7 tokens, $0", clock=lambda: time[0])
    progress("task:started", {"task": "t8"})
    time[0] = 1.0
    progress("task:started", {"task": "t7"})
    progress(
        "task:retrying",
        {"task": "t7", "wait": 2.0, "error": "OSError", "message": "cut"},
    )
    progress("task:started", {"task": "t6"})
    time[0] = 3.0
    progress(
        "task:failed",
        {
            "task": "t6",
            "attempts": 2,
            "seconds": 3.0,
            "error": "OSError",
            "message": "x" * 99,
        },
    )
    progress("task:skipped", {"task": "t5", "stems_from": "t6"})
    progress(
        "task:finished",
        {"task": "t4", "status": "suspended", "seconds": 0.5, "attempts": 1},
    )
    progress(
        "task:finished",
        {"task": "new", "status": "done", "seconds": 0.5, "attempts": 1},
    )
    lines = picture(progress).splitlines()
    assert [line.split()[:2] for line in lines[:5]] == [
        ["…", "t8"], ["…", "t7"], ["?", "t4"], ["✗", "t6"], ["✓", "t0"],
    ]  # fmt: skip
    assert "again in 2.00 s: cut" in lines[1]
    assert lines[3].rstrip().endswith("…")
    counts = (
        "3 waiting, 2 running, 2 done, 1 failed, 1 skipped, 1 suspended  7 tokens, $0"
    )
    assert " ".join(" ".join(lines[5:]).split()) == " ".join(counts.split())


def test_what_an_earlier_run_has_done_is_shown_as_done():
    progress = Progress(Console(width=60), {"one": True, "two": False}, lambda: "")
    first, second, counts = picture(progress).splitlines()
    assert first.split() == ["✓", "one", "in", "an", "earlier", "run"]
    assert second.split() == ["·", "two"]
    assert counts.split() == ["1", "waiting,", "1", "done"]


@pytest.mark.parametrize("width", [24, 40, 200])
def test_long_and_wide_names_leave_room_for_the_time(width):
    names = ["short", "日本語のタスク" * 5, "a-name-longer-than-any-line-may-be-" * 3]
    progress = Progress(
        Console(width=width), dict.fromkeys(names, False), lambda: "", clock=lambda: 0
    )
    for name in names:
        progress("task:started", {"task": name})
    *lines, _ = progress.lines().renderables
    shown = [line.plain for line in lines]
    assert len({cell_len(line) for line in shown}) == 1
    assert all(line.endswith("0.0 ms") for line in shown)
    assert ["…" in line[4:] for line in shown] == [False, True, True]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_what_cannot_be_printed_is_said_and_the_results_are_kept():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "waybell", "run", "tasks.toml", "--model", "offline"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "waybell run: No space left on device\n"
    assert read()["status"] == "done"


def test_on_a_terminal_lines_move_and_their_end_stays():
    import io

    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=60, _environ={"TERM": "xterm"}
    )
    with Progress(console, {"one": False}, lambda: "0 tokens") as progress:
        progress("task:started", {"task": "one"})
        progress(
            "task:finished",
            {"task": "one", "status": "done", "seconds": 0.1, "attempts": 1},
        )
    shown = stream.getvalue()
    assert "one" in shown
    assert "1 done" in shown
    assert "started" not in shown


HANGS = """
import asyncio, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
from waybell._run import command
from waybell_adapters import ScriptedAdapter

async def hang(prompt):
    print("begun", flush=True)
    await asyncio.Event().wait()

model = ScriptedAdapter(["first", hang, hang])
sys.exit(command(sys.argv[1:], build=lambda spec: model))
"""


def begun(*words):
    """A run in a process of its own, whose second task hangs."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, "tasks.toml", "--model", "x", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line == "begun\n":
            break
    return process


@pytest.mark.parametrize("journal", [[], ["--journal", "j"]])
def test_an_interruption_says_what_is_left_and_leaves_a_journal_that_goes_on(
    say, journal
):
    process = begun(*journal)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted." in err
    assert ("go on" if journal else "decisions.jsonl") in err
    assert "Traceback" not in err
    if journal:
        assert say("--journal", "j", model=ScriptedAdapter(["second"]))[0] == 0


def test_a_killed_run_goes_on_where_it_was(say):
    process = begun("--journal", "j")
    process.kill()
    process.communicate(timeout=30)
    model = ScriptedAdapter(["second"])
    assert say("--journal", "j", model=model)[0] == 0
    values = {name: one["value"] for name, one in read()["tasks"].items()}
    assert (values, len(model.calls)) == ({"one": "first", "two": "second"}, 1)


def test_a_run_is_one_trace_that_has_failed_where_a_task_has(say, here):
    say(model=ScriptedAdapter(["first", ValueError("no ink")]))
    traces = read_traces(here / "waybell-out" / "traces.jsonl")
    (root,) = traces.roots
    assert root.failed
    assert "no ink" in (root.error or "")
