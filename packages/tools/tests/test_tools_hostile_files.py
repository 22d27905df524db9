"""Files that are odd, that change meanwhile, and what a write may not bring about."""

import errno
import os
import resource
import threading
import time

import pytest

from waybell_tools import (
    ToolDenied,
    ToolRegistry,
    list_files,
    read_file,
    write_file,
)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "a.txt").write_text("abc")
    return folder


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("start", "text"),
    [(-5, "abc"), (-(10**30), "abc"), (1, "bc"), (3, ""), (4, ""), (2**63 - 1, ""), (10**30, "")],
)  # fmt: skip
def test_reading_starts_within_the_file_whatever_is_asked(root, start, text) -> None:
    assert read_file(root)("a.txt", start) == text


def test_a_part_is_never_too_small_for_a_character(root) -> None:
    for most in (0, -1, 3):
        with pytest.raises(ValueError, match="max_bytes must be"):
            read_file(root, max_bytes=most)
    (root / "wide").write_text("𝄞𝄞")
    assert read_file(root, max_bytes=4)("wide").startswith("𝄞\n[cut: 8 bytes, read on")


def test_a_new_text_does_not_inherit_the_rights_of_an_owner(root) -> None:
    (root / "a.txt").chmod(0o6755)
    write_file(root)("a.txt", "other")
    assert (root / "a.txt").stat().st_mode & 0o7777 == 0o755


def test_a_file_that_is_read_only_is_not_replaced(root) -> None:
    (root / "a.txt").chmod(0o444)
    with pytest.raises(ToolDenied, match="read-only"):
        write_file(root)("a.txt", "other")
    assert (root / "a.txt").read_text() == "abc"


def test_no_path_makes_thousands_of_folders(root) -> None:
    with pytest.raises(ToolDenied, match="longer than 4096") as caught:
        write_file(root)("d/" * 20_000 + "x", "x")
    assert len(str(caught.value)) < 300
    assert list_files(root)() == ["a.txt"]


@pytest.mark.parametrize("path", ["a\nb", "\x1b[2J", "d\r/x", "\x7f"], ids=ascii)
def test_no_name_with_control_characters_is_made(root, path) -> None:
    with pytest.raises(ToolDenied, match="control characters"):
        write_file(root)(path, "x")
    assert list_files(root)() == ["a.txt"]


@pytest.mark.parametrize("name", ["-rf", "é", "e\u0301", "全角\u3000空白", "A.TXT", "~", "$HOME", "*"])  # fmt: skip
def test_other_names_are_taken_as_they_are(root, name) -> None:
    write_file(root)(name, name)
    assert (root / name).read_text() == read_file(root)(name) == name
    assert (root / "a.txt").read_text() == "abc"


def test_names_that_are_no_unicode_can_be_told_to_a_model(root) -> None:
    (root / os.fsdecode(b"\xff\xfe")).touch()
    got = ToolRegistry([list_files(root)]).result({"name": "list_files"})
    assert got["text"].encode() == b'["a.txt", "??"]'


def test_a_root_that_became_a_link_leads_nowhere(root) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("outside")
    read, write, listed = read_file(root), write_file(root), list_files(root)
    root.rename(root.parent / "aside")
    root.symlink_to(outside)
    for call in (lambda: read("a.txt"), lambda: write("b", "x"), listed):
        with pytest.raises((ToolDenied, NotADirectoryError)):
            call()
    assert names(outside) == ["a.txt"]


def test_a_listing_goes_on_where_folders_go_meanwhile(root) -> None:
    done = threading.Event()
    inner = root / "many"
    inner.mkdir()

    def churn() -> None:
        while not done.is_set():
            (inner / "file").touch()
            (inner / "file").unlink()
            (inner / "folder" / "below").mkdir(parents=True)
            (inner / "folder" / "below").rmdir()
            (inner / "folder").rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3000):
            assert list_files(root)(recursive=True)[:2] == ["a.txt", "many/"]
    finally:
        done.set()
        thread.join()


def test_more_files_than_any_model_reads_are_counted_up_to_the_limit(root) -> None:
    for n in range(300):
        (root / f"{n:03}").touch()
    got = list_files(root, max_entries=250)()
    assert (len(got), got[-1]) == (251, "[cut: more than 250 entries]")
    assert len(list_files(root, max_entries=301)()) == 301


def test_a_disk_that_is_full_leaves_the_old_text_and_no_draft(root) -> None:
    """A limit on the size of files stands in for the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"a\.txt") as caught:
            write_file(root)("a.txt", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert names(root) == ["a.txt"]
    assert (root / "a.txt").read_text() == "abc"


def test_a_pipe_swapped_in_after_the_look_does_not_hang(root) -> None:
    """A thread swaps a file for a pipe and back, as fast as it can."""
    done, got = threading.Event(), set()

    def swap() -> None:
        while not done.is_set():
            os.mkfifo(root / "pipe")
            (root / "pipe").replace(root / "a.txt")
            (root / "new").write_text("abc")
            (root / "new").replace(root / "a.txt")

    thread = threading.Thread(target=swap)
    thread.start()
    end = time.monotonic() + 60
    try:
        for _ in range(2000):
            try:
                got.add(read_file(root)("a.txt"))
            except ToolDenied:
                got.add(None)
    finally:
        done.set()
        thread.join()
    assert time.monotonic() < end
    assert got <= {"abc", None}
