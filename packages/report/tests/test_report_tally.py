"""Sums that are made while reading, against those of the whole file at once."""

import random

from hypothesis import given
from hypothesis import strategies as st

from waybell_report._tally import Latencies, Sums, Tally
from waybell_trace import SpanRecord, SpanUsage, Traces


names = st.sampled_from([None, None, "writer", "critic"])
tokens = st.none() | st.integers(0, 9)
shapes = st.lists(st.tuples(st.integers(0, 30), names, tokens, tokens), max_size=30)


def span(number: int, parent: int | None, name: str | None, read: int | None,
         cost: int | None) -> SpanRecord:  # fmt: skip
    found = {
        "gen_ai.usage.input_tokens": read,
        "waybell.cost.nano_usd": cost,
        "gen_ai.agent.name": name,
    }
    return SpanRecord(
        name="x", trace_id="t", span_id=str(number),
        parent_id=None if parent is None else str(parent), start_ns=number,
        end_ns=number + 1, attributes={k: v for k, v in found.items() if v is not None},
    )  # fmt: skip


def forest(
    shape: list[tuple[int, str | None, int | None, int | None]],
) -> list[SpanRecord]:
    """Parents have lower numbers, so the list backwards has children first."""
    spans = []
    for number, (above, name, read, cost) in enumerate(shape):
        parent = above % number if number and above < 25 else None
        spans.append(span(number, parent, name, read, cost))
    return spans


@given(shapes)
def test_children_first_as_files_have_them_it_says_what_the_whole_file_says(
    shape,
) -> None:
    spans = forest(shape)
    tally = Tally({"": lambda each: each.agent})
    for each in reversed(spans):
        tally.add(each)
    said = {
        name: (sums.calls, sums.usage)
        for name, sums in tally.finish()[""].items()
        if name or sums.usage != SpanUsage()
    }
    whole = Traces(spans).by(lambda each: each.agent)
    assert said == {name: (stats.calls, stats.usage) for name, stats in whole.items()}


@given(shapes, st.randoms(use_true_random=False))
def test_in_any_order_nothing_is_lost_and_no_call_is_counted_twice(shape, rng) -> None:
    spans = forest([(a, n, r, None) for a, n, r, _ in shape])
    leaves = {s.span_id for s in spans} - {s.parent_id for s in spans}
    spans = [s if s.span_id in leaves else span(int(s.span_id), s.parent_id and
             int(s.parent_id), s.agent, None, None) for s in spans]  # fmt: skip
    shuffled = spans[:]
    rng.shuffle(shuffled)
    tally = Tally({"": lambda each: each.agent})
    for each in shuffled:
        tally.add(each)
    found = tally.finish()[""]
    agents = {s.span_id: s.agent for s in spans}
    told = [s for s in spans if s.agent not in (None, agents.get(s.parent_id or ""))]
    assert sum(sums.calls for sums in found.values()) == len(told)
    everything = SpanUsage()
    for sums in found.values():
        everything = everything.plus(sums.usage)
    assert everything == Traces(spans).usage()


def test_a_late_child_of_a_parent_that_repeats_it_is_not_counted_twice() -> None:
    tally = Tally({"": lambda each: each.agent})
    tally.add(span(0, None, "writer", 100, 7))
    tally.add(span(1, 0, None, 40, None))
    assert tally.finish()[""]["writer"].usage == SpanUsage(100, None, None, None, 7)


def test_a_span_right_inside_one_of_its_name_is_the_same_call() -> None:
    def calls(spans: list[SpanRecord]) -> int:
        tally = Tally({"": lambda each: each.agent})
        for each in spans:
            tally.add(each)
        return tally.finish()[""]["writer"].calls

    outer, inner = span(0, None, "writer", 1, 0), span(1, 0, "writer", 1, 0)
    assert calls([inner, outer]) == calls([outer, inner]) == 1
    assert calls([inner]) == 1  # of a run that was cut off
    apart = span(2, 0, None, 1, 0), span(3, 2, "writer", 1, 0)
    assert calls([*apart, outer]) == calls([outer, *apart]) == 2
    many = [span(n, 0, "writer", 1, 0) for n in range(1, 2_001)]
    assert calls([*many, outer]) == 1_001  # no more than 1,000 wait


def test_parents_in_a_circle_end() -> None:
    tally = Tally({"": lambda each: each.agent})
    for number, parent in ((0, 1), (1, 0), (2, 2)):
        tally.add(span(number, parent, None, 5, None))
    total = sum(sums.usage.input_tokens or 0 for sums in tally.finish()[""].values())
    assert total in (5, 10, 15)


def test_what_is_remembered_is_bounded() -> None:
    tally = Tally({"": lambda each: each.agent}, recall=10)
    for number in range(1_000):
        tally.add(span(number, None, None, 1, None))
    assert tally.finish()[""][""].usage.input_tokens == 1_000
    assert len(tally._seen) == 10


def test_percentiles_are_exact_while_few_and_close_when_many() -> None:
    few, many = Latencies(), Latencies()
    rng = random.Random(7)
    drawn = [rng.lognormvariate(0, 2) for _ in range(20_000)]
    for each in drawn[:999]:
        few.add(each)
    for each in drawn:
        many.add(each)
    assert few.percentile(50) == sorted(drawn[:999])[499]
    for percent in (1, 50, 90, 99, 100):
        exact = sorted(drawn)[max(0, -(-len(drawn) * percent // 100) - 1)]
        assert abs((many.percentile(percent) or 0) / exact - 1) < 0.0101
    assert Latencies().percentile(50) is None
    assert Sums().latencies.count == 0


def test_durations_of_nothing_are_nothing_however_many() -> None:
    many = Latencies()
    for _ in range(5_000):
        many.add(0.0)
    assert many.percentile(99) == 0.0
