"""Making a report: what is read, what is refused, what is left out, how it is written."""

import base64
import gzip
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waybell_decisions import DecisionLog
from waybell_report import Report, ReportError, report
from waybell_report._details import Details, dumped
from waybell_report._pack import _Lines
from waybell_trace import Tracer


def packed(made, block):
    """What a page carries: the bytes of one of its blocks."""
    data = base64.b64decode(re.search(rf'id="data-{block}">([^<]*)', made.html)[1])
    return data if block == "head" else gzip.decompress(data)


def core_head(made):
    data = packed(made, "core")
    return json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])


def names(made):
    return core_head(made)["tables"]["names"]


def rows(made):
    first, *lines = packed(made, "detail").split(b"\n")
    return json.loads(first), [json.loads(line) for line in lines]


def test_a_run_of_our_own_tracer_and_log_becomes_one_file(tmp_path):
    with (
        Tracer(tmp_path / "traces.jsonl") as tracer,
        DecisionLog(tmp_path / "decisions.jsonl") as log,
    ):
        with tracer.agent("writer"), tracer.llm("small-1", provider="local") as span:
            span.record_usage(input_tokens=12, output_tokens=3, usd="0.0004")
            log.record(decision="route", to="writer")
        running = tracer.span("still running")
        running.__enter__()
        made = report(tmp_path, tmp_path / "new" / "page.html")
        running.__exit__(None, None, None)
    assert (made.spans, made.decisions, made.notes) == (3, 1, ())
    assert made.verdict == "did not finish: still running was still running"
    assert (tmp_path / "new" / "page.html").read_text() == made.html
    assert json.loads(packed(made, "head"))["usage"] == {
        "input": 12,
        "output": 3,
        "cost": 400_000,
    }
    assert repr(made) == f"<Report {made.verdict}; 3 spans, 1 decisions>"


def test_the_same_files_give_the_same_page(write, otlp):
    folder = write(otlp.failed_run())
    assert report(folder).html == report(folder).html


def test_files_can_be_named_one_by_one_and_have_any_name(tmp_path, otlp):
    spans, log = tmp_path / "a.ndjson", tmp_path / "b.log"
    spans.write_text("".join(map(otlp.line, otlp.failed_run())))
    log.write_text(otlp.decision(1, "route"))
    both = report([spans, str(log)])
    assert (both.spans, both.decisions) == (5, 1)
    assert report(spans).spans == 5
    assert report(str(log)).decisions == 1
    assert "a.ndjson" in report(spans).html
    renamed = tmp_path / "other"
    renamed.mkdir()
    spans.rename(renamed / "spans.ndjson")
    assert report(renamed).spans == 5


def test_json_written_over_many_lines_is_read_too(tmp_path, otlp):
    path = tmp_path / "spans.json"
    path.write_text(json.dumps(otlp.message(*otlp.failed_run()), indent=2))
    made = report(path)
    assert (made.spans, made.notes) == (5, ())
    path.write_text(json.dumps([otlp.message(s) for s in otlp.failed_run()], indent=2))
    assert report(path).spans == 5


def test_names_of_other_instrumentations_are_understood(write, otlp):
    folder = write([
        otlp.span(1, name="run", **{"openinference.span.kind": "AGENT", "agent.name": "boss"}),
        otlp.span(2, 1, name="ask", ms=4, **{
            "openinference.span.kind": "LLM", "llm.model_name": "m-1", "llm.cost.total": 0.00125,
            "llm.token_count.prompt": 7, "llm.token_count.completion": 2}),
        otlp.span(3, 1, name="look", ms=2, **{"openinference.span.kind": "TOOL", "tool.name": "grep"}),
        otlp.span(4, 1, name="odd", **{"gen_ai.usage.cost": "much", "operation.cost": float("nan"), "gen_ai.usage.prompt_tokens": -1}),
    ])  # fmt: skip
    groups = core_head(report(folder))["groups"]
    assert groups["agents"] == [["boss", 1, 0, 0, *[10_000_000] * 5, 7, 2, 1_250_000]]
    assert groups["models"] == [["m-1", 1, 0, 0, *[4_000_000] * 5, 7, 2, 1_250_000]]
    assert [row[0] for row in groups["tools"]] == ["grep"]


def test_missing_foreign_and_unnamed_files_are_errors_that_say_what_to_give(tmp_path):
    with pytest.raises(
        ReportError, match=r"cannot read .*nowhere: No such file.*traces.jsonl"
    ) as caught:
        report(tmp_path / "nowhere")
    assert caught.value.path == str(tmp_path / "nowhere")
    with pytest.raises(ReportError, match="it holds nothing"):
        report(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "other.json").write_text("{}\n")
    with pytest.raises(ReportError, match=r"it holds notes\.txt, other\.json"):
        report(tmp_path)
    with pytest.raises(
        ReportError,
        match=r"no span and no decision in .* \(lines of something else: 1\)",
    ):
        report(tmp_path / "other.json")
    (tmp_path / "half.json").write_text('{"resourceSpans":[{"a')
    with pytest.raises(ReportError, match=r"\(lines cut short: 1\)"):
        report(tmp_path / "half.json")
    with pytest.raises(ReportError, match="no file is named"):
        report([])
    with pytest.raises(
        ValueError, match="limit must be from 1 to 300,000 spans, not 0"
    ):
        report(tmp_path, limit=0)


def test_torn_and_foreign_lines_are_counted_and_said(write, otlp):
    folder = write(otlp.failed_run(), otlp.decision(1, "route"))
    with (folder / "traces.jsonl").open("a") as file:
        file.write("hello\n" + otlp.line(otlp.span(9))[:80])
    with (folder / "decisions.jsonl").open("a") as file:
        file.write(otlp.decision(2, "x")[:30])
    assert report(folder).notes == (
        "Lines cut short, by a crash most likely: 2.",
        "Lines that are neither spans nor decisions: 1.",
    )


def test_of_a_long_file_the_newest_and_the_failed_are_shown(write, otlp):
    old = [
        otlp.span(1, 2, name="old failure", error="no"), otlp.span(3, 2, name="old sister"),
        otlp.span(2, name="old root", error=None),
    ]  # fmt: skip
    new = [otlp.span(i, name=f"new {i}", at=i) for i in range(10, 60)]
    log = "".join(otlp.decision(i, f"d{i}", at=i) for i in range(50))
    seen = []
    made = report(write(old + new, log), limit=20, progress=seen.append)
    assert made.spans == 22
    assert {"old failure", "old root", "new 59", "new 40"} <= set(names(made))
    assert not {"old sister", "new 39"} & set(names(made))
    assert made.notes == (
        "Of 53 spans, 1 of them failed, the page shows 22: the newest, and failed ones before them. Sums are of these.",
        "Of 50 decisions the page shows the last 20.",
    )
    assert core_head(made)["tables"]["kinds"] == [f"d{i}" for i in range(30, 50)]


def test_failed_spans_of_a_long_file_are_bounded_too(write, otlp):
    spans = [otlp.span(i, name=f"bad {i}", error="no") for i in range(1, 100)]
    made = report(write(spans), limit=20)
    assert (made.spans, "bad 1" in names(made), "bad 3" in names(made)) == (
        22,
        True,
        False,
    )


def test_a_run_that_crashed_before_any_span_ended_is_shown(write, otlp):
    folder = write(starts=otlp.failed_run())
    (folder / "traces.jsonl").unlink()
    assert report(folder).verdict == "did not finish: planner was still running"


def test_a_file_that_cannot_be_read_is_named(write, otlp):
    folder = write(otlp.failed_run())
    (folder / "traces.starts.jsonl").mkdir()
    with pytest.raises(
        ReportError, match=r"cannot read .*traces\.starts\.jsonl: Is a directory"
    ):
        report(folder)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_field_of_a_stranger_breaks_a_report(tmp_path, otlp, data):
    span = otlp.failed_run()[3]
    span["links"] = [{"traceId": "a" * 32, "spanId": "b" * 16}]
    made = json.loads(
        otlp.decision(1, "route", span=span["spanId"], agent="a", of="log-0")
    )
    for target in (
        span,
        made,
        span["events"][0],
        span["status"],
        span["attributes"][0],
    ):
        for key in data.draw(st.lists(st.sampled_from(sorted(target)), max_size=2)):
            target[key] = data.draw(JUNK)
    (tmp_path / "traces.jsonl").write_text(otlp.line(span) + otlp.line(otlp.span(77)))
    (tmp_path / "decisions.jsonl").write_text(json.dumps(made) + "\n")
    assert report(tmp_path).spans >= 1


def test_a_folder_whose_name_is_no_text_has_a_report_too(write, otlp, tmp_path):
    odd = tmp_path / "odd\udcff<b>"
    write(otlp.failed_run()).rename(odd)
    assert "<title>odd?&lt;b&gt;: failed" in report(odd, odd / "page.html").html


def test_progress_is_told_while_reading(write, otlp):
    seen = []
    report(write(otlp.span(i) for i in range(1, 10_002)), progress=seen.append)
    assert seen == [5_000, 10_000]


def test_unfinished_spans_come_from_the_side_file_whatever_the_order(write, otlp):
    spans = [otlp.span(i, name=f"s{i}", at=i, ms=5) for i in range(1, 30)]
    made = report(write(spans[4:], starts=[*spans[10:], *spans[:10]]))
    assert made.spans == 29
    assert json.loads(packed(made, "head"))["verdict"]["unfinished"] == 4


def test_texts_are_cut_harder_the_more_there_are(write, otlp):
    def run(count, size):
        spans = [
            otlp.span(i, name="s", text=f"{i:05}" + "x" * size) for i in range(1, count)
        ]
        spans.append(otlp.span(count, name="last", error="no", text="y" * size))
        head, _ = rows(report(write(spans)))
        return head["texts"]

    few = [t for t in run(2, 70_000) if "s" in t]
    assert sorted((len(t["s"]), t["n"]) for t in few) == [
        (65_536, 70_000),
        (65_536, 70_005),
    ]
    sizes = {len(t["s"]) for t in run(300, 60_000) if "s" in t}
    assert sizes == {4_096, 8_192}  # the first are whole, and what failed keeps more
    assert (
        len(
            report(
                write(otlp.span(i, text=f"{i} " * 90_000) for i in range(1, 400))
            ).html
        )
        < 5_000_000
    )


def test_a_failed_span_keeps_its_stack_when_others_are_cut():
    details = Details()
    while b'"n":' not in details.packed({"a": {"text": "x" * 4_000}}):
        pass  # until even short texts are cut
    stack = "frame\n" * 1_300
    event = (1, "exception", {"exception.stacktrace": stack})
    whole = details.packed({"a": {"text": "y" * 300}, "e": [event]}, failed=True)
    assert json.loads(whole)["e"] == [[1, "exception", event[2]]]
    assert json.loads(details.packed({"a": {"t": "z" * 300}})) == {
        "a": {"t": {"s": "z" * 200, "n": 300}}
    }


def test_errors_are_listed_in_brief_when_there_are_many_and_kept_whole(write, otlp):
    spans = [otlp.span(i, error=f"{i:05}" + "x" * 1_995) for i in range(1, 1_200)]
    made = report(write(spans))
    listed = core_head(made)["tables"]["errors"]
    assert sorted({(len(text), text[-1]) for text in listed}) == [
        (160, "\u2026"),
        (1_000, "\u2026"),
    ]
    _, found = rows(made)
    assert {len(line["s"]) for line in found} == {2_000}


def test_of_very_many_spans_digests_keep_what_tells_them_apart():
    lines, digest = _Lines(brief=True), "0123456789abcdef" * 2
    line = json.loads(
        lines.line(dumped({"a": {"sha": digest, "word": "abc", "id": digest[:16]}}))
    )
    assert line == {"a": [0, "0123456789abcdef\u2026 (32 digits)", "abc", digest[:16]]}
    assert json.loads(_Lines(brief=False).line(dumped({"a": {"sha": digest}}))) == {
        "a": [0, digest]
    }


def test_values_of_every_kind_are_kept_exactly(write, otlp):
    big, deep = 2**60, [1]
    for _ in range(260):
        deep = [deep]
    values = {
        "n": big,
        "small": 3,
        "yes": True,
        "half": 0.5,
        "nan": float("nan"),
        "raw": b"aGk=",
    }
    span = otlp.span(
        1, **values, l=["a", {"b": 1, "c": b"aGk="}], deep=deep, wide=[2**70]
    )
    span["attributes"].append({"key": "none", "value": {}})
    head, (row,) = rows(report(write([span])))
    number, *kept = row["a"]
    found = dict(zip(head["shapes"][number], kept, strict=True))
    texts = {key: head["texts"][found.pop(key)["t"]] for key in ("l", "deep", "wide")}
    assert found == values | {
        "n": str(big),
        "nan": "nan",
        "raw": "base64: aGk=",
        "none": None,
    }
    assert texts["l"] == {"j": '["a",{"b":1,"c":"aGk="}]'}
    assert texts["wide"] == {"j": f"[{2**70}]"}
    assert texts["deep"]["j"].count("[") == 261


def test_attributes_and_events_beyond_two_thousand_are_counted(write, otlp):
    many = {f"k{i}": i for i in range(2_100)}
    _, (row,) = rows(
        report(write([otlp.span(1, events=[(0, "e", {})] * 2_300, **many)]))
    )
    assert (row["am"], len(row["a"]), row["em"], len(row["e"])) == (
        100,
        2_001,
        300,
        2_000,
    )


def test_ids_that_are_no_hexadecimal_numbers_are_kept_too(write, otlp):
    assert core_head(report(write([otlp.span("odd", name="a"), otlp.span(2)])))[
        "ids"
    ] == ["odd", f"{2:016x}"]
    assert core_head(report(write([otlp.span(1), otlp.span(2)])))["ids"] is None


def test_times_beyond_reason_do_not_break_the_page(write, otlp):
    wild = otlp.span(1, ms=1)
    wild["startTimeUnixNano"], wild["endTimeUnixNano"] = "-5", str(2**90)
    made = report(write([wild, otlp.span(2, 1)]))
    assert made.spans == 2
    head = core_head(made)
    assert int(head["first"]) + head["length"] == 2**63 - 1


def test_a_report_never_writes_over_what_it_reads(write, otlp):
    folder = write(otlp.failed_run())
    before = (folder / "traces.jsonl").read_bytes()
    with pytest.raises(ReportError, match="is read from: name another output"):
        report(folder, folder / "traces.jsonl")
    assert (folder / "traces.jsonl").read_bytes() == before


def test_a_page_is_written_whole_or_not_at_all_and_for_its_owner_only(
    tmp_path, write, otlp
):
    made = report(write(otlp.failed_run()))
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    assert made.save(tmp_path / "link.html") == tmp_path / "link.html"
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").read_text() == made.html
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        made.save(tmp_path / "pipe")
        assert read.result(timeout=60) == made.html
    assert (tmp_path / "pipe").is_fifo()
    path = made.save(tmp_path / "deep" / "page.html")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(ReportError, match="cannot write"):
        made.save(path / "below.html")
    blocked = tmp_path / "taken"
    blocked.mkdir()
    with pytest.raises(ReportError, match="cannot write"):
        made.save(blocked)
    assert not list(tmp_path.glob(".taken*"))


def test_a_notebook_gets_a_frame_without_the_rights_of_its_page(write, otlp):
    shown = report(write(otlp.failed_run()))._repr_html_()
    assert shown.startswith("<iframe ")
    assert 'sandbox="allow-scripts" srcdoc="&lt;!doctype html&gt;' in shown
    assert shown.count("<") == 2


def test_the_page_allows_nothing_but_its_own_script_and_style(write, otlp):
    html = report(write(otlp.failed_run()), title="<b>{{script}}</b>").html
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[\w+/]+=*'", rules[kind])
    assert "unsafe" not in policy
    assert "<title>&lt;b&gt;{{script}}&lt;/b&gt;: failed" in html
    assert not re.search(
        r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]", html.split("<script>")[0]
    )
    assert not re.search(
        r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b", html
    )


def test_an_error_says_what_a_plain_exception_would(write, otlp):
    error = ReportError("gone", "there")
    assert (str(error), error.path) == ("gone", "there")
    assert isinstance(Report("", "ok", 0, 0, ()), Report)
