"""The commands as a shell meets them: words, output, exit codes, broken files."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from waybell_decisions import DecisionLog
from waybell_report import _chrome, _decisions, _page_command, _show, _stats, _tail
from waybell_report._decisions import condition, looked_up, moment
from waybell_report._verdict import bare
from waybell_trace import Tracer


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "show": _show.command, "stats": _stats.command, "decisions": _decisions.command,
    "tail": _tail.command, "chrome": _chrome.command, "report": _page_command.command,
}  # fmt: skip
every = pytest.mark.parametrize("name", [name for name in COMMANDS if name != "report"])
Run = tuple[int, str, str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with a failure, a cost, and two decisions."""
    with (
        Tracer(tmp_path / "traces.jsonl") as tracer,
        DecisionLog(
            tmp_path / "decisions.jsonl", now=iter(range(100, 200)).__next__
        ) as log,
    ):
        with tracer.workflow("run"):
            with tracer.agent("writer"), tracer.llm("small", provider="local") as span:
                span.record_usage(input_tokens=1_200, output_tokens=30, usd="0.0125")
            with (
                pytest.raises(ValueError),
                tracer.agent("painter"),
                tracer.tool("brush"),
            ):
                raise ValueError("no \x1b[31mcolour")
        log.record(decision="route", to="writer", confidence=0.9)
        log.record(
            decision="route", to="painter", confidence=0.4, given={"prompt": "Red"}
        )
        log.record(decision="retry", outcome="error")
    return tmp_path


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Run]:
    def call(name: str, *words: object) -> Run:
        code = COMMANDS[name]([str(word) for word in words])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


@every
def test_help_tells_about_it_with_examples_and_exit_codes(name: str, run) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"waybell {name}" in out
    assert "examples:" in out
    assert "exit codes:" in out


@every
def test_words_that_are_off_are_exit_code_2(name: str, run) -> None:
    code, _, err = run(name, "--nonsense")
    assert code == 2
    assert "--nonsense" in err


@every
def test_what_is_not_there_is_named_with_a_remedy(name: str, run, tmp_path) -> None:
    code, out, err = run(name, tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert "nowhere" in err
    assert "give the folder of a run" in err


@every
def test_a_folder_without_a_run_says_what_it_holds(name: str, run, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    code, _, err = run(name, tmp_path)
    assert code == 2
    assert "notes.txt" in err


@pytest.mark.parametrize("name", ["show", "stats", "chrome"])
def test_a_file_without_a_span_is_an_error(name: str, run, tmp_path) -> None:
    (tmp_path / "traces.jsonl").write_text("")
    code, _, err = run(
        name, tmp_path, *(["-o", tmp_path / "x"] if name == "chrome" else [])
    )
    assert code == 2
    assert "no span in" in err


@every
def test_a_device_is_refused_before_it_is_read_without_end(name: str, run) -> None:
    code, _, err = run(name, "/dev/zero")
    assert code == 2
    assert "/dev/zero is no ordinary file" in err


def test_a_line_larger_than_memory_is_no_traceback(tmp_path) -> None:
    with (tmp_path / "traces.jsonl").open("wb") as file:
        file.truncate(1 << 31)
    code = (
        "import resource, sys; from waybell_report._show import command; "
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
        "sys.exit(command(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("waybell show: there is not enough memory for it\n")
    assert "Traceback" not in done.stderr


def test_show_says_who_failed_then_draws_the_tree(folder, run) -> None:
    code, out, err = run("show", folder)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("finished; 2 spans failed on the way, first painter:")
    assert "5 spans" in lines[1]
    assert "$0.0125" in lines[1]
    assert "1,230 tokens" in lines[1]
    assert lines[2].startswith("invoke_workflow run")
    assert lines[3].startswith("├─ invoke_agent writer")
    assert lines[4].startswith("│  └─ chat small")
    assert "$0.0125" in lines[4]
    assert lines[5].startswith("└─ ✗ invoke_agent painter")
    assert lines[6].startswith("   └─ ✗ execute_tool brush")
    assert "no \\u001b[31mcolour" in lines[6]
    assert "\x1b" not in out


def test_people_read_the_bare_class_of_an_error_and_programs_its_path(
    tmp_path, run
) -> None:
    class Torn(Exception):
        pass

    with (
        Tracer(tmp_path / "traces.jsonl") as tracer,
        pytest.raises(Torn),
        tracer.agent("binder"),
    ):
        raise Torn("at page 3")
    _, out, _ = run("show", tmp_path)
    first, _, line = out.splitlines()
    assert first == "failed: binder: Torn: at page 3"
    assert line.endswith("  Torn: at page 3")
    assert run("tail", tmp_path)[1].endswith("  Torn: at page 3\n")
    for name in ("show", "tail"):
        error = json.loads(run(name, tmp_path, "--json")[1])["error"]
        assert error.startswith(f"{__name__}.")
        assert error.endswith(".<locals>.Torn: at page 3")


@pytest.mark.parametrize(("error", "shown"), [
    ("a._b.Refused: no", "Refused: no"),
    ("a._b.Refused", "Refused"),
    ("a.Outer._Inner: no", "_Inner: no"),
    ("Refused: a.b.C: no", "Refused: a.b.C: no"),
    ("zlib.error: no", "zlib.error: no"),
    ("api.example.com: refused", "api.example.com: refused"),
    ("notes/README.MD: not there", "notes/README.MD: not there"),
    ("README.MD: not there", "README.MD: not there"),
    ("", ""),
])  # fmt: skip
def test_only_a_class_loses_its_modules(error: str, shown: str) -> None:
    assert bare(error) == shown


def test_show_can_be_narrowed(folder, run) -> None:
    _, out, _ = run("show", folder, "--failed")
    assert "writer" not in out
    assert "brush" in out
    _, out, _ = run("show", folder, "--agent", "writer")
    assert "painter" not in out.split("\n", 2)[2]
    assert run("show", folder, "--trace", "ffffffff")[0] == 1
    _, out, _ = run("show", folder, "--limit", "2")
    assert "... and 3 more (--limit 5)" in out


def test_show_as_json_is_a_line_a_span(folder, run) -> None:
    _, out, _ = run("show", folder, "--json")
    spans = [json.loads(line) for line in out.splitlines()]
    assert [span["depth"] for span in spans] == [0, 1, 2, 1, 2]
    model = spans[2]
    assert (model["usd"], model["input_tokens"], model["failed"]) == (
        "0.0125",
        1200,
        False,
    )
    assert [span["name"] for span in spans if span["failed"]] == [
        "invoke_agent painter", "execute_tool brush",
    ]  # fmt: skip


def test_show_marks_what_never_ended_and_whose_parent_is_missing(tmp_path, run) -> None:
    tracer = Tracer(tmp_path / "traces.jsonl")
    span = tracer.span("open")
    span.__enter__()
    with tracer.span("inside"):
        pass
    _, out, _ = run("show", tmp_path)
    assert "… open  never ended" in out
    span.__exit__(None, None, None)
    tracer.close()
    ended = (tmp_path / "traces.jsonl").read_text().splitlines()
    (tmp_path / "part.jsonl").write_text(ended[0] + "\n")
    _, out, _ = run("show", tmp_path / "part.jsonl")
    assert "(its parent is missing)" in out


def test_show_draws_a_thousand_levels_without_recursion(tmp_path, run) -> None:
    with Tracer(tmp_path / "traces.jsonl") as tracer:
        spans = [tracer.span(f"level {n}") for n in range(1_100)]
        for span in spans:
            span.__enter__()
        for span in reversed(spans):
            span.__exit__(None, None, None)
    code, out, _ = run("show", tmp_path, "--limit", "2000")
    assert code == 0
    assert "level 1099" in out


def test_stats_count_by_name(folder, run) -> None:
    code, out, _ = run("stats", folder)
    assert code == 0
    assert out.split("agents")[1].split()[10:12] != []
    assert "painter" in out
    assert "5 spans, 2 failed, 0 unfinished, 1,230 tokens, $0.0125" in out
    _, out, _ = run("stats", folder, "--json")
    found = json.loads(out)
    assert found["agents"]["writer"]["usd"] == "0.0125"
    assert found["agents"]["painter"]["failed"] == 1
    assert found["models"]["small"]["input_tokens"] == 1200
    assert found["tools"]["brush"]["calls"] == 1
    assert found["spans"]["calls"] == 5
    _, out, _ = run("stats", folder, "--json", "--by", "tools")
    assert set(json.loads(out)) == {"spans", "tools"}


def test_decisions_are_listed_filtered_and_counted(folder, run) -> None:
    _, out, _ = run("decisions", folder)
    assert [line.split()[1] for line in out.splitlines()] == ["route", "route", "retry"]
    assert "to=writer" in out
    for words, names in (
        (["--where", "to=painter"], ["painter"]),
        (["--where", "confidence>=0.5"], ["writer"]),
        (["--where", "given.prompt~red"], ["painter"]),
        (["--where", "decision=route", "--where", "to!=writer"], ["painter"]),
        (
            ["--since", "1970-01-01T00:01:41", "--until", "1970-01-01T00:01:42"],
            ["painter"],
        ),
        (["--where", "decision=route", "--limit", "1"], ["painter"]),
        (["--where", "decision=route", "--all"], ["writer", "painter"]),
    ):
        _, out, _ = run("decisions", folder, "--json", *words)
        assert [json.loads(line)["to"] for line in out.splitlines()] == names
    for counted in ([], ["--count", "to"]):
        code, out, err = run("decisions", folder, "--where", "to=nobody", *counted)
        assert (code, out) == (1, "")
        assert err == "waybell decisions: 0 of 3 records match\n"
    _, out, _ = run("decisions", folder, "--count", "decision")
    assert out == "2  route\n1  retry\n"
    _, out, _ = run("decisions", folder, "--count", "decision", "--json")
    assert json.loads(out) == {"route": 2, "retry": 1}


def test_people_read_round_numbers_and_no_fields_without_a_value(tmp_path, run) -> None:
    with DecisionLog(tmp_path / "decisions.jsonl") as log:
        log.record(decision="task", seconds=0.003903093998815166, agent=None, tries=2)
    _, out, _ = run("decisions", tmp_path)
    assert out.split("task", 1)[1].split() == ["seconds=0.003903", "tries=2"]
    _, out, _ = run("decisions", tmp_path, "--json")
    told = json.loads(out)
    assert (told["seconds"], told["agent"]) == (0.003903093998815166, None)


def test_show_warns_of_what_is_incomplete(tmp_path, run) -> None:
    lack = {"type": "IncompleteError", "message": "1 of 2 answers"}
    with (
        Tracer(tmp_path / "traces.jsonl") as tracer,
        DecisionLog(tmp_path / "decisions.jsonl") as log,
        tracer.span("broadcast"),
    ):
        log.record(decision="broadcast", outcome="incomplete", error=lack)
    why = "IncompleteError: 1 of 2 answers"
    code, out, _ = run("show", tmp_path)
    first, _, line = out.splitlines()
    assert code == 0
    assert first == f"finished; 1 span incomplete, first broadcast: {why}"
    assert line.startswith("! broadcast")
    assert line.endswith(why)
    _, out, _ = run("show", tmp_path, "--json")
    told = json.loads(out)
    assert (told["failed"], told["incomplete"], told["error"]) == (False, True, why)
    _, out, _ = run("report", tmp_path, "-o", tmp_path / "page.html")
    assert first in out


@pytest.mark.parametrize("words", [
    ["--where", "nothing"], ["--since", "yesterday"], ["--limit", "0"],
])  # fmt: skip
def test_a_condition_that_is_none_is_named(folder, run, words: list[str]) -> None:
    code, _, err = run("decisions", folder, *words)
    assert code == 2
    assert repr(words[1]) in err


def test_conditions_compare_only_what_can_be_compared() -> None:
    record = {"n": 5, "s": "5", "list": [{"x": True}], "a.b": 1, "none": None}
    for text, passes in (
        ("n=5", True), ("s=5", True), ("n<6", True), ("s<6", True), ("n>five", False),
        ("list.0.x=true", True), ("list.-1.x=true", True), ("list.7.x=true", False),
        ("a.b=1", True), ("gone=null", True), ("gone!=null", False), ("none~x", False),
        ("list~TRUE", True), ("n<=5", True), ("n>5", False), ("n.x=1", False),
    ):  # fmt: skip
        assert condition(text)(record) is passes, text
    assert looked_up(record, "list.x") is None


def test_moments_are_before_now_or_in_utc() -> None:
    assert moment("10m", now=lambda: 1_000) == 400
    assert moment("1.5h", now=lambda: 10_000) == 4_600
    assert moment("1970-01-01T01:00") == 3_600
    assert moment("1970-01-01T01:00+01:00") == 0


def test_decisions_needs_a_log(folder, run) -> None:
    code, _, err = run("decisions", folder / "traces.jsonl")
    assert code == 2
    assert "no decisions.jsonl" in err


def test_torn_and_foreign_lines_are_said_and_left_out(folder, run) -> None:
    with (folder / "traces.jsonl").open("a") as file:
        file.write('hello\n{"resourceSpans":[')
    with (folder / "decisions.jsonl").open("a") as file:
        file.write("hello\n")
    code, out, err = run("show", folder)
    assert code == 0
    assert "5 spans" in out
    assert "waybell show: 1 line is cut short" in err
    assert "waybell show: 2 lines are neither span nor decision" in err
    assert "1 line is neither" in run("decisions", folder, "--all")[2]


def test_tail_merges_both_files_by_time(folder, run) -> None:
    code, out, _ = run("tail", folder, "-n", "6", "--json")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 6
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert {"span" in line for line in lines} == {True, False}
    _, out, _ = run("tail", folder, "-n", "1")
    assert "invoke_workflow run" in out


def test_tail_follows_what_is_written_and_new_parts_of_a_log(
    folder, capfdbinary
) -> None:
    log = DecisionLog(folder / "decisions.jsonl", rotate_bytes=600)
    turns = iter(range(1_000))

    def sleep(_seconds: float) -> None:
        turn = next(turns)
        if turn == 6:
            raise KeyboardInterrupt
        with (folder / "traces.jsonl").open("a") as file:
            file.write('{"resourceSpans":[{"sco')  # not yet a line
        log.record(decision="late", turn=turn, why="x" * 150)

    code = _tail.command([str(folder), "-f", "--json", "-n", "1"], sleep=sleep)
    log.close()
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert code == 130
    assert [line["turn"] for line in lines if line.get("decision") == "late"] == [
        *range(6)
    ]
    assert len(list(folder.glob("decisions.0*.jsonl"))) >= 1


def test_tail_waits_for_a_run_that_is_yet_to_come(tmp_path, capfdbinary) -> None:
    turns = iter(range(10))

    def sleep(_seconds: float) -> None:
        if next(turns) == 2:
            with DecisionLog(tmp_path / "run" / "decisions.jsonl") as log:
                log.record(decision="first")
        if next(turns) > 5:
            raise KeyboardInterrupt

    assert _tail.command([str(tmp_path / "run"), "-f"], sleep=sleep) == 130
    assert b"first" in capfdbinary.readouterr().out


def test_tail_begins_again_in_a_file_that_became_shorter(
    folder, run, capfdbinary
) -> None:
    path = folder / "decisions.jsonl"
    first = path.read_bytes().splitlines(keepends=True)[0]
    turns = iter(range(10))

    def sleep(_seconds: float) -> None:
        if next(turns):
            raise KeyboardInterrupt
        path.write_bytes(first)

    _tail.command([str(path), "-f", "--json"], sleep=sleep)
    lines = capfdbinary.readouterr().out.splitlines()
    assert len(lines) == 4
    assert json.loads(lines[3]) == json.loads(first)


def test_a_long_file_is_tailed_from_its_end(tmp_path, run) -> None:
    with DecisionLog(tmp_path / "decisions.jsonl") as log:
        for number in range(3_000):
            log.record(decision="x", number=number)
    _, out, _ = run("tail", tmp_path, "-n", "2", "--json")
    assert [json.loads(line)["number"] for line in out.splitlines()] == [2_998, 2_999]


def test_chrome_writes_what_viewers_read(folder, run, tmp_path) -> None:
    out = tmp_path / "out.json"
    code, _, err = run("chrome", folder, "-o", out)
    assert code == 0
    assert "5 spans" in err
    assert sum(event["ph"] == "X" for event in json.loads(out.read_text())) == 5
    _, told, _ = run("chrome", folder, "-o", out, "--json", "--limit", "2")
    assert json.loads(told)["spans"] == 2
    _, _, err = run("chrome", folder, "-o", out, "--limit", "4")
    assert "4 spans" in err
    assert "waybell chrome: the others are left out (--limit 4)\n" in err
    assert "left out" not in run("chrome", folder, "-o", out, "--limit", "5")[2]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    for name in ("traces.jsonl", "traces.starts.jsonl", "decisions.jsonl"):
        before = (folder / name).read_bytes()
        for command in ("chrome", "report"):
            code, _, err = run(command, folder, "-o", folder / name)
            assert code == 2
            assert f"{name} is read from: name another output" in err
        assert (folder / name).read_bytes() == before
    assert run("chrome", folder, "-o", tmp_path / "new" / "out.json")[0] == 0
    code, _, err = run("chrome", folder, "-o", out / "out.json")
    assert code == 2
    assert "out.json" in err


def test_the_usual_folder_is_found_without_a_word(folder, run, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    assert run("stats")[0] == 0
    (folder / "waybell-out").mkdir()
    (folder / "waybell-out" / "decisions.jsonl").write_bytes(
        (folder / "decisions.jsonl").read_bytes()
    )
    assert run("decisions")[0] == 0
    assert run("stats")[0] == 2


CALL = "import sys; from waybell_report._{0} import command; sys.exit(command(sys.argv[1:]))"


def test_a_reader_that_goes_away_is_no_traceback(tmp_path) -> None:
    with DecisionLog(tmp_path / "decisions.jsonl") as log:
        for _ in range(20_000):
            log.record(decision="x", why="y" * 100)
    words = [sys.executable, "-c", CALL.format("decisions"), str(tmp_path), "--all"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 141


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [(120, 0), (80, 3), (60, 5), (45, 6)],
)
def test_stats_leave_columns_out_before_they_cut_a_number(
    tmp_path, columns, left_out
) -> None:
    with Tracer(tmp_path / "traces.jsonl") as tracer:
        for n in range(12):
            with tracer.agent(f"archivist of the tower {n}"), tracer.llm("m") as span:
                span.record_usage(input_tokens=12_345, output_tokens=678, usd="1.2345")
    code = (
        "import sys; from waybell_report._stats import command; command(sys.argv[1:])"
    )
    words = [sys.executable, "-c", code, str(tmp_path), "--by", "agents"]
    env = {**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": str(columns)}
    out = subprocess.run(words, capture_output=True, text=True, check=True, env=env)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.stdout).splitlines()
    table = [line for line in lines if "archivist" in line]
    assert len(table) == 12
    assert not [line for line in table if "…" in line.split("  ", 1)[1]]
    assert all(line.endswith(" $1.2345 ") for line in table)
    assert max(map(len, table)) <= columns
    (heads,) = (line.split() for line in lines if "calls" in line and "cost" in line)
    every = ["calls", "failed", "open", "p50", "p90", "p99", "in", "out", "cost"]
    gone = ["p90", "open", "p50", "out", "in", "p99"][:left_out]
    assert [head for head in every if head not in gone] == heads[1:]
    said = [line for line in lines if "left out" in line]
    assert said == [f"{', '.join(gone)} left out: no room"] * bool(gone)


def test_colours_are_for_terminals_only(folder) -> None:
    main, side = os.openpty()
    words = [sys.executable, "-c", CALL.format("show"), str(folder)]
    shown = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    shown.pop("NO_COLOR", None)
    for stdout, coloured in ((side, True), (subprocess.PIPE, False)):
        done = subprocess.run(words, stdout=stdout, env=shown, check=True)
        out = os.read(main, 100_000) if stdout is side else done.stdout
        assert (b"\x1b[" in out) is coloured
    os.close(main)
    os.close(side)


@every
def test_a_pipe_is_refused_rather_than_waited_for(name: str, run, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    code, _, err = run(name, tmp_path / "pipe")
    assert code == 2
    assert "pipe" in err


@pytest.mark.parametrize("text", ["", "hello\n", '{"resourceSpans": [\n'])
def test_tail_of_no_records_says_so(text: str, run, tmp_path) -> None:
    (tmp_path / "traces.jsonl").write_text(text)
    code, out, err = run("tail", tmp_path)
    assert (code, out) == (2, "")
    assert "no span and no decision" in err
    assert ("1 line is" in err) == bool(text)


def test_times_that_no_calendar_has_are_shown(run, tmp_path) -> None:
    span = {
        "traceId": "a" * 32, "spanId": "b" * 16, "name": "far",
        "startTimeUnixNano": str(10**29), "endTimeUnixNano": str(10**29),
    }  # fmt: skip
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    (tmp_path / "traces.jsonl").write_text(f"{line}\n")
    code, out, _ = run("tail", tmp_path)
    assert code == 0
    assert "far" in out


def test_conditions_know_true_from_one_and_take_two_equals_signs() -> None:
    record = {"to": True, "n": 1, "x": [1]}
    assert not condition("to=1")(record)
    assert not condition("to>0")(record)
    assert condition("to=true")(record)
    assert condition("n=1.0")(record)
    assert condition("n==1")(record)
    assert not condition("n!=1")(record)
    assert looked_up(record, "x.--1") is None


def test_stats_print_the_worst_names_and_count_the_rest(folder, run) -> None:
    code, out, _ = run("stats", folder, "--by", "agents", "--limit", "1")
    assert code == 0
    assert "painter" in out
    assert "writer" not in out
    assert "... and 1 more agents (--limit 2)" in out
