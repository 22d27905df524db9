"""Trees, critical paths, groups and verdicts, of trees that are well and that are not."""

import random

import pytest

from waybell_report import _node as flags
from waybell_report._details import Details
from waybell_report._forest import Forest, used
from waybell_report._groups import Groups
from waybell_report._node import INCOMPLETE, decision, node
from waybell_report._pack import signed, varints
from waybell_report._verdict import lacking, sentence, verdict
from waybell_trace import SpanReader, read_traces


@pytest.fixture
def grown(tmp_path, otlp):
    """Makes the forest of spans."""

    def grow(*spans):
        path = tmp_path / "spans.jsonl"
        path.write_text("".join(map(otlp.line, spans)))
        details = Details()
        return Forest(node(each, details) for each in SpanReader(path))

    return grow


def tree(forest):
    return [(each.depth, each.name) for each in forest.nodes]


def flagged(forest, flag):
    return [each.name for each in forest.nodes if each.flags & flag]


def told(forest):
    found = verdict(forest, Groups(forest).owner)
    return found["state"], sentence(found)


def test_children_follow_their_parent_in_order_of_start(grown, otlp):
    s = otlp.span
    forest = grown(
        s(3, 1, name="c", at=5),
        s(2, 1, name="b", at=1),
        s(4, 2, name="d", at=2),
        s(1, name="a"),
    )
    assert tree(forest) == [(0, "a"), (1, "b"), (2, "d"), (1, "c")]


def test_circles_are_opened_and_missing_parents_marked(grown, otlp):
    s = otlp.span
    forest = grown(
        s(1, 2, name="a"), s(2, 3, name="b"), s(3, 1, name="c"), s(4, 4, name="self"),
        s(5, 3, name="hanger-on"), s(6, 99, name="orphan"),
    )  # fmt: skip
    assert len(forest.nodes) == 6
    assert len(flagged(forest, flags.CIRCLE)) == 2
    assert flagged(forest, flags.ORPHAN) == ["orphan"]


def test_of_two_spans_with_one_id_the_later_holds(grown, otlp):
    forest = grown(
        otlp.span(1, name="first"),
        otlp.span(1, name="second"),
        otlp.span(1, name="other", trace="c" * 32),
    )
    assert sorted(name for _, name in tree(forest)) == ["other", "second"]
    assert forest.twice == 1


def test_clocks_that_differ_and_spans_without_a_start_are_marked(grown, otlp):
    s = otlp.span
    timeless = s(4, 1, name="timeless")
    timeless["startTimeUnixNano"] = "0"
    forest = grown(s(1, name="root", at=10, ms=20), s(2, 1, name="early", at=5, ms=6), s(3, 1, name="late", at=25, ms=30), s(5, 1, name="inside", at=12, ms=1), timeless)  # fmt: skip
    assert sorted(flagged(forest, flags.SKEWED)) == ["early", "late"]
    (found,) = [each for each in forest.nodes if each.name == "timeless"]
    assert found.start == forest.roots[0].start
    assert forest.last - forest.first == 50_000_000


def test_a_file_of_ends_without_starts_still_has_a_first_moment(grown, otlp):
    only = otlp.span(1, ms=3)
    only["startTimeUnixNano"] = "0"
    forest = grown(only)
    assert forest.first == forest.last == otlp.T0 + 3 * otlp.MS
    assert grown().first == 0


def test_the_critical_path_is_what_the_end_waited_for(grown, otlp):
    s = otlp.span
    forest = grown(
        s(1, name="root", ms=100), s(2, 1, name="fast", at=0, ms=40), s(3, 1, name="slow", at=0, ms=60),
        s(4, 1, name="last", at=70, ms=25), s(5, 1, name="beside", at=72, ms=5),
        s(6, 4, name="below", at=75, ms=10), s(7, 1, name="overlapping", at=50, ms=22), s(8, 1, name="nothing", at=70, ms=0),
    )  # fmt: skip
    assert set(flagged(forest, flags.CRITICAL)) == {"root", "last", "below", "slow"}


def test_what_outlives_its_parent_counts_up_to_the_parents_end(grown, otlp):
    forest = grown(
        otlp.span(1, name="root", ms=10), otlp.span(2, 1, name="long", at=4, ms=100)
    )
    assert set(flagged(forest, flags.CRITICAL)) == {"root", "long"}


def test_five_thousand_levels_and_ten_thousand_children_need_no_recursion(grown, otlp):
    deep = [otlp.span(i, i - 1 or None, ms=9_000) for i in range(1, 5_001)]
    wide = [otlp.span(i, 1, at=i) for i in range(6_000, 16_000)]
    forest = grown(*deep, *wide)
    assert max(each.depth for each in forest.nodes) == 4_999
    assert Groups(forest).edges() == []


def test_usage_is_counted_as_the_tracer_counts_it(grown, otlp, tmp_path):
    rng = random.Random(7)
    for _ in range(20):
        spans = [
            otlp.span(i, rng.randrange(i) or None, at=i, ms=rng.randint(0, 50), **rng.choice(
                [otlp.model("m", (rng.randint(0, 9), 1), rng.randint(0, 99)), otlp.agent(rng.choice("xyz")), {}]))
            for i in range(1, 40)
        ]  # fmt: skip
        forest = grown(*spans)
        ours, theirs = Groups(forest), read_traces(tmp_path / "spans.jsonl")
        assert ours.usage == theirs.usage()
        named = theirs.agents()
        assert set(ours.agents) == set(named)
        for name, group in ours.agents.items():
            assert (group.calls, group.usage) == (named[name].calls, named[name].usage)
            row = group.row()
            for place, percent in ((4, 50), (5, 90), (6, 99)):
                expected = named[name].percentile(percent)
                assert row[place] == (
                    None if expected is None else round(expected * 1e9)
                )
        assert len(used(forest.nodes)) == len(forest.nodes)


def test_a_delivery_beside_an_agents_span_is_no_agent_of_its_own(grown, otlp):
    s, topic = otlp.span, lambda name: {"waybell.topic": name}
    forest = grown(
        s(1, name="a", **otlp.agent("writer")), s(2, 1, name="t", **topic("agent:writer")),
        s(3, name="t", **topic("desk")), s(4, 3, name="t2", **topic("desk:deep")),
        s(5, name="t3", **topic("wrap")), s(6, 5, name="b", **otlp.agent("inner")),
    )  # fmt: skip
    groups = Groups(forest)
    assert list(groups.agents) == ["writer", "desk", "desk:deep", "inner"]
    assert groups.edges() == [
        ["", "agent", "writer", 1, 0], ["", "agent", "desk", 1, 0],
        ["desk", "agent", "desk:deep", 1, 0], ["", "agent", "inner", 1, 0],
    ]  # fmt: skip


def test_agents_beyond_three_hundred_are_one_row(grown, otlp):
    forest = grown(*(otlp.span(i, at=i, ms=i, error="no" if i == 5 else None, **otlp.agent(f"a{i}"), **{"gen_ai.usage.input_tokens": 1}) for i in range(1, 400)))  # fmt: skip
    rows = Groups(forest).rows()["agents"]
    assert len(rows) == 301
    assert rows[0][:3] == ["a5", 1, 1]
    assert rows[-1][:2] == ["(others)", 99]
    assert sum(row[9] for row in rows) == 399


def test_tools_and_models_without_a_name_go_by_their_spans(grown, otlp):
    forest = grown(
        otlp.span(1, name="look", **{"openinference.span.kind": "RETRIEVER"}),
        otlp.span(2, name="ask", **{"openinference.span.kind": "LLM", "gen_ai.usage.output_tokens": 4}),
        otlp.span(3, name="step", **{"gen_ai.usage.output_tokens": 5}),
    )  # fmt: skip
    groups = Groups(forest).rows()
    assert [row[0] for row in groups["tools"]] == ["look"]
    assert [(row[0], row[10]) for row in groups["models"]] == [("ask", 4)]
    assert [(row[0], row[10]) for row in groups["agents"]] == [("", 9)]


def test_the_verdict_names_the_failure_where_it_began(grown, otlp):
    s, error = otlp.span, "ValueError: no"
    forest = grown(
        s(1, name="run", error=error, **otlp.agent("boss")),
        s(2, 1, name="handled", error="KeyError", at=1), s(3, 1, name="step", error=error, at=2, **otlp.agent("worker")),
        s(4, 3, name="call", error=error, at=3),
    )  # fmt: skip
    assert told(forest) == ("failed", "failed: worker: ValueError: no")


def test_the_verdict_of_other_runs(grown, otlp):
    s = otlp.span
    assert told(grown()) == ("empty", "no span was recorded")
    assert told(grown(s(1))) == ("ok", "finished; nothing failed")
    assert told(grown(s(1), s(2, 1, name="try", error="E: x\nmore"))) == (
        "handled",
        "finished; 1 span failed on the way, first try: E: x",
    )
    one = [s(1), s(2, 1, error="E"), s(3, 1, error="E")]
    assert "2 spans failed" in told(grown(*one))[1]
    assert told(grown(s(1), s(2, 1, name="open", ms=None, **otlp.agent("a")))) == (
        "unfinished",
        "did not finish: a was still running",
    )


def went_on(otlp, *, later=None, id_="j", **end):
    """A run that was killed, or ended as `end` says; and one that went on with it."""
    s, again = otlp.span, "b" * 32
    spans = [
        s(1, name="run", **{"run.id": "j", "ms": None, **end}),
        s(2, 1, name="task index-6", at=1, **{"ms": None, **end}),
    ]
    if later is not None:
        spans.append(s(1, name="run", at=50, trace=again, **{"run.id": id_}, **later))
        spans.append(s(2, 1, name="task index-6", at=51, ms=2, trace=again))
    return spans


def test_a_killed_run_has_finished_once_another_went_on_with_its_journal(grown, otlp):
    assert told(grown(*went_on(otlp))) == (
        "unfinished",
        "did not finish: task index-6 was still running",
    )
    assert told(grown(*went_on(otlp, later={}))) == ("ok", "finished; nothing failed")
    failed = went_on(otlp, later={}, ms=10, error="E: x")
    assert told(grown(*failed))[0] == "handled"
    failed = went_on(otlp, later={"error": "E: y"})
    assert told(grown(*failed)) == ("failed", "failed: run: E: y")
    assert told(grown(*went_on(otlp, later={"ms": None}))) == (
        "unfinished",
        "did not finish: run was still running",
    )


def test_a_run_of_another_journal_goes_on_with_nothing(grown, otlp):
    assert told(grown(*went_on(otlp, later={}, id_="k")))[0] == "unfinished"
    lone = otlp.span(3, name="task index-6", trace="c" * 32, at=80)
    assert told(grown(*went_on(otlp), lone))[0] == "unfinished"


def test_a_run_that_its_deadline_ended_says_so(grown, otlp):
    late = "asyncio.exceptions.CancelledError: <Deadline 0.3 s, 0 s left> passed"
    forest = grown(otlp.span(1, name="task a", error=late))
    assert told(forest) == (
        "failed",
        "failed: task a: DeadlineExceeded: deadline of 0.3 s passed",
    )
    other = "asyncio.exceptions.CancelledError: enough"
    forest = grown(otlp.span(1, name="task a", error=other))
    assert told(forest) == ("failed", "failed: task a: CancelledError: enough")


LACK = {"type": "IncompleteError", "message": "1 of 2 answers"}


@pytest.mark.parametrize(
    ("record", "lack"),
    [
        ({"outcome": "incomplete", "error": LACK}, "IncompleteError: 1 of 2 answers"),
        (
            {"outcome": "incomplete", "error": "IncompleteError", "message": "older"},
            "IncompleteError: older",
        ),
        ({"outcome": "incomplete"}, "incomplete, and says not why"),
        ({"outcome": "failed", "error": LACK}, ""),
        ({"outcome": "ok"}, ""),
        ({}, ""),
    ],
)
def test_a_record_says_what_is_missing(record, lack):
    assert decision({"id": "1", **record}, Details()).lack == lack


def test_a_broadcast_below_its_quorum_is_a_warning(grown, otlp):
    def made(name, span, **fields):
        facts = {"decision": name, "trace_id": "a" * 32, "span_id": f"{span:016x}"}
        return decision({"id": "1", **facts, **fields}, Details())

    s = otlp.span
    spans = [
        s(1, name="run"),
        s(2, 1, name="broadcast", at=1), s(3, 2, name="try", error="E: x", at=1),
        s(4, 1, name="broadcast", at=3, error="E: y"),
    ]  # fmt: skip
    lack = {"outcome": "incomplete", "error": LACK}
    log = [
        made("broadcast", 2, **lack),
        made("broadcast", 4, **lack),  # which has failed by itself
        made("answer", 1, **lack),  # of an agent, not of the span it was asked in
        made("broadcast", 9, **lack),  # in no file
    ]
    forest = grown(*spans)
    lacking(forest, log)
    assert told(forest) == (
        "incomplete",
        "finished; 1 span incomplete, first broadcast: IncompleteError: 1 of 2 answers",
    )
    assert flagged(forest, INCOMPLETE) == ["broadcast"]
    forest = grown(s(1, name="run", error="E: z"), *spans[1:])
    lacking(forest, log)
    assert told(forest)[0] == "failed"


@pytest.mark.parametrize(
    ("status", "more", "said"),
    [
        ({"code": 2, "message": "told"}, {}, "told"),
        (
            {"code": 2},
            {
                "events": [
                    (0, "exception", {"exception.type": "E", "exception.message": "x"})
                ]
            },
            "E: x",
        ),
        (
            {"code": 2},
            {"events": [(0, "note", {})], "error.type": "timeout"},
            "timeout",
        ),
        ({"code": 2}, {}, "failed, and says not why"),
    ],
)
def test_an_error_is_told_by_the_first_that_knows(grown, otlp, status, more, said):
    span = otlp.span(1, **more)
    span["status"] = status
    assert grown(span).nodes[0].error == said


def test_numbers_survive_their_packing():
    numbers = [0, 1, 127, 128, 300, 2**40, 2**63 - 1]
    data, found, shift, value = varints(numbers), [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(value)
            shift = value = 0
    assert found == numbers
    assert list(signed([0, -1, 1, -2])) == [0, 1, 2, 3]
