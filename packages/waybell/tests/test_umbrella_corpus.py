import os
from pathlib import Path

import pytest

from waybell._desk._corpus import CorpusError, default_corpus, read_corpus
from waybell_decisions import DecisionLog
from waybell_report import report
from waybell_scheduler import Task, run
from waybell_trace import Tracer


ROOT = Path(__file__).parents[3]
CHECKOUT = (ROOT / "pyproject.toml").exists()


def cut(tmp_path: Path, name: str, text: str) -> list[tuple[int, int, str]]:
    (tmp_path / name).write_bytes(text.encode())
    corpus = read_corpus(tmp_path / name)
    return [(each.start, each.end, each.title) for each in corpus.passages]


WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen"


def test_a_page_is_cut_at_its_headings_which_title_the_passages(
    tmp_path: Path,
) -> None:
    text = f"# Top\n\n{WORDS}\n\n## First\n{WORDS}\n\n## Second\n{WORDS}\n"
    assert cut(tmp_path, "a.md", text) == [
        (1, 3, "Top"),
        (5, 6, "Top > First"),
        (8, 9, "Top > Second"),
    ]


def test_a_source_is_cut_at_its_classes_and_functions(tmp_path: Path) -> None:
    text = (
        f'"""{WORDS}"""\n\n\nclass Box:\n    """{WORDS}"""\n\n'
        f'    @property\n    def lid(self):\n        """{WORDS}"""\n\n\n'
        f"# about it\nasync def shut():\n    return '{WORDS}'\n"
    )
    assert cut(tmp_path, "a.py", text) == [
        (1, 1, ""),
        (4, 5, "Box"),
        (7, 9, "Box > lid"),
        (12, 14, "shut"),
    ]


def test_a_comment_in_a_source_is_no_heading(tmp_path: Path) -> None:
    assert cut(tmp_path, "a.py", f"x = 1\n# {WORDS}\ny = 2\n") == [(1, 3, "")]


def test_a_fence_is_never_cut(tmp_path: Path) -> None:
    inside = "\n\n".join(["# no heading", *["x = 1"] * 30])
    text = f"# Top\n\n```python\n{inside}\n```\n"
    assert cut(tmp_path, "a.md", text) == [(1, 65, "Top")]


def test_a_fence_that_never_ends_is_cut_by_length(tmp_path: Path) -> None:
    spans = cut(tmp_path, "a.md", "```\n" + "a line of it\n" * 200)
    assert [start for start, _, _ in spans] == [1, 73, 145]


def test_what_is_too_short_goes_with_what_follows(tmp_path: Path) -> None:
    text = f"# Title\n\nShort.\n\n## Next\n\n{WORDS}\n"
    assert cut(tmp_path, "a.md", text) == [(1, 7, "Title > Next")]


def test_a_passage_is_called_by_the_heading_it_begins_under(tmp_path: Path) -> None:
    text = f"# Dues\nPay by May.\n\n# Other\n{WORDS}\n"
    assert cut(tmp_path, "a.md", text) == [(1, 5, "Dues")]
    text = f"# Top\n\n## First\nShort.\n\n## Second\n{WORDS}\n"
    assert cut(tmp_path, "a.md", text) == [(1, 7, "Top > First")]
    text = f"Hello.\n\n# Due\nShort.\n\n# Dues\n{WORDS}\n"
    assert cut(tmp_path, "a.md", text) == [(1, 7, "Due")]


def test_a_long_list_is_cut_at_its_items(tmp_path: Path) -> None:
    text = "# List\n" + "".join(f"{n}. {WORDS}\n" for n in range(1, 9))
    assert cut(tmp_path, "a.md", text) == [(1, 5, "List"), (6, 9, "List")]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_end_in_any_way(tmp_path: Path, end: str) -> None:
    text = end.join(["# Top", "", WORDS, "", "## Next", WORDS])
    assert cut(tmp_path, "a.md", text) == [(1, 3, "Top"), (5, 6, "Top > Next")]


def test_a_form_feed_is_no_end_of_a_line(tmp_path: Path) -> None:
    assert cut(tmp_path, "a.txt", f"{WORDS}\f{WORDS}\u2028x\n") == [(1, 1, "")]


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"\xef\xbb\xbf# Top\n")
    assert read_corpus(tmp_path).passages[0].text == "# Top"


def test_a_very_long_line_is_cut_in_pieces(tmp_path: Path) -> None:
    text = "word " * 5_000
    spans = cut(tmp_path, "a.txt", text)
    assert len(spans) == 7
    assert {(start, end) for start, end, _ in spans} == {(1, 1)}


def test_no_text_is_lost(tmp_path: Path) -> None:
    lines = [f"line {n} {'#' * (n % 9)} {'def' * (n % 5)} x" for n in range(300)]
    (tmp_path / "a.py").write_text("\n".join(lines))
    found = "\n".join(each.text for each in read_corpus(tmp_path).passages)
    assert [line for line in lines if line.strip() not in found] == []


def test_what_cannot_be_read_is_skipped_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("some text")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    (tmp_path / "huge.txt").write_bytes(b"x" * 1_000_001)
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    corpus = read_corpus(tmp_path)
    assert corpus.files == 1
    assert corpus.skipped == {
        "huge.txt": "larger than 1,000,000 bytes",
        "image.png": "binary",
        "latin.txt": "not UTF-8 text",
        "loop": "not a regular file",
        "pipe": "not a regular file",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("some text")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.txt").chmod(0)
    assert read_corpus(tmp_path).skipped == {"secret.txt": "Permission denied"}


def test_a_file_of_the_system_that_cannot_be_read_is_an_outcome() -> None:
    secret = Path("/proc/self/mem")
    if not secret.exists():
        pytest.skip("there is no /proc here")
    with pytest.raises(CorpusError, match=r"no text to read \(mem: "):
        read_corpus(secret)


def test_folders_that_link_in_a_circle_are_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("some text")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert read_corpus(tmp_path).files == 1


def test_what_a_run_has_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text(WORDS)
    (tmp_path / "data.jsonl").write_text(f'{{"text": "{WORDS}"}}\n')
    (tmp_path / "site.html").write_text(f"<!doctype html><p>{WORDS}</p>")
    out = tmp_path / "waybell-out"
    with (
        Tracer(tmp_path / "mine.jsonl") as tracer,
        DecisionLog(tmp_path / "log.jsonl") as log,
        tracer.span("a"),
    ):
        log.record(decision="route", to="b")
    run([Task("a", run=lambda: WORDS)], journal=tmp_path / "run.jsonl")
    report([tmp_path / "mine.jsonl", tmp_path / "log.jsonl"], tmp_path / "page.html")
    out.mkdir()
    (out / "results.md").write_text(WORDS)
    corpus = read_corpus(tmp_path)
    read = {each.path for each in corpus.passages}
    assert read == {"notes.md", "data.jsonl", "site.html"}
    names = {"mine.jsonl", "mine.starts.jsonl", "log.jsonl", "run.jsonl", "page.html"}
    assert corpus.skipped == dict.fromkeys(names, "written by a run of Waybell")


def test_hidden_and_built_folders_are_left_out(tmp_path: Path) -> None:
    for name in (".git", "node_modules", "__pycache__", "src"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("some text")
    assert [each.path for each in read_corpus(tmp_path).passages] == ["src/x.txt"]


@pytest.mark.parametrize("nothing", ["missing", "empty", "blank.txt"])
def test_nothing_to_read_is_said(tmp_path: Path, nothing: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text(" \n\n")
    with pytest.raises(CorpusError, match=nothing):
        read_corpus(tmp_path / nothing)


def test_a_folder_without_end_is_read_in_part(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("some text")
    corpus = read_corpus(tmp_path, most=3)
    assert corpus.files == 3
    assert corpus.skipped == {"3.txt": "and all after it: the folder is too large"}


@pytest.mark.skipif(not CHECKOUT, reason="not in a checkout")
def test_the_default_is_the_checkout_without_its_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT / "packages")
    corpus = default_corpus()
    paths = {each.path for each in corpus.passages}
    assert corpus.root == ROOT
    assert {"README.md", "packages/bus/README.md"} <= paths
    assert not any("/tests/" in path for path in paths)
