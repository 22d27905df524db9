import asyncio
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog

from waybell_decisions import DecisionLog, LogWriteError


def test_a_record_is_one_line_with_the_fields_flat(log, path, strict):
    name = log.record(decision="route", agent="triage", tokens=3)
    (record,) = strict(path)
    assert record["id"] == name
    assert record["pid"] == os.getpid()
    assert (record["v"], record["seq"]) == (1, 1)
    assert list(record) == [
        "v", "id", "time", "pid", "seq", "decision", "agent", "tokens"
    ]  # fmt: skip


def test_the_time_is_the_epoch_in_seconds(path):
    with DecisionLog(path, now=lambda: 1_700_000_000.25) as log:
        log.record(decision="x")
    assert next(iter(DecisionLog.read(path)))["time"] == 1_700_000_000.25


@pytest.mark.parametrize(
    "name",
    ["self", "event", "method_name", "name", "logger", "bound", "level", "record_id",
     "context", "fn", "", "class", "päth", "a.b", "_name", "kw", "method", "send"],
)  # fmt: skip
def test_a_field_may_have_any_name(log, path, strict, name):
    log.record(decision="x", **{name: 1})
    log.bind(**{name: 2}).record(decision="x")
    log.outcome("id", **{name: 3})
    assert [record[name] for record in strict(path)] == [1, 2, 3]


@pytest.mark.parametrize(
    "name", ["v", "id", "time", "pid", "seq", "trace_id", "span_id", "of", "outcomes"]
)
def test_a_field_named_like_one_of_ours_is_kept_under_fields(log, path, strict, name):
    log.record(decision="x", other=1, **{name: "theirs"})
    log.bind(**{name: "theirs"}).record(decision="x")
    for record in strict(path):
        assert record["fields"] == {name: "theirs"}
        assert record.get(name) != "theirs"


def test_a_field_named_fields_is_kept_too(log, path, strict):
    log.record(decision="x", fields=1, id=2)
    assert strict(path)[0]["fields"] == {"fields": 1, "id": 2}


def test_ids_are_unique_among_logs_and_bound_logs(path):
    with DecisionLog(path) as one, DecisionLog(path) as two:
        logs = [one, two, one.bind(a=1)]
        names = [log.record(decision="x") for _ in range(100) for log in logs]
    assert len(set(names)) == 300


def test_threads_lose_nothing_and_tear_nothing(log, path, strict):
    barrier = threading.Barrier(8)
    names = [[] for _ in range(8)]

    def write(mine):
        barrier.wait()
        for _ in range(100):
            mine.append(log.record(decision="x", text="y" * 5000))

    threads = [threading.Thread(target=write, args=(mine,)) for mine in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [record["id"] for record in strict(path)]
    assert sorted(written) == sorted(name for mine in names for name in mine)
    assert len(set(written)) == 800
    assert sorted(record["seq"] for record in strict(path)) == list(range(1, 801))


def test_a_bound_log_adds_its_fields_and_shares_the_file(log, path, strict):
    bound = log.bind(agent="a", run=1).bind(run=2)
    bound.record(decision="x", step=3)
    bound.record(decision="x", agent="b")
    log.record(decision="x")
    first, second, third = strict(path)
    assert (first["agent"], first["run"], first["step"]) == ("a", 2, 3)
    assert second["agent"] == "b"
    assert "agent" not in third


def test_an_outcome_is_a_record_of_its_own_that_names_the_decision(log, path, strict):
    before = log.record(decision="route", to="billing")
    content = path.read_bytes()
    after = log.outcome(before, correct=False, of="theirs", decision="mine")
    assert path.read_bytes().startswith(content)
    record = strict(path)[1]
    assert (record["id"], record["of"]) == (after, before)
    assert (record["decision"], record["correct"]) == ("mine", False)
    assert record["fields"] == {"of": "theirs"}
    log.outcome(before)
    assert strict(path)[2]["decision"] == "outcome"


def test_what_the_context_says_is_merged_below_the_fields(path, strict):
    def context():
        return {"trace_id": "t", "span_id": "s", "run": 1, "agent": "c", "pid": "x"}

    with DecisionLog(path, context=context) as log:
        log.bind(agent="b").record(decision="x", run=2, trace_id="mine")
    (record,) = strict(path)
    assert (record["trace_id"], record["span_id"]) == ("t", "s")
    assert (record["run"], record["agent"]) == (2, "b")
    assert record["fields"] == {"pid": "x", "trace_id": "mine"}


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_context_may_have_nothing_to_say(path, strict, nothing):
    with DecisionLog(path, context=lambda: nothing) as log:
        log.record(decision="x")
    assert "trace_id" not in strict(path)[0]


def test_a_context_that_fails_costs_no_record(path, strict):
    with DecisionLog(path, context=lambda: 1 / 0) as log:
        log.record(decision="x")
    assert strict(path)[0]["context_error"] == {
        "type": "ZeroDivisionError",
        "message": "division by zero",
    }


def test_opentelemetry_is_not_imported_for_the_sake_of_a_record(path):
    code = (
        "import sys\n"
        "from waybell_decisions import DecisionLog\n"
        f"DecisionLog({str(path)!r}).record(decision='x')\n"
        "assert 'opentelemetry' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_an_active_span_is_named_in_the_record(log, path, strict):
    trace = pytest.importorskip("opentelemetry.trace")
    ids = trace.SpanContext(0xAB, 0xCD, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(ids)):
        log.record(decision="in")
    log.record(decision="out")
    inside, outside = strict(path)
    assert (inside["trace_id"], inside["span_id"]) == (f"{0xAB:032x}", f"{0xCD:016x}")
    assert "trace_id" not in outside


def test_structlog_processors_see_and_change_the_record(path, strict):
    def shout(_logger, method, fields):
        fields["agent"] = fields["agent"].upper()
        return {**fields, "method": method, "id": "theirs", "timestamp": 1}

    with DecisionLog(path, processors=[shout]) as log:
        log.bind(agent="a").record(decision="x", seq="mine")
        log.outcome("n", agent="b")
    first, second = strict(path)
    assert (first["agent"], first["method"], first["timestamp"]) == ("A", "record", 1)
    assert first["fields"] == {"seq": "mine", "id": "theirs"}
    assert (second["agent"], second["method"], second["of"]) == ("B", "outcome", "n")


def test_structlog_contextvars_can_be_merged(path, strict):
    merge, bound = structlog.contextvars.merge_contextvars, {"request": "r1"}
    with DecisionLog(path, processors=[merge]) as log:
        structlog.contextvars.bind_contextvars(**bound)
        log.record(decision="x")
        structlog.contextvars.unbind_contextvars(*bound)
    assert strict(path)[0]["request"] == "r1"


def test_a_processor_may_drop_or_empty_a_record(path, strict):
    def some(_logger, _name, fields):
        if fields["decision"] == "secret":
            raise structlog.DropEvent
        return {}

    with DecisionLog(path, processors=[some]) as log:
        assert log.record(decision="secret") == ""
        assert log.record(decision="empty")
    assert [r["decision"] for r in strict(path)] == [None]


def test_an_error_of_a_processor_is_the_callers(path, strict):
    def broken(_logger, _name, fields):
        raise KeyError("mine")

    with DecisionLog(path, processors=[broken]) as log, pytest.raises(KeyError):
        log.record(decision="x")
    assert strict(path) == []


def test_a_closed_log_takes_no_records(path):
    log = DecisionLog(path)
    bound = log.bind(a=1)
    log.close()
    log.close()
    for closed in (log, bound):
        with pytest.raises(LogWriteError, match="closed") as caught:
            closed.record(decision="x")
        assert caught.value.path == str(path)


async def test_a_log_is_a_context_manager_of_both_kinds(path, strict):
    async with DecisionLog(path) as log:
        await asyncio.to_thread(log.record, decision="x")
    with pytest.raises(LogWriteError), log:
        log.record(decision="x")
    assert len(strict(path)) == 1


def test_what_an_open_log_wrote_can_be_read_at_once(log):
    log.record(decision="x", n=1)
    assert log.count() == {"x": 1}
    assert [r["n"] for r in log.query("x")] == [1]
    assert [r["n"] for r in log.tail(5)] == [1]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_new_file_is_its_owners_only_whatever_the_umask(tmp_path, umask):
    path = tmp_path / "new" / "folder" / "log"
    path.parent.mkdir(parents=True)
    before = os.umask(umask)
    try:
        DecisionLog(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_parent_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "log.jsonl"
    with DecisionLog(str(path)) as log:
        assert log.path == path
    assert path.exists()


def test_a_path_without_a_folder_is_in_this_one(tmp_path, monkeypatch, strict):
    monkeypatch.chdir(tmp_path)
    with DecisionLog("log.jsonl") as log:
        log.record(decision="x")
        assert log.count() == {"x": 1}
    assert len(strict(tmp_path / "log.jsonl")) == 1


def test_fsync_changes_nothing_one_can_see(path, strict):
    with DecisionLog(path, fsync=True) as log:
        log.record(decision="x")
    with DecisionLog(path, fsync=True) as log:
        log.record(decision="y")
    assert [r["decision"] for r in strict(path)] == ["x", "y"]


@pytest.mark.parametrize("settings", [{"rotate_bytes": 0}, {"rotate_bytes": -1}])
def test_a_setting_that_makes_no_sense_is_refused(path, settings):
    with pytest.raises(ValueError, match=str(next(iter(settings.values())))):
        DecisionLog(path, **settings)
    assert not path.exists()


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(LogWriteError) as caught:
        DecisionLog(tmp_path)
    assert caught.value.path == str(tmp_path)


def test_a_log_that_is_dropped_keeps_no_file_open(path):
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no /proc")
    before = len(list(folder.iterdir()))
    for _ in range(3):
        DecisionLog(path).record(decision="x")
    assert len(list(folder.iterdir())) == before


def test_a_pipe_is_refused_since_it_keeps_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    os.mkfifo(path)
    with pytest.raises(LogWriteError, match="not a file") as caught:
        DecisionLog(path)
    assert caught.value.path == str(path)


def test_an_error_names_the_file_that_refused(tmp_path):
    log = DecisionLog(tmp_path / "log.jsonl", rotate_bytes=1)
    log.record("first")
    part = tmp_path / "log.000001.jsonl"
    part.mkdir()
    with pytest.raises(LogWriteError) as caught:
        log.record("second")
    assert caught.value.path == str(part)
