"""What dies, is cut off, is full or is shared: nothing acknowledged may be missing."""

import errno
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import threading

import pytest

from waybell_decisions import DecisionLog, LogWriteError


# Forking beside threads is what is tried here; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
KILLS = int(os.environ.get("WAYBELL_KILLS", "20"))


def in_a_child(work, *args):
    """Run `work` in a forked process and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work(*args)
        code = 0
    finally:
        os._exit(code)


def ended_well(pid):
    return os.waitpid(pid, 0)[1] == 0


def write_and_tell(path, pipe, seed):
    """Write for ever; after each `record`, tell the id's number through the pipe."""
    rng = random.Random(seed)
    log = DecisionLog(path)
    prefix = log._writer.stamp[0]
    os.write(pipe, prefix.encode())
    while True:
        name = log.record(decision="x", text="é" * rng.choice([1, 500, 40_000]))
        os.write(pipe, struct.pack("<q", int(name.removeprefix(prefix))))


def killed_at_random(path, seed):
    """Return the ids that a process acknowledged before it was killed."""
    reading, writing = os.pipe()
    pid = in_a_child(write_and_tell, path, writing, seed)
    os.close(writing)
    told, enough = b"", random.Random(seed).randrange(13, 3_000)
    while len(told) < enough:
        told += os.read(reading, 4096)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(reading, 65536):
        told += more
    os.close(reading)
    prefix, numbers = told[:13].decode(), told[13:]
    whole = len(numbers) // 8
    return {f"{prefix}{n}" for n in struct.unpack(f"<{whole}q", numbers[: whole * 8])}


@pytest.mark.soak
@pytest.mark.timeout(60 + KILLS)
def test_no_record_is_lost_when_its_process_is_killed(path):
    for seed in range(KILLS):
        acknowledged = killed_at_random(path, seed)
        size = path.stat().st_size
        torn = path.read_bytes()[-1:] != b"\n"
        with DecisionLog(path) as log:
            assert len(log.sealed) == torn
            if torn:
                assert log.sealed[0].offset + log.sealed[0].size == size
            log.record(decision="next")
        records = DecisionLog.read(path)
        assert acknowledged <= {record["id"] for record in records}
        assert records.torn <= torn
        path.unlink()


@pytest.mark.soak
def test_a_record_that_is_written_while_a_log_is_opened_is_not_taken_for_torn(path):
    reading, writing = os.pipe()

    def write():
        log = DecisionLog(path)
        os.write(writing, b"x")
        for _ in range(60):
            log.record(decision="big", text="x" * 3_000_000)

    pid = in_a_child(write)
    os.read(reading, 1)
    opened = 0
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        with DecisionLog(path) as log:
            opened += 1
            assert log.sealed == ()
            log.record(decision="small")
    os.close(reading)
    os.close(writing)
    records = DecisionLog.read(path)
    assert b"\n\n" not in path.read_bytes()
    assert records.count()["big"] == 60
    assert records.count()["small"] == opened
    assert records.torn == records.foreign == 0


def test_a_live_process_keeps_its_records_where_another_was_killed_in_between(path):
    with DecisionLog(path) as alive:
        alive.record(decision="before")
        with path.open("ab") as killed:  # died within its write
            killed.write(path.read_bytes()[:70])
        alive.record(decision="after")
        with DecisionLog(path) as opened:
            assert opened.sealed == ()
    records = DecisionLog.read(path)
    assert [r["decision"] for r in records] == ["before", "after"]
    assert records.torn == 1


def test_four_processes_share_one_file(path, strict):
    def write(name):
        with DecisionLog(path) as log:
            for n in range(250):
                log.record(decision=name, n=n, text=name * 3000)

    assert all([ended_well(pid) for pid in [in_a_child(write, c) for c in "abcd"]])  # noqa: C419 - wait for all
    records = strict(path)
    assert len({record["id"] for record in records}) == 1000
    for name in "abcd":
        mine = [record["n"] for record in records if record["decision"] == name]
        assert mine == list(range(250))


def test_four_processes_rotate_together(path):
    def write(name):
        with DecisionLog(path, rotate_bytes=20_000) as log:
            for n in range(250):
                log.record(decision=name, n=n, text="x" * 100)

    assert all([ended_well(pid) for pid in [in_a_child(write, c) for c in "abcd"]])  # noqa: C419 - wait for all
    records = list(DecisionLog.read(path))
    assert len({record["id"] for record in records}) == 1000
    sizes = [part.stat().st_size for part in path.parent.iterdir()]
    assert len(sizes) > 5
    assert max(sizes) < 20_000 + 4 * 300


def test_the_child_of_a_fork_has_its_own_pid_numbers_and_ids(path, strict):
    with DecisionLog(path) as log:
        bound = log.bind(a=1)
        log.record(decision="parent")
        bound.record(decision="parent")
        child = in_a_child(
            lambda: [log.record(decision="c"), bound.record(decision="c")]
        )
        assert ended_well(child)
        log.record(decision="parent")
    records = strict(path)
    assert [r["seq"] for r in records if r["pid"] == child] == [1, 2]
    assert [r["seq"] for r in records if r["pid"] == os.getpid()] == [1, 2, 3]
    assert len({r["id"] for r in records}) == 5


def test_a_fork_amid_the_writing_of_threads_hangs_nobody(path):
    started, stop = threading.Barrier(4), threading.Event()
    with DecisionLog(path, rotate_bytes=5_000) as log:

        def write():
            for _ in range(30):
                log.record(decision="thread", text="x" * 500)
            # Only now: a coverage tracer takes a lock when it meets a file first.
            started.wait()
            while not stop.is_set():
                log.record(decision="thread", text="x" * 500)

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.wait()
        try:
            children = [
                in_a_child(lambda: [log.record(decision="child") for _ in range(50)])
                for _ in range(8)
            ]
            assert all([ended_well(pid) for pid in children])  # noqa: C419 - wait for all
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        counts = log.count()
        assert counts["child"] == 400
        records = list(log.query())
        assert len({record["id"] for record in records}) == len(records)
        children = [r for r in records if r["decision"] == "child"]
        assert {r["pid"] for r in children}.isdisjoint({os.getpid()})


def test_a_lock_that_was_held_at_the_fork_does_not_hang_the_child(path):
    with DecisionLog(path, rotate_bytes=200) as log:
        log.record(decision="x", text="y" * 200)
        with log._writer._lock:
            child = in_a_child(lambda: log.record(decision="rotates", text="y" * 200))
            assert ended_well(child)
        assert log.count()["rotates"] == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110 - a device
def test_a_full_disk_is_an_error_that_names_the_file():
    with DecisionLog("/dev/full", rotate_bytes=10) as log:
        with pytest.raises(LogWriteError) as caught:
            log.record(decision="x")
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.path == "/dev/full"


def test_a_file_at_its_limit_takes_no_half_record_for_whole(path):
    """The kernel cuts the record at the limit: a true short write."""

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 2000))
        log = DecisionLog(path)
        kept = []
        with pytest.raises(LogWriteError) as caught:  # noqa: PT012 - at some record
            while True:
                kept.append(log.record(decision="x", text="y" * 60))
        assert caught.value.errno == errno.EFBIG
        assert path.stat().st_size == 1000
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        log.record(decision="after", kept=len(kept))

    assert ended_well(in_a_child(write))
    records = DecisionLog.read(path)
    *before, after = records
    assert (after["decision"], after["kept"]) == ("after", len(before))
    assert records.torn == 1


def test_a_program_that_just_ends_has_written_everything(path):
    code = (
        "from waybell_decisions import DecisionLog\n"
        f"log = DecisionLog({str(path)!r})\n"
        "for n in range(10): log.record(decision='x', n=n)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, check=True
    )
    assert done.stderr == b""
    assert DecisionLog.read(path).count() == {"x": 10}
