"""The file of lines: whole lines, sealed tails, full disks, closed files."""

import contextlib
import logging
import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from waybell_trace import _ids
from waybell_trace._writer import LineFile


LINE = b'{"a":1}\n'


def test_a_file_and_its_folders_are_made_for_the_owner_only(tmp_path):
    path = tmp_path / "a" / "b" / "lines.jsonl"
    LineFile(path, "line").write(LINE)
    assert path.read_bytes() == LINE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_bare_file_name_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LineFile("lines.jsonl", "line").write(LINE)
    assert (tmp_path / "lines.jsonl").read_bytes() == LINE


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path):
    with pytest.raises(IsADirectoryError):
        LineFile(tmp_path, "line")


@pytest.mark.parametrize("cut", range(len(LINE) * 2 + 1))
def test_a_tail_cut_at_any_byte_is_sealed_and_reported(tmp_path, cut, caplog):
    path = tmp_path / "lines.jsonl"
    path.write_bytes((LINE * 2)[:cut])
    file = LineFile(path, "line")
    file.write(LINE)
    torn = cut % len(LINE) != 0
    assert file.sealed is torn
    assert ("sealed it" in caplog.text) is torn
    lines = path.read_bytes().split(b"\n")
    assert lines[-2] == LINE.strip()
    assert len(lines) == cut // len(LINE) + torn + 2


def test_a_line_in_flight_is_not_taken_for_a_torn_tail(tmp_path, caplog):
    path = tmp_path / "lines.jsonl"
    other = LineFile(path, "line")
    done = threading.Event()

    def write():
        while not done.is_set():
            other.write(b"x" * 20_000 + b"\n")
            if path.stat().st_size > 30_000_000:
                os.truncate(path, 0)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        opened = [LineFile(path, "line") for _ in range(200)]
    finally:
        done.set()
        thread.join()
    assert not any(file.sealed for file in opened)
    assert "sealed" not in caplog.text


def test_a_full_disk_is_counted_and_warned_of_once(caplog):
    file = LineFile("/dev/full", "span")
    for _ in range(3):
        file.write(LINE)
    assert file.lost == 3
    assert [r.getMessage() for r in caplog.records] == [
        "span lost, not written to /dev/full: [Errno 28] No space left on device"
    ]


@pytest.fixture
def limited():
    """Sets how large a file may grow."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_write_cut_short_is_ended_and_written_again_when_there_is_room(
    tmp_path, limited, caplog
):
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "lines.jsonl"
    file = LineFile(path, "span")
    file.write(LINE)
    limited(len(LINE) + 3)
    file.write(b'{"b":2}\n')  # cut short, no room to write it again
    file.write(b'{"c":3}\n')  # no room at all
    limited(len(LINE) + 6)
    file.write(b'{"d":4}\n')  # cut short again
    assert file.lost == 3
    limited(resource.RLIM_INFINITY)
    file.write(b'{"e":5}\n')
    file.write(b'{"f":6}\n')
    assert file.lost == 3
    assert path.read_bytes() == b'{"a":1}\n{"b\n{"\n{"e":5}\n{"f":6}\n'


def test_a_tail_that_cannot_be_sealed_yet_is_sealed_by_the_next_line(tmp_path, limited):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a"')
    limited(4)
    file = LineFile(path, "span")
    limited(resource.RLIM_INFINITY)
    file.write(LINE)
    assert path.read_bytes() == b'{"a"\n' + LINE


def test_a_line_written_after_close_is_counted(tmp_path, caplog):
    path = tmp_path / "lines.jsonl"
    file = LineFile(path, "span")
    file.write(LINE)
    file.close()
    file.close()
    file.write(LINE)
    assert (file.lost, path.read_bytes()) == (1, LINE)
    assert "it is closed" in caplog.text


def test_a_closed_file_never_writes_into_the_file_opened_next(tmp_path):
    file = LineFile(tmp_path / "lines.jsonl", "span")
    file.close()
    with (tmp_path / "next").open("wb"):
        file.write(LINE)
    assert (tmp_path / "next").read_bytes() == b""


def test_a_file_is_closed_without_a_free_descriptor_too(tmp_path, caplog):
    path = tmp_path / "lines.jsonl"
    file = LineFile(path, "span")
    file.write(LINE)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(number.name) for number in Path("/proc/self/fd").iterdir())
    fillers = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, limits[1]))
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for filler in fillers:
            os.close(filler)
    file.close()
    file.write(LINE)
    assert (file.lost, path.read_bytes()) == (1, LINE)
    assert "it is closed" in caplog.text


def test_descriptors_are_given_back(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        LineFile(tmp_path / str(number), "span").close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_a_lock_held_at_a_fork_does_not_hang_the_child(tmp_path):
    file = LineFile(tmp_path / "lines.jsonl", "span")
    with file._lock:
        child = os.fork()
        if child == 0:
            logging.disable()
            file.lose("in the child")
            os._exit(file.lost)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_child_of_a_fork_counts_with_a_lock_of_its_own(tmp_path):
    file = LineFile(tmp_path / "lines.jsonl", "span")
    held = file._lock
    with held:
        _ids._forked()
        file.lose("by the child")
    assert (file.lost, file._lock is held) == (1, False)
