"""`waybell demo` in this process: what it prints and returns."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from waybell._demo import command
from waybell._desk._check import labels
from waybell._desk._corpus import default_corpus
from waybell_adapters import OfflineAdapter, Reply
from waybell_decisions import DecisionLog
from waybell_trace import read_traces


ROOT = Path(__file__).parents[3]
in_checkout = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="not in a checkout"
)
NOTES = """# Server

The server listens on port 8080. It reads its settings from a file.

# Client

The client retries three times. It gives up after a minute.
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "notes.md").write_text(NOTES)
    return folder


class Demo:
    """Runs the command with an output folder of its own."""

    def __init__(self, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.out, self.capsys = out, capsys
        self.said = self.err = ""

    def __call__(self, *words: object, **setting: Any) -> int:
        argv = ["--out", str(self.out), *map(str, words)]
        code = command(argv, **setting)
        self.said, self.err = self.capsys.readouterr()
        return code


@pytest.fixture
def demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Demo:
    return Demo(tmp_path / "out", capsys)


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    path = tmp_path / "rates.toml"
    path.write_text('model = "large-1"\ninput = 3\noutput = "15"\n')
    return path


def test_the_answer_stands_with_its_source(demo: Demo, notes: Path) -> None:
    assert demo(notes, "--ask", "Which port does the server listen on?") == 0
    assert "The server listens on port 8080. [1]" in demo.said
    assert "[1] notes.md:1-3  Server" in demo.said
    assert "Review         approved (by the stated rules)\n" in demo.said


@pytest.mark.parametrize(
    ("asked", "lacking"),
    [
        ("Which database does the server use?", "'database'"),
        ("What colour has the client?", "'colour'"),
    ],
)
def test_files_that_do_not_answer_are_said_not_to(
    demo: Demo, notes: Path, asked: str, lacking: str
) -> None:
    assert demo(notes, "--ask", asked) == 1
    said = " ".join(demo.said.split())
    assert "This file does not seem to answer it. What comes nearest:" in said
    assert f"Review doubtful no source says {lacking}" in said
    assert "approved" not in said
    doubts = list(DecisionLog.read(demo.out / "decisions.jsonl").query("doubt"))
    assert [each["question"] for each in doubts] == [asked]


def test_a_word_in_four_may_be_missing(demo: Demo, notes: Path) -> None:
    asked = "Which port does the server listen on, please?"
    assert demo(notes, "--ask", asked) == 0
    assert "approved" in demo.said


def test_a_model_that_understands_is_not_doubted_by_words(
    demo: Demo, notes: Path
) -> None:
    class Understands:
        def generate(self, prompt: Any, **_: Any) -> Reply:
            said = "It listens on port 8080. [1]"
            if not prompt.startswith("Explain"):
                said = '{"label": "explain", "confidence": 1, "approved": true}'
            return Reply(said, cost=0, model="understands")

    asked = ("--ask", "Which socket is bound?")
    assert demo(notes, *asked, build=lambda _: Understands()) == 0
    assert "approved" in demo.said


def test_the_table_has_each_agent_once_and_says_that_it_was_free(
    demo: Demo, notes: Path
) -> None:
    demo(notes, "--ask", "Which port does the server listen on?")
    table = demo.said[demo.said.index("Calls") :]
    for agent in ("classifier", "writer", "reviewer", "retrieve:bm25"):
        assert table.count(f" {agent} ") == 1
    rows = table[: table.index("Budget")]
    assert rows.count("\n ") == 8  # a rule, six agents, a blank line
    assert "free" in table
    assert "agent:" not in table
    assert "$0.00 spent, $0.00 held, cap $0.50 (free: the model runs offline)" in table


def test_a_narrow_terminal_has_every_agent_whole_and_no_times(
    demo: Demo, notes: Path, rates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    demo(notes, "--rates", rates)
    table = demo.said[demo.said.index("Calls") :].partition("Budget")[0]
    assert " retrieve:trigram " in table
    assert "…" not in table
    assert "p50" not in table


def test_the_files_are_named_and_whole(demo: Demo, notes: Path) -> None:
    demo(notes)
    traces, decisions = demo.out / "traces.jsonl", demo.out / "decisions.jsonl"
    assert str(traces) in demo.said
    assert str(decisions) in demo.said
    read = read_traces(traces)
    assert (read.foreign, read.torn, read.unfinished) == (0, 0, [])
    assert DecisionLog.read(decisions).count()["route"] == 1


def test_files_of_an_earlier_run_are_kept(demo: Demo, notes: Path) -> None:
    for _ in range(3):
        demo(notes)
    runs = [demo.out / "earlier-1", demo.out / "earlier-2", demo.out]
    for run in runs:
        assert DecisionLog.read(run / "decisions.jsonl").count()["route"] == 1
    ids = {read_traces(run / "traces.jsonl").spans[0].trace_id for run in runs}
    assert len(ids) == 3


def test_without_a_terminal_progress_is_one_plain_line_per_event(
    demo: Demo, notes: Path
) -> None:
    demo(notes, "--seed", "1")
    assert "  ask     classifier\n" in demo.said
    assert "  answer  retrieve:bm25 " in demo.said
    assert "  failed  retrieve:trigram " in demo.said
    assert " ms  failed on purpose (--seed 1 decides)\n" in demo.said
    assert "\x1b" not in demo.said


def test_a_folder_is_summed_up_when_nothing_is_asked(demo: Demo, notes: Path) -> None:
    assert demo(notes) == 0
    assert "Question type  overview" in demo.said
    assert "notes.md" in demo.said


def test_an_overview_quotes_each_of_the_first_few_files(
    demo: Demo, notes: Path
) -> None:
    (notes / "a.md").write_text("# Bells\n\nThe bell rings at noon.\n")
    (notes / "b.txt").write_text("The garden needs water each day.\n")
    assert demo(notes) == 0
    sources = demo.said.partition("\nSources\n")[2]
    for name in ("notes.md", "a.md", "b.txt"):
        assert f"] {name}:" in sources


def test_one_file_will_do(demo: Demo, notes: Path) -> None:
    assert demo(notes / "notes.md", "--ask", "How often does the client retry?") == 0
    assert "The client retries three times. [1]" in demo.said


def test_what_is_skipped_is_said(demo: Demo, notes: Path) -> None:
    for number in range(5):
        (notes / f"{number}.bin").write_bytes(b"\0")
    demo(notes)
    said = " ".join(demo.said.split())
    assert "5 files (0.bin: binary; 1.bin: binary; 2.bin: binary; and 2 more)" in said


def test_what_is_not_there_is_not_answered(demo: Demo, notes: Path) -> None:
    (notes / "other.md").write_text("The bell rings at noon.\n")
    assert demo(notes, "--ask", "Who painted the xylophone?") == 1
    assert "Nothing in these 2 files answers it." in demo.said
    assert "Review         not needed\n" in demo.said
    assert "(free: the model runs offline)" in demo.said
    assert "Sources" not in demo.said
    assert "editor" not in demo.said
    assert "reviewer" not in demo.said


def test_a_text_cannot_steer_the_terminal(demo: Demo, notes: Path) -> None:
    (notes / "bad\x1b[31m.md").write_text("The port\x1b[2J of the moon is 99.\n")
    demo(notes, "--ask", "Which port has the moon?")
    assert "of the moon is 99." in demo.said
    assert "\x1b" not in demo.said


def test_rates_price_the_tokens_as_if_another_model_had_run(
    demo: Demo, notes: Path, rates: Path
) -> None:
    assert demo(notes, "--rates", rates) == 0
    usage = read_traces(demo.out / "traces.jsonl").usage()
    expected = 3 * (usage.input_tokens or 0) + 15 * (usage.output_tokens or 0)
    assert usage.nano_usd == expected * 1000
    assert f"${usage.usd} spent" in demo.said
    assert "(as if large-1 had run)" in demo.said
    assert "free" not in demo.said


def test_the_budget_binds_at_the_first_stage(
    demo: Demo, notes: Path, rates: Path
) -> None:
    assert demo(notes, "--rates", rates, "--budget", "0.001") == 1
    assert "Too expensive at classify: $0.000" in demo.said
    assert "of its part of the budget" in " ".join(demo.said.split())
    assert "Traceback" not in demo.said + demo.err


def test_a_budget_of_nothing_pays_for_a_free_model_only(
    demo: Demo, notes: Path, rates: Path
) -> None:
    asked = (notes, "--ask", "Which port does the server listen on?")
    assert demo(*asked, "--budget", "0") == 0
    assert demo(*asked, "--budget", "0", "--rates", rates) == 1
    assert "Too expensive at classify: " in demo.said


def test_a_draft_that_broke_the_budget_is_shown_with_its_sources(
    demo: Demo, notes: Path
) -> None:
    class Dear(OfflineAdapter):
        __slots__ = ()

        def generate(self, prompt: Any, **options: Any) -> Reply:
            if prompt.startswith("Explain"):
                return Reply("It listens. [1]", cost=Decimal("0.3"), model="dear")
            return super().generate(prompt, **options)

    asked = ("--ask", "What is the port of the server?")
    assert demo(notes, *asked, build=lambda _: Dear()) == 1
    assert "The stage draft failed: $0.3 asked, $0.2" in demo.said
    assert "Never ran: review." in demo.said
    assert "Draft, paid for but not reviewed\n  It listens. [1]" in demo.said
    assert "[1] notes.md:1-3" in demo.said
    assert "$0.30 spent" in demo.said


def test_the_sources_are_numbered_as_the_answer_cites_them(
    demo: Demo, notes: Path
) -> None:
    class Skips(OfflineAdapter):
        __slots__ = ()

        def generate(self, prompt: Any, **options: Any) -> Reply:
            if prompt.startswith("Explain"):
                return Reply("It gives up after a minute. [2]", cost=0, model="skips")
            if prompt.startswith("Review"):
                return Reply('{"approved": true}', cost=0, model="skips")
            return super().generate(prompt, **options)

    asked = ("--ask", "What happens when the server or the client fails?")
    assert demo(notes, *asked, build=lambda _: Skips()) == 0
    assert "It gives up after a minute. [1]" in demo.said
    assert "Sources\n  [1] notes.md" in demo.said
    assert "a minute. [2]" in (demo.out / "decisions.jsonl").read_text()


def test_a_deadline_that_passes_says_where(demo: Demo, notes: Path) -> None:
    assert demo(notes, "--deadline", "0.000001") == 1
    assert "The deadline of 1e-06 s passed" in demo.said


def test_the_fault_on_purpose_is_not_what_a_deadline_ended(
    demo: Demo, notes: Path
) -> None:
    class Hangs(OfflineAdapter):
        __slots__ = ()

        async def agenerate(self, prompt: Any, **options: Any) -> Reply:
            if prompt.startswith("Classify"):
                return self.generate(prompt, **options)
            return await asyncio.get_running_loop().create_future()

    demo(notes, "--deadline", "0.5", build=lambda _: Hangs())
    failed = demo.said.partition("Not answered")[2]
    assert "deadline of 0.5 s passed" in failed
    assert "trigram" not in failed.partition("Agent")[0]


def test_a_model_that_fails_is_an_outcome(demo: Demo, notes: Path) -> None:
    class Down(OfflineAdapter):
        __slots__ = ()

        def generate(self, prompt: Any, **_: Any) -> Reply:
            raise ConnectionError("the model is down")

    assert demo(notes, build=lambda _: Down()) == 1
    assert "ConnectionError at classify: the model is down" in demo.said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/no/such/folder"], "/no/such/folder: No such file or directory"),
        (["--model", "oflin"], "did you mean 'offline'?"),
        (["--budget", "much"], "--budget: usd must be an amount"),
        (["--budget", "-1"], "--budget"),
        (["--deadline", "0"], "'0' is no number of seconds above 0"),
        (["--deadline", "soon"], "'soon' is no number"),
        (["--ask", " "], "the question is empty"),
        (["--ask", "x", "--check"], "not allowed with"),
        (["--seed", "x"], "invalid int"),
        (["--out", __file__], "is not a folder"),
        (["--out", "/proc/waybell"], "--out: /proc/waybell"),
        (["--rates", "/no/such/file"], "--rates: /no/such/file: No such file"),
        (["--rates", __file__], "as TOML or JSON"),
        (["http://example.com"], "demo: http://example.com: No such file"),
        (["/no/such/folder", "--out", __file__], f"--out: {__file__} is not a folder"),
    ],
)
def test_wrong_words_are_named_and_nothing_runs(
    demo: Demo, notes: Path, words: list[str], said: str
) -> None:
    place = [] if "/" in words[0] else [notes]
    assert demo(*place, *words) == 2
    assert said in demo.err
    assert "Traceback" not in demo.err
    assert not demo.out.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"model": "m"}',
        '{"model": "m", "input": 1, "output": -1}',
        '{"model": "m", "input": 1, "output": 2, "colour": 3}',
        '{"model": "m", "input": true, "output": NaN}',
        "[1]",
        "\x00",
        "",
    ],
)
def test_bad_rates_are_refused(demo: Demo, notes: Path, rates: Path, text: str) -> None:
    rates.write_text(text)
    assert demo(notes, "--rates", rates) == 2
    assert "output in US dollars per million tokens" in demo.err


def test_what_the_rates_lack_is_named(demo: Demo, notes: Path, rates: Path) -> None:
    rates.write_text('model = "m"\ninput = 3\n')
    assert demo(notes, "--rates", rates) == 2
    assert f"--rates: {rates}: 'output' is missing" in demo.err


def test_a_call_that_was_cut_off_is_not_called_free(demo: Demo, notes: Path) -> None:
    class Hangs(OfflineAdapter):
        __slots__ = ()

        async def agenerate(self, prompt: Any, **_: Any) -> Reply:
            return await asyncio.get_running_loop().create_future()

    assert demo(notes, "--deadline", "0.01", build=lambda _: Hangs()) == 1
    said = " ".join(demo.said.split())
    assert "The deadline of 0.01 s passed at classify." in said
    assert "1 call of unknown cost)" in said
    assert "free" not in demo.said


@pytest.mark.parametrize("content", [None, b"\0\1"])
def test_nothing_to_read_is_an_outcome(
    demo: Demo, tmp_path: Path, content: bytes | None
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        (folder / "x.bin").write_bytes(content)
    assert demo(folder) == 2
    assert "no text to read" in demo.err


def test_help_has_the_exit_codes(demo: Demo) -> None:
    assert demo("--help") == 0
    assert "exit codes: 0 answered" in demo.said
    assert "traces.starts.jsonl" in demo.said
    assert "OUT/earlier-1" in demo.said


@in_checkout
def test_the_default_question_shows_a_fault_and_is_answered(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert demo() == 0
    said = " ".join(demo.said.split())
    why = "failed on purpose (--seed 1 decides), the quorum of 2 was reached"
    assert f"bm25, outline answered; trigram: {why}" in said
    assert (
        "Answer `async with deadline:` is a wall: awaits inside are cancelled" in said
    )
    assert "and the block raises `DeadlineExceeded`. [1]" in said
    assert "\n  [1] packages/deadline/src/waybell_deadline/_deadline.py:" in demo.said


@pytest.fixture
def right(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of the shipped questions are answered from the right passage."""
    monkeypatch.chdir(ROOT)
    demo("--check")
    count, of, total = demo.said.splitlines()[-1].split()[:3]
    assert (of, total) == ("of", "30")
    return int(count)


@in_checkout
def test_at_least_27_of_30_answers_cite_the_right_passage(right: int) -> None:
    assert right >= 27


@in_checkout
def test_every_label_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    passages = default_corpus().passages
    for label in labels():
        for place in label.places:
            one = label._replace(places=[place])
            assert any(map(one.right, passages)), (label.question, place)


def test_a_check_below_27_fails_and_names_each_miss(demo: Demo, notes: Path) -> None:
    (notes / "CONTRIBUTING.md").write_text("# Contributing\n\nNobody can.\n")
    assert demo(notes, "--check") == 1
    assert demo.said.count("missed  ") == 30
    assert "\n      or packages/" in demo.said
    assert not [line for line in demo.said.splitlines() if line.count("packages/") > 1]
    assert "0 of 30 answers cite the right passage" in demo.said


def test_a_check_of_anything_else_is_refused(demo: Demo, notes: Path) -> None:
    assert demo(notes, "--check") == 2
    assert "--check asks about Waybell's own docs" in demo.err


def test_a_check_counts_an_error_as_a_miss(demo: Demo, notes: Path) -> None:
    class Down(OfflineAdapter):
        __slots__ = ()

        def generate(self, prompt: Any, **_: Any) -> Reply:
            raise ConnectionError("the model is down")

    (notes / "CONTRIBUTING.md").write_text("# Contributing\n\nNobody can.\n")
    assert demo(notes, "--check", build=lambda _: Down()) == 1
    assert "cites ConnectionError: the model is down" in demo.said
