"""Comparing runs: what counts as a change, of which kind, and what never passes."""

import contextlib
import copy
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_snap import (
    Anything,
    Change,
    IgnoreKeys,
    Number,
    Recording,
    Regex,
    Replay,
    SnapMismatch,
    Snapshot,
    compare,
)


def call(asked="q", said="a", name="m", **parts):
    got = {
        "text": said,
        "usage": {"input_tokens": 3, "output_tokens": 2},
        "cost": "0.5",
    }
    messages = [{"role": "user", "content": asked}]
    node = {
        "kind": "call",
        "name": name,
        "op": "generate",
        "given": {"messages": messages},
    }
    return {**node, "got": got, "latency": "under 1 s", **parts}


def tool(name="look", said="found", error="", **arguments):
    node = {
        "kind": "tool",
        "name": name,
        "op": "call",
        "given": arguments,
        "latency": "under 1 s",
    }
    if error:
        return {**node, "error": {"type": error, "message": said}}
    return {**node, "got": said}


def agent(name, *lanes, kind="agent", **parts):
    return {
        "kind": kind,
        "name": name,
        **parts,
        "lanes": [{"nodes": [*lane]} for lane in lanes],
    }


def run(*lanes, **parts):
    return Snapshot(agent("run", *lanes, kind="run", **parts))


def kinds(old, new, **settings):
    return sorted({change.kind for change in compare(old, new, **settings).changes})


texts = st.sampled_from(["a", "b", "c\nd", ""])
errors = st.sampled_from(["", "", "", "builtins.ValueError", "builtins.KeyError"])
calls = st.builds(
    call,
    texts,
    texts,
    st.sampled_from(["m", "n"]),
    latency=st.sampled_from(["under 1 s", "under 10 s"]),
)
tools = st.builds(tool, st.sampled_from(["look", "add"]), texts, errors, q=texts)
leaves = calls | tools


def inside(nodes):
    lanes = st.lists(st.lists(nodes, min_size=1, max_size=4), max_size=3)
    return st.builds(
        lambda name, lanes, got: agent(name, *lanes, got=got), texts, lanes, texts
    )


nodes = st.recursive(leaves, inside, max_leaves=8)
runs = st.lists(st.lists(nodes, min_size=1, max_size=4), max_size=3).map(
    lambda lanes: run(*lanes)
)


@given(runs)
def test_a_run_is_the_same_as_itself(one):
    found = compare(one, Snapshot(copy.deepcopy(one.root)), allow=())
    assert found.changes == ()
    assert found.passed
    assert str(found) == "the run is the same"


@pytest.mark.soak
@given(runs, runs)
def test_the_same_kinds_of_changes_are_found_from_both_sides(one, two):
    there, back = compare(one, two), compare(two, one)
    assert sorted(c.kind for c in there.changes) == sorted(c.kind for c in back.changes)
    assert there.passed == back.passed
    assert (one.root == two.root) <= there.passed
    str(there)


def shuffled(node, rng):
    lanes = [
        {"nodes": [shuffled(one, rng) for one in lane["nodes"]]}
        for lane in node.get("lanes", ())
    ]
    rng.shuffle(lanes)
    return {**node, "lanes": lanes}


@given(runs, st.integers())
def test_what_happened_at_once_has_no_order(one, seed):
    other = Snapshot(shuffled(one.root, random.Random(seed)))
    assert compare(one, other, allow=()).changes == ()


def failing(snapshot):
    return sorted(n["error"]["type"] for n in snapshot.nodes() if "error" in n)


@pytest.mark.soak
@given(runs, runs)
def test_a_run_in_which_other_things_fail_never_passes(one, two):
    every = {
        "input",
        "output",
        "tool set",
        "tool order",
        "calls",
        "order",
        "cost",
        "tokens",
        "latency",
    }
    found = compare(one, two, allow=every, matchers={"*": Anything()})
    if failing(one) != failing(two):
        assert not found.passed
    assert {change.kind for change in found.failures} <= {"error"}


BEFORE = run([agent("team", [call(), tool(), tool("add", a=1)], got="fine")])
CHANGES = {
    "output": [agent("team", [call(said="b"), tool(), tool("add", a=1)], got="fine")],
    "input": [agent("team", [call(asked="p"), tool(), tool("add", a=1)], got="fine")],
    "tool order": [agent("team", [call(), tool("add", a=1), tool()], got="fine")],
    "order": [agent("team", [tool(), call(), tool("add", a=1)], got="fine")],
    "tool set": [agent("team", [call(), tool()], got="fine")],
    "calls": [agent("team", [call(), call("again"), tool(), tool("add", a=1)], got="fine")],
    "latency": [agent("team", [call(latency="over 1 min"), tool(), tool("add", a=1)], got="fine")],
    "error": [agent("team", [call(), tool(), tool("add", a=1)], error={"type": "E", "message": ""}, got="fine")],
    "cost": [agent("team", [call(got={**call()["got"], "cost": "0.6"}), tool(), tool("add", a=1)], got="fine")],
    "tokens": [agent("team", [call(got={**call()["got"], "usage": {"input_tokens": 4, "output_tokens": 2}}), tool(), tool("add", a=1)], got="fine")],
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_each_kind_of_change_is_told_apart(kind):
    after = run(CHANGES[kind])
    assert kinds(BEFORE, after) == [kind]
    if kind != "error":
        assert compare(BEFORE, after, allow=[kind]).passed
    assert compare(BEFORE, after).passed == (kind == "latency")


def test_a_second_tool_that_newly_fails_never_passes():
    one = run([tool(error="E", q=1), tool(q=2), tool(q=3)])
    two = run([tool(error="E", q=1), tool(q=2), tool(error="E", q=3)])
    found = compare(
        one, two, matchers={"*": Anything()}, allow=["output", "input", "tool set"]
    )
    assert [change.kind for change in found.failures] == ["error"]
    found = compare(one, run([tool(error="E", q=1), tool(q=2), tool(error="F", q=3)]))
    assert not found.passed
    more = run([tool(error="E", q=1), tool(q=2), tool(q=3), tool(error="E", q=4)])
    assert not compare(
        one, more, matchers={"*": Anything()}, allow=["tool set", "output", "input"]
    ).passed
    assert not compare(
        one, run([tool(q=1), tool(q=2), tool(q=3)]), matchers={"*": Anything()}
    ).passed


def test_the_message_of_an_error_may_vary_where_a_matcher_says_so_and_its_type_never():
    one, two = (
        run([tool(said="at 12:01", error="E")]),
        run([tool(said="at 13:37", error="E")]),
    )
    assert kinds(one, two) == ["output"]
    assert kinds(one, two, matchers={"*.error.message": Regex(r"\d\d:\d\d")}) == []


@pytest.mark.parametrize("kind", ["error", "budget", "mood"])
def test_some_kinds_are_never_allowed(kind):
    with pytest.raises(
        ValueError, match=f"{kind!r}, which is no change or never allowed"
    ):
        compare(BEFORE, BEFORE, allow=[kind])


def test_the_budget_is_asserted_beside_equality():
    assert compare(BEFORE, BEFORE, max_usd="0.5", max_tokens=5).passed
    found = compare(BEFORE, BEFORE, max_usd=0.4, max_tokens=4, allow=["cost", "tokens"])
    assert [(c.kind, c.path, c.new) for c in found.failures] == [
        ("budget", "run.usd", "0.5"),
        ("budget", "run.tokens", 5),
    ]
    unknown = run([call(got={**call()["got"], "cost": None})])
    assert compare(unknown, unknown, max_usd=100).failures[0].new == "unknown"
    assert unknown.usd is None


def test_one_that_waited_and_one_that_did_not_have_no_order_to_differ_in():
    assert compare(run([call("a"), call("b")]), run([call("b")], [call("a")])).passed
    assert kinds(run([call("a"), call("b")]), run([call("b"), call("a")])) == ["order"]


def test_a_difference_reads_well():
    old = run(
        [
            agent(
                "desk",
                [call(said="First.\nSecond.\nThird."), tool()],
                [tool(q=1), tool(q=2)],
            )
        ]
    )
    new = run(
        [
            agent(
                "desk",
                [call(said="First.\n2nd.\nThird."), tool(error="E")],
                [tool(q=1), tool(q="x" * 999)],
            )
        ]
    )
    text = str(compare(old, new))
    assert text.startswith("the run changed: 1 output, 1 error, 1 input\n")
    assert (
        "output: desk/m.generate().got.text\n    @@ -1,3 +1,3 @@\n     First.\n    -Second.\n    +2nd."
        in text
    )
    assert "error: desk/look()" in text
    assert "(1001 characters)" in text
    with pytest.raises(SnapMismatch, match=r"desk/m\.generate") as failed:
        compare(old, new).check()
    assert {change.kind for change in failed.value.changes} == {
        "input",
        "error",
        "output",
    }
    assert isinstance(failed.value, AssertionError)


def test_a_long_difference_of_texts_is_cut():
    old, new = ("\n".join(f"{n} {word}" for n in range(500)) for word in ("a", "b"))
    text = str(Change("output", "x", old, new))
    assert text.endswith("... 941 lines more")


def test_what_is_there_once_only_is_called_absent():
    text = str(compare(run([call()]), run([call(), tool(q=1)])))
    assert '- (absent)\n    + {"given":{"q":1},"got":"found"}' in text
    assert "- (absent)" in str(compare(run([]), run([], got={"a": None})))


UUIDS = "0e37df36-f698-11e6-8dd4-cb9ced3df976", "123e4567e89b12d3a456426614174000"


@pytest.mark.parametrize(
    ("matcher", "old", "new", "same"),
    [
        (Anything(), 1, {"x": [2]}, True),
        (Regex(r"\d+ ms"), "in 12 ms.", "in 7 ms.", True),
        (Regex(r"\d+ ms"), "in 12 ms.", "after 7 ms.", False),
        (Regex(r"\d+"), ["a1", {"k": "b2"}], ["a3", {"k": "b4"}], True),
        (Regex(r"\d+"), 1, 2, False),
        (Regex.UUID, *(f"job {one}" for one in UUIDS), True),
        (Regex.UUID, "job 1", "job 2", False),
        (Regex.TIMESTAMP, "at 2026-11-20T12:00:00.123Z", "at 2026-11-21 01:02", True),
        (Regex.TIMESTAMP, "on 2026-11-20", "on 2025-01-02 or so", False),
        (Number(rel=0.1), 100, 109, True),
        (Number(rel=0.1), 100, 120, False),
        (Number(abs=2), "1.5", "3.5", True),
        (Number(abs=2), "one", "two", False),
        (Number(abs=2), True, False, False),
        (
            IgnoreKeys("id", "at"),
            {"id": 1, "n": [{"at": 2}]},
            {"id": 3, "n": [{}]},
            True,
        ),
        (IgnoreKeys("id"), {"id": 1, "n": 1}, {"id": 3, "n": 2}, False),
    ],
)
def test_matchers_let_vary_what_they_say(matcher, old, new, same):
    one, two = run([tool(said=old)]), run([tool(said=new)])
    for pair in ((one, two), (two, one)):
        assert compare(*pair, matchers={"look().got": matcher}).passed == same
        assert not compare(*pair, matchers={"elsewhere*": matcher}).passed
    assert compare(one, one, matchers={"*": matcher}).passed


def test_matchers_hold_at_paths_without_their_numbers():
    one = run([agent("a", [tool(q=1), tool(q=2)]), agent("a", [tool(said="x", q=3)])])
    two = run([agent("a", [tool(q=1), tool(q=2)]), agent("a", [tool(said="y", q=3)])])
    assert [change.path for change in compare(one, two).changes] == ["a#2/look().got"]
    assert compare(one, two, matchers={"a/look().got": Anything()}).passed


def test_what_is_anything_may_be_missing_too():
    one, two = run([tool(said={"a": 1})]), run([tool(said={"a": 1, "b": 2})])
    assert compare(one, two, matchers={"look().got.b": Anything()}).passed
    assert not compare(one, two, matchers={"look().got.c": Anything()}).passed


def test_a_matcher_that_is_none_is_refused():
    with pytest.raises(TypeError, match=r"matchers\['x'\] is Anything\(\), .* not 5"):
        compare(BEFORE, BEFORE, matchers={"x": 5})
    with pytest.raises(TypeError, match="Anything"):
        compare(BEFORE, BEFORE, matchers={"x": Anything})
    with pytest.raises(Exception, match="unterminated"):
        Regex("[")


def test_true_is_not_one():
    assert kinds(run([tool(said=True)]), run([tool(said=1)])) == ["output"]
    assert kinds(run(got=1), run(got=True)) == ["output"]


def test_cost_and_usage_are_those_of_models_only():
    old, new = (run([tool(said={"cost": n, "usage": n})]) for n in (1, 2))
    assert kinds(old, new) == ["output"]
    assert not compare(old, new, allow=("cost", "tokens")).passed


def test_allowing_another_order_of_calls_does_not_allow_one_of_tools():
    old = run([tool("a"), call(), tool("b")])
    new = run([tool("b"), tool("a"), call()])
    assert not compare(old, new, allow=("order",)).passed
    assert kinds(old, run([tool("a"), tool("b"), call()])) == ["order"]


def test_no_number_is_near_infinity():
    matchers = {"run.got": Number(rel=0.1)}
    assert not compare(run(got="5"), run(got="inf"), matchers=matchers).passed


@pytest.mark.parametrize("amount", ["NaN", "much", -1, float("nan")])
def test_a_limit_that_is_no_amount_is_refused_at_once(amount, tmp_path):
    with pytest.raises(ValueError, match="max_usd is an amount"):
        compare(run(), run(), max_usd=amount)
    with pytest.raises(ValueError, match="max_usd is an amount"):
        Recording(tmp_path / "run.json", max_usd=amount)


def test_another_type_inside_of_a_group_never_passes(tmp_path):
    def work(session, *errors):
        with contextlib.suppress(ExceptionGroup), session.agent("team"):
            raise ExceptionGroup("two failed", list(errors))

    path = tmp_path / "run.json"
    with Recording(path) as first:
        work(first, ValueError("a"), KeyError("b"))
    with Replay(path) as again:
        work(again, KeyError("b"), ValueError("a"))
    with Replay(path, check=False, matchers={"*": Anything()}) as other:
        work(other, TypeError("a"), KeyError("b"))
    assert [change.kind for change in other.compare().failures] == ["error"]
    assert "TypeError: a" in str(other.compare())
    with Replay(path, check=False) as other:
        work(other, ValueError("a"), KeyError("c"))
    assert {change.kind for change in other.compare().failures} == {"output"}


def test_the_same_amount_is_the_same_cost_however_it_is_written():
    def costing(cost):
        return run([call(got={**call()["got"], "cost": cost})])

    assert kinds(costing("0.10"), costing("0.1")) == []
    assert kinds(costing("10"), costing("1E+1")) == []
    assert kinds(costing("0.10"), costing("0.11")) == ["cost"]
    assert kinds(costing("0"), costing(None)) == ["cost"]


def test_an_agent_called_like_a_tool_is_no_tool():
    assert kinds(run([tool("look")]), run([agent("look()")])) == ["calls", "tool set"]
