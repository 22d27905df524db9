import json
from pathlib import Path

import pytest

from waybell_decisions import DecisionLog, Records


@pytest.fixture
def run(path):
    """A log with two routes, a call with an outcome, and lines of strangers."""
    with DecisionLog(path) as log:
        log.record(decision="route", to="billing", score=0.5, given={"topic": "a"})
        call = log.record(decision="call", model="m", tokens=[1, 2], where=Path("p/q"))
        log.record(decision="route", to="sales", score=1, given={"topic": "b"})
        log.outcome(call, success=False, reason="late")
        log.outcome(call, success=True)
        with path.open("ab") as file:
            file.write(b"\n  \nnot json\n[1]\n" + b'{"other": 1}\n{"v":1, "id":"to\n')
        log.record(decision="route", to="sales", score=2, given=None)
    return path


def test_records_are_read_in_order_and_strangers_counted(run):
    records = DecisionLog.read(run)
    assert [r["decision"] for r in records] == [
        "route", "call", "route", "outcome", "outcome", "route"
    ]  # fmt: skip
    assert (records.torn, records.foreign) == (1, 3)
    assert isinstance(records, Records)


def test_reading_can_begin_again_and_counts_again(run):
    records = DecisionLog.read(run)
    first = list(records)
    assert list(records) == first
    assert (records.torn, records.foreign) == (1, 3)


def test_reading_holds_one_line_at_a_time(path):
    with DecisionLog(path) as log:
        log.record(decision="x", n=0)
        records = iter(log.query())
        assert next(records)["n"] == 0
    with pytest.raises(StopIteration):
        next(records)


def test_a_log_that_is_not_there_is_an_error_at_once(path):
    for missing in (path, path.parent / "no" / "folder" / "log.jsonl"):
        with pytest.raises(FileNotFoundError, match="no decision log") as raised:
            DecisionLog.read(missing)
        assert raised.value.filename == str(missing)


def test_a_log_that_has_gone_is_an_error_when_it_is_read(run):
    records = DecisionLog.read(run)
    run.unlink()
    for use in (list, Records.count, Records.tail):
        with pytest.raises(FileNotFoundError, match=run.name):
            use(records)


def test_an_empty_log_has_no_records(path):
    path.touch()
    assert list(DecisionLog.read(path)) == []


def test_of_a_folder_its_decisions_jsonl_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"decisions\.jsonl"):
        DecisionLog.read(tmp_path)
    with DecisionLog(tmp_path / "decisions.jsonl", rotate_bytes=1) as log:
        log.record(decision="one")
        log.record(decision="two")
    records = DecisionLog.read(str(tmp_path))
    assert records.path == tmp_path / "decisions.jsonl"
    assert records.query("two").count() == {"two": 1}


@pytest.mark.parametrize(
    ("decision", "where", "scores"),
    [
        ("route", None, [0.5, 1, 2]),
        ("route", {"to": "sales"}, [1, 2]),
        ("route", {"score": 1}, [1]),
        ("route", {"score": lambda score: score > 0.7}, [1, 2]),
        ("route", {"given.topic": "a"}, [0.5]),
        ("route", {"given": {"topic": "b"}}, [1]),
        ("route", {"given.topic.deeper": "a"}, []),
        ("route", {"given.topic": lambda topic: True}, [0.5, 1]),
        ("route", lambda r: r["to"] == "billing", [0.5]),
        (None, {"given": None}, [2]),
        (None, {"nothing": None}, []),
        ("nothing", None, []),
        ("route", {}, [0.5, 1, 2]),
    ],
    ids=range(13),
)
def test_a_query_narrows_by_decision_and_fields(run, decision, where, scores):
    found = DecisionLog.read(run).query(decision, where=where)
    assert [r["score"] for r in found] == scores


@pytest.mark.parametrize(
    "where",
    [{"tokens.1": 2}, {"tokens.-1": 2}, {"tokens": (1, 2)}, {"where": Path("p/q")}],
    ids=range(4),
)
def test_values_are_compared_as_they_are_recorded(run, where):
    assert len(list(DecisionLog.read(run).query(where=where))) == 1


@pytest.mark.parametrize("path_in", ["tokens.2", "tokens.x", "model.0.y", "tokens.0.0"])
def test_a_path_that_leads_nowhere_matches_nothing(run, path_in):
    assert list(DecisionLog.read(run).query(where={path_in: lambda value: True})) == []


@pytest.mark.parametrize("where", ["x", 5, [("to", "sales")]])
def test_a_where_that_is_neither_mapping_nor_test_is_refused_by_name(run, where):
    with pytest.raises(TypeError, match="where= takes values by field") as caught:
        DecisionLog.read(run).query(where=where)
    assert repr(where) in str(caught.value)


def test_logs_and_records_show_their_path(path):
    with DecisionLog(path) as log:
        assert repr(log) == repr(log.bind(agent="a")) == f"<DecisionLog {path}>"
    assert repr(DecisionLog.read(path).query("route")) == f"<Records {path}>"


def test_queries_narrow_further(run):
    routes = DecisionLog.read(run).query("route")
    sales = routes.query(where={"to": "sales"})
    assert [r["score"] for r in sales.query(where=lambda r: r["score"] > 1)] == [2]
    assert len(list(routes)) == 3


def test_a_text_in_a_list_and_a_dotted_name_are_found(log):
    log.record(decision="x", items=["a", "b"], **{"a.b": "c"}, deep={"a.b": ["é"]})
    for where in ({"items.1": "b"}, {"a.b": "c"}, {"deep.a.b.0": "é"}):
        assert len(list(log.query("x", where=where))) == ("deep.a.b.0" not in where)
    assert len(list(log.query("x", where={"deep": {"a.b": ["é"]}}))) == 1


def test_texts_with_quotes_and_surrogates_are_found(log):
    for text in ('say "hi"\n', "\ud800", "é\x1f", "\\u0041", ""):
        log.record(decision=text, text=text)
        assert [r["id"] for r in log.query(text, where={"text": text})] == [
            r["id"] for r in log.tail(1)
        ]


def test_outcomes_are_joined_to_their_decisions(run):
    found = list(DecisionLog.read(run).query(outcomes=True))
    assert [len(r["outcomes"]) for r in found] == [0, 2, 0, 0]
    assert [o["success"] for o in found[1]["outcomes"]] == [False, True]
    failed = DecisionLog.read(run).query(
        where={"outcomes.0.reason": "late"}, outcomes=True
    )
    assert [r["model"] for r in failed] == ["m"]
    (call,) = DecisionLog.read(run).query(outcomes=True).query("call").tail(3)
    assert len(call["outcomes"]) == 2


def test_a_field_named_of_is_no_outcome(log):
    name = log.record(decision="x")
    log.record(decision="x", nested={"of": name})
    log.record(decision="x", of=name)
    assert [r["outcomes"] for r in log.query(outcomes=True)] == [[], [], []]


def test_records_are_counted_by_field_or_function(run):
    records = DecisionLog.read(run)
    assert records.count() == {"route": 3, "outcome": 2, "call": 1}
    assert list(records.count()) == ["route", "outcome", "call"]
    assert records.count(by="to") == {None: 3, "sales": 2, "billing": 1}
    assert records.count(by="tokens") == {None: 5, "[1,2]": 1}
    assert records.count(by="given.topic") == {None: 4, "a": 1, "b": 1}
    assert records.query("route").count(by=lambda r: r["score"] > 0.7) == {
        True: 2, False: 1
    }  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 2, 5, 100])
def test_the_tail_is_the_end_of_the_whole(run, n):
    records = DecisionLog.read(run)
    assert records.tail(n) == list(records)[max(0, 6 - n) :]
    assert records.query("route").tail(n) == list(records.query("route"))[-n or 9 :]


def test_the_tail_of_a_long_log_reads_only_its_end(path):
    with DecisionLog(path) as log:
        log.record(decision="x", n=0)
        with path.open("ab") as file:
            file.write(b"stranger\n" * 400_000)
        for n in range(3):
            log.record(decision="x", n=n)
    records = DecisionLog.read(path)
    assert [r["n"] for r in records.tail(3)] == [0, 1, 2]
    assert records.foreign == 0


def test_a_log_rewritten_by_another_tool_is_read_the_same(run):
    records = list(DecisionLog.read(run))
    other = run.with_name("other.jsonl")
    other.write_text("".join(f" {json.dumps(record)} \r\n" for record in records))
    again = DecisionLog.read(other)
    assert list(again) == records
    assert [r["score"] for r in again.query("route", where={"to": "sales"})] == [1, 2]
    assert (again.torn, again.foreign) == (0, 0)


@pytest.mark.parametrize(
    ("line", "torn", "foreign"),
    [
        (b'{"v":2, "id":"x"}', 0, 1),
        (b'{"v":1}', 0, 1),
        (b'{"v":1, "id', 1, 0),
        (b'{"v":1', 1, 0),
        (b"{", 1, 0),
        (b"\xff\xfe", 0, 1),
        (b"null", 0, 1),
        (b"\0\0", 1, 0),
        (b'{"v":1, "id":"x","a":"\xff"}', 1, 0),
        (b"", 0, 0),
        (b"\r", 0, 0),
    ],
    ids=range(11),
)
def test_what_is_not_ours_is_told_from_what_is_torn(path, line, torn, foreign):
    path.write_bytes(line + b"\n")
    records = DecisionLog.read(path)
    assert list(records) == records.tail(1) == []
    assert (records.torn, records.foreign) == (torn, foreign)


def test_logs_of_the_first_version_stay_readable():
    golden = Path(__file__).parent / "golden" / "v1.jsonl"
    records = DecisionLog.read(golden)
    route, delivery = records.query(outcomes=True)
    assert (route["decision"], route["outcomes"][0]["correct"]) == ("route", False)
    assert route["fields"] == {"id": "theirs"}
    assert delivery["error"] == {"type": "ValueError", "message": "no"}
    assert (records.torn, records.foreign) == (0, 0)


def test_links_that_are_no_text_are_not_ours(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"v": 1, "id": ["x"]}\n{"v": 1, "id": "a", "of": ["x"]}\n')
    records = DecisionLog.read(path)
    assert list(records.query(outcomes=True)) == list(records) == []
    assert records.foreign == 2
