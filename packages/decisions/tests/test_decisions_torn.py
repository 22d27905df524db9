import errno
import fcntl
import logging
import os
import pickle
import threading

import pytest

from waybell_decisions import DecisionLog, LogWriteError, Sealed
from waybell_decisions._encode import MARK
from waybell_decisions._writer import Writer, backwards


def fill(path, n, **fields):
    with DecisionLog(path) as log:
        return [log.record(decision="x", n=i, **fields) for i in range(n)]


def test_a_file_cut_at_any_byte_keeps_all_whole_records(path, caplog):
    names = fill(path, 3, text="é{}", nested={"v": 1, "id": "x"})
    content = path.read_bytes()
    ends = [i + 1 for i in range(len(content)) if content[i : i + 1] == b"\n"]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        whole = sum(end <= cut + 1 for end in ends)  # but for its newline, it is whole
        records = DecisionLog.read(path)
        assert [r["id"] for r in records] == names[:whole]
        torn = cut not in {0, *ends, *(end - 1 for end in ends)}
        assert (records.torn, records.foreign) == (torn, 0)
        with DecisionLog(path) as log:
            start = max((end for end in ends if end <= cut), default=0)
            clean = cut in {0, *ends}
            expected = () if clean else (Sealed(str(path), start, cut - start),)
            assert log.sealed == expected
            after = log.record(decision="after")
        assert [r["id"] for r in records] == [*names[:whole], after]
        assert (records.torn, records.foreign) == (torn, 0)
        with DecisionLog(path) as log:
            assert log.sealed == ()


def test_sealing_is_told_once_in_the_log_of_the_program(path, caplog):
    path.write_bytes(b"whole\ntorn")
    with caplog.at_level(logging.WARNING, logger="waybell_decisions"):
        DecisionLog(path).close()
        DecisionLog(path).close()
    (told,) = caplog.records
    assert str(path) in told.getMessage()
    assert "at byte 6 a record torn at 4" in told.getMessage()


def test_a_torn_record_longer_than_a_block_is_measured(path):
    fill(path, 1)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(MARK + b"x" * 3_000_000)
    with DecisionLog(path) as log:
        assert log.sealed == (Sealed(str(path), size, 3_000_000 + len(MARK)),)


class Ahead:
    """An `os.write` before whose first call another process writes something."""

    def __init__(self, path, other):
        self.path, self.other = path, other

    def __call__(self, fd, data):
        if self.other:
            with self.path.open("ab") as file:
                file.write(self.other)
            self.other = b""
        return os.write(fd, data)


def test_a_record_in_flight_is_not_taken_for_a_torn_one(path, tmp_path, strict):
    names = fill(path, 2)
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    for cut in range(start + 1, len(content)):
        # What an opener sees while the other's write is not yet through.
        path.write_bytes(content[:cut])
        writer = Writer(path, write=Ahead(path, content[cut:]))
        assert writer.sealed == ()
        writer.close()
        records = DecisionLog.read(path)
        assert [r["id"] for r in records] == names
        assert records.torn == 0


def test_a_torn_record_that_another_process_writes_behind_is_told(path):
    names = fill(path, 2)
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    for cut in range(1, start - 1):
        path.write_bytes(content[:cut])
        writer = Writer(path, write=Ahead(path, content[start:]))
        assert writer.sealed == (Sealed(str(path), 0, cut),)
        writer.close()
        records = DecisionLog.read(path)
        assert [r["id"] for r in records] == names[1:]
        assert records.torn == 1


def test_a_record_behind_torn_ones_on_one_line_is_found(path):
    names = fill(path, 3)
    one, two, three = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(one[:40] + two[:-1] + three[:30] + three + b"garbage" + one)
    records = DecisionLog.read(path)
    assert [r["id"] for r in records] == [names[1], names[2], names[0]]
    assert (records.torn, records.foreign) == (2, 1)
    assert [r["id"] for r in records.tail(2)] == [names[2], names[0]]
    assert [r["id"] for r in records.tail(3)] == [names[1], names[2], names[0]]


def test_what_a_power_cut_leaves_hides_nothing(path):
    names = fill(path, 2)
    one, two = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(one + b"\0" * 64 + b"\n" + b"\0" * 9 + two + b"\0" * 20)
    records = DecisionLog.read(path)
    assert [r["id"] for r in records] == names
    assert (records.torn, records.foreign) == (2, 0)


def test_an_opener_that_never_ends_delays_another_but_does_not_stop_it(path):
    path.write_bytes(MARK)
    with path.open("rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        with DecisionLog(path) as log:
            assert log.sealed == (Sealed(str(path), 0, len(MARK)),)
            log.record(decision="x")
    assert DecisionLog.read(path).count() == {"x": 1}


def test_an_open_log_holds_no_lock(path):
    path.write_bytes(MARK)
    with DecisionLog(path) as log, path.open("rb") as other:
        assert log.sealed
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        log.record(decision="x")


def test_many_openers_seal_once_and_leave_no_empty_line(path):
    path.write_bytes(MARK)
    barrier = threading.Barrier(8)
    logs = []

    def start():
        barrier.wait()
        logs.append(DecisionLog(path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(log.sealed) for log in logs) == 1
    assert path.read_bytes() == MARK + b"\n"


class Failing:
    """An `os.write` that goes by a script: a count of bytes, or an errno to raise."""

    def __init__(self):
        self.script = []

    def __call__(self, fd, data):
        if not self.script:
            return os.write(fd, data)
        step = self.script.pop(0)
        if isinstance(step, OSError):
            raise step
        return os.write(fd, data[:step])


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_record_cut_short_is_written_again_on_its_own_line(path):
    write = Failing()
    writer = Writer(path, write=write)
    line = MARK + b'a"}\n'
    write.script = [5]
    assert writer.record(line, "a") == "a"
    assert path.read_bytes() == line[:5] + b"\n" + line
    assert [r["id"] for r in DecisionLog.read(path)] == ["a"]


@pytest.mark.parametrize("script", [[5, FULL], [5, 3], [5, 0]])
def test_a_record_that_stays_cut_short_is_an_error_and_spoils_no_other(path, script):
    write = Failing()
    writer = Writer(path, write=write)
    write.script = list(script)
    with pytest.raises(LogWriteError) as caught:
        writer.record(MARK + b'a"}\n', "a")
    assert caught.value.errno in {errno.ENOSPC, errno.EIO}
    assert caught.value.path == str(path)
    write.script = [FULL]
    with pytest.raises(LogWriteError):
        writer.record(MARK + b'b"}\n', "b")
    writer.record(MARK + b'c"}\n', "c")
    writer.record(MARK + b'd"}\n', "d")
    records = DecisionLog.read(path)
    assert [r["id"] for r in records] == ["c", "d"]
    assert records.torn >= 1
    assert MARK + b'c"}' in path.read_bytes().splitlines()
    assert b"\n\n" not in path.read_bytes()


def test_an_error_that_has_no_number_gets_one(path):
    write = Failing()
    writer = Writer(path, write=write)
    write.script = [OSError("odd")]
    with pytest.raises(LogWriteError, match="odd") as caught:
        writer.record(b"x\n", "x")
    assert caught.value.errno == errno.EIO


def test_a_torn_record_that_cannot_be_sealed_is_an_error(path):
    path.write_bytes(MARK)
    write = Failing()
    write.script = [FULL]
    with pytest.raises(LogWriteError) as caught:
        Writer(path, write=write)
    assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, str(path))


def test_the_error_survives_pickling(path):
    before = LogWriteError(errno.ENOSPC, "full", str(path))
    after = pickle.loads(pickle.dumps(before))
    assert (type(after), after.errno, after.path) == (
        LogWriteError, errno.ENOSPC, str(path)
    )  # fmt: skip
    assert isinstance(after, OSError)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_lines_are_found_backwards_wherever_blocks_end(path, size, end):
    content = b"a\n" + b"b" * size + b"\n" + b"c" * size + end
    path.write_bytes(content)
    assert list(backwards(path)) == content.split(b"\n")[::-1]
