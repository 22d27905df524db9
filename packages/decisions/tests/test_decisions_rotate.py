import os
import threading

import pytest

from waybell_decisions import DecisionLog, LogWriteError
from waybell_decisions._writer import Writer, part_path, parts


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_part_ends_where_a_record_would_pass_the_limit(path):
    with DecisionLog(path, rotate_bytes=400) as log:
        for n in range(10):
            log.record(decision="x", n=n, text="y" * 50)
    sizes = [part.stat().st_size for _, part in parts(path)]
    assert len(sizes) > 2
    assert max(sizes) <= 400
    assert names(path)[-2:] == ["decisions.000004.jsonl", "decisions.jsonl"]
    assert [r["n"] for r in DecisionLog.read(path)] == list(range(10))
    assert [r["n"] for r in DecisionLog.read(path).tail(7)] == list(range(3, 10))


def test_a_record_bigger_than_the_limit_has_a_part_of_its_own(path):
    with DecisionLog(path, rotate_bytes=100) as log:
        for n in range(3):
            log.record(decision="x", n=n, text="y" * 500)
    assert len(names(path)) == 3
    assert [r["n"] for r in DecisionLog.read(path)] == [0, 1, 2]


def test_no_part_is_ever_renamed_or_changed(path):
    with DecisionLog(path, rotate_bytes=300) as log:
        log.record(decision="x", text="y" * 200)
        first, inode = path.read_bytes(), path.stat().st_ino
        log.record(decision="x", text="y" * 200)
    assert (path.read_bytes(), path.stat().st_ino) == (first, inode)


def test_a_log_opened_again_goes_on_in_the_last_part(path):
    for limit in (300, 300, None, 300):
        with DecisionLog(path, rotate_bytes=limit) as log:
            log.record(decision="x", text="y" * 100)
    assert len(names(path)) == 3
    seqs = [(r["seq"], r["pid"]) for r in DecisionLog.read(path)]
    assert seqs == [(1, os.getpid())] * 4


def test_old_parts_may_be_deleted(path):
    with DecisionLog(path, rotate_bytes=200) as log:
        for n in range(5):
            log.record(decision="x", n=n, text="y" * 100)
    path.unlink()
    part_path(path, 2).unlink()
    with DecisionLog(path, rotate_bytes=200) as log:
        log.record(decision="x", n=5, text="y" * 100)
    assert [r["n"] for r in DecisionLog.read(path)] == [1, 3, 4, 5]
    assert not path.exists()


def test_a_torn_record_in_a_part_that_is_moved_to_is_sealed(path):
    with DecisionLog(path, rotate_bytes=200) as log:
        log.record(decision="x", text="y" * 100)
        part_path(path, 1).write_bytes(b'{"v":1, "id":"torn')
        log.record(decision="x", text="y" * 10)
        (sealed,) = log.sealed
        assert (sealed.path, sealed.offset) == (str(part_path(path, 1)), 0)
    records = DecisionLog.read(path)
    assert records.count() == {"x": 2}
    assert records.torn == 1


def test_files_of_other_names_are_no_parts(path):
    with DecisionLog(path) as log:
        log.record(decision="x")
    for name in (
        "decisions.1.jsonl", "decisions.000001.jsonl.gz", "decisions.000001.json",
        "xdecisions.000001.jsonl", "decisions.000001x.jsonl", "decisionsx000001.jsonl",
    ):  # fmt: skip
        (path.parent / name).write_text('{"v":1, "id":"stranger"}\n')
    assert [number for number, _ in parts(path)] == [0]


def test_the_millionth_part_comes_after_the_one_before(tmp_path):
    path = tmp_path / "log"
    for number in (999_999, 1_000_000, 2):
        part_path(path, number).touch()
    assert [number for number, _ in parts(path)] == [2, 999_999, 1_000_000]


def test_threads_rotate_without_losing_a_record(path):
    barrier = threading.Barrier(6)
    with DecisionLog(path, rotate_bytes=2_000) as log:

        def write():
            barrier.wait()
            for _ in range(100):
                log.record(decision="x", text="y" * 100)

        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seqs = [record["seq"] for record in log.query()]
    assert sorted(seqs) == list(range(1, 601))


def test_a_record_under_way_when_the_log_is_closed_is_taken(path):
    writer = Writer(path, rotate_bytes=10)
    line = b'{"v":1, "id":"a"}\n'
    writer.record(line, "a")
    part = writer._part
    writer.close()
    assert writer._with_room(part, len(line)) is part
    with pytest.raises(LogWriteError):
        writer.record(line, "a")


def test_a_thread_that_comes_second_finds_the_part_already_there(path):
    writer = Writer(path, rotate_bytes=10)
    writer.record(b"0123456789\n", "a")
    before = writer._part
    writer.record(b"0123456789\n", "b")
    assert writer._with_room(before, 5) is writer._part
    assert len(parts(path)) == 2
