"""The file: what a diff shows, what old ones say, and what is no recording."""

import contextlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters import Reply, ScriptedAdapter
from waybell_snap import Recording, Replay, Snapshot
from waybell_snap._match import canonical
from waybell_snap._values import decode, dumps, encode
from waybell_tools import ToolRegistry


GOLDEN = Path(__file__).parent / "golden"
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
values = st.recursive(
    json_values
    | st.floats(allow_nan=False)
    | st.binary()
    | st.decimals(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_every_value_comes_back_from_the_file_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    Snapshot({"kind": "run", "name": "run", "got": encode(value)}).save(path)
    again = decode(Snapshot.load(path).root["got"])
    assert again == value
    assert repr(again) == repr(value)


@given(json_values)
def test_the_canonical_form_is_one_and_stable(value):
    form = canonical(encode(value), ids=True)
    assert dumps(canonical(form, ids=True)) == dumps(form)
    assert dumps(canonical(encode(turned(value)), ids=True)) == dumps(form)


def turned(value):
    """The same value with the keys the other way round, and integers as floats."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [turned(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


@given(json_values, json_values)
def test_different_values_have_different_canonical_forms(one, two):
    if dumps(canonical(encode(one), ids=False)) == dumps(
        canonical(encode(two), ids=False)
    ):
        assert one == two


def test_only_ids_of_messages_are_renamed():
    given = {
        "messages": [
            {"id": "x", "tool_calls": [{"id": "y", "arguments": {"id": "own"}}]},
            {"tool_call_id": "y"},
        ]
    }
    form = canonical(given, ids=True)
    assert form["messages"][0]["tool_calls"][0]["arguments"]["id"] == "own"
    assert (
        form["messages"][0]["tool_calls"][0]["id"]
        == form["messages"][1]["tool_call_id"]
    )
    assert canonical({"id": "own"}, ids=False) == {"id": "own"}


def test_odd_values_are_known_by_their_type_or_their_fields():
    class Cyclic(list):
        pass

    loop = Cyclic()
    loop.append(loop)
    assert encode(loop)["$type"].endswith("Cyclic")
    assert encode({3, 1, 2}) == [1, 2, 3]
    assert encode([print, type]) == [
        {"$type": "builtins.builtin_function_or_method"},
        {"$type": "builtins.type"},
    ]
    assert encode({"error": ValueError("no"), "reply": Reply("a")}, brief=True) == {
        "error": {"$error": {"type": "builtins.ValueError", "message": "no"}},
        "reply": "a",
    }
    reply = decode(encode(Reply("a", cost="0.1", model="m")))
    assert (reply, reply.cost, reply.model) == ("a", Decimal("0.1"), "m")


def test_texts_of_several_lines_are_lines_of_the_file(tmp_path):
    path = tmp_path / "deep" / "er" / "run.json"
    with Recording(path) as run:
        run.adapter(ScriptedAdapter(["One\nline\ud800 at a time."])).generate(
            "Zwölf\n\n"
        )
    text = path.read_text("utf-8")
    assert '"Zwölf",\n' in text
    assert "line\\ud800 at a time." in text
    with Replay(path) as run:
        assert (
            run.adapter(ScriptedAdapter([])).generate("Zwölf\n\n")
            == "One\nline\ud800 at a time."
        )


def test_equal_runs_are_equal_files(tmp_path):
    for name in ("one", "two"):
        with Recording(tmp_path / name) as run:
            run.adapter(ScriptedAdapter(["a"])).generate("go", temperature=0.5, top_k=1)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_new_file_is_its_owners_and_an_old_one_keeps_its_mode(tmp_path):
    path = tmp_path / "run.json"
    Snapshot({"kind": "run", "name": "run"}).save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    Snapshot({"kind": "run", "name": "run"}).save(path)
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_written_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "run.json"
    Snapshot({"kind": "run", "name": "run"}).save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        Snapshot({"kind": "run", "got": float("nan")}).save(path)
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()
    with pytest.raises(OSError):
        Snapshot({"kind": "run", "name": "run"}).save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]
    assert before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"waybell_snap": 1}',
        '{"waybell_snap": "x", "run": {}}',
        "5",
        "[" * 100_000,
        *(
            f'{{"waybell_snap": 1, "run": {run}}}'
            for run in (
                "5",
                "{}",
                '{"kind": "run", "name": "run", "got": {"$lines": [5]}}',
                '{"kind": "run", "name": 5}',
                '{"kind": "run", "name": "run", "lanes": [{"nodes": [5]}]}',
                '{"kind": "run", "name": "run", "error": {}}',
                '{"kind": "call", "name": "m", "got": {"usage": {}, "cost": "much"}}',
                '{"kind": "call", "name": "m", "got": {"text": ""}}',
            )
        ),
    ],
)
def test_what_is_no_recording_is_named(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"run.json (is no recording|has schema 'x')"):
        Replay(path)


def test_a_newer_schema_is_refused_by_its_number(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"waybell_snap": 3, "run": {}}')
    with pytest.raises(
        ValueError, match="has schema 3, and this waybell-snap reads up to 2"
    ):
        Snapshot.load(path)


def golden(session):
    """The run in golden/schema_1.json."""
    registry = ToolRegistry()

    @registry.tool
    def look(what: str) -> dict:
        """Look."""
        if what == "nothing":
            raise LookupError("nothing there")
        return {"what": what, "size": 1.5, "pair": (1, b"\x00")}

    calls = [
        {"id": "1", "name": "look", "arguments": {"what": w}}
        for w in ("bell", "nothing")
    ]
    model = session.adapter(
        ScriptedAdapter([Reply("Text\nof lines.", cost="0.25", model="big")]),
        name="writer",
    )
    with session.agent("desk", goal="bells"):
        model.stream("Write.\nBriefly.", system="You write.", temperature=0.5).read()
        for call in calls:
            session.tools(registry).result(call)
        session.output(["done"])


def test_a_file_of_schema_1_still_replays(tmp_path):
    path = GOLDEN / "schema_1.json"
    if os.environ.get("WAYBELL_GOLDEN") == "write":
        with Recording(path, clock=lambda: 0.0) as run:
            golden(run)
    with Replay(path) as run:
        golden(run)
    assert run.snapshot.root == run.recorded.root
    assert (run.snapshot.usd, run.snapshot.tokens) == (Decimal("0.25"), 5)
    run.snapshot.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert json.loads(path.read_text("utf-8"))["waybell_snap"] == 1


def deep(session):
    """The run in golden/schema_2.json: deeper than the JSON of a file goes."""
    model = session.adapter(ScriptedAdapter(["Found."], repeat=True), name="m")
    with contextlib.ExitStack() as stack:
        for number in range(40):
            stack.enter_context(session.agent("digger", at=f"{number}\nmetres"))
            if number % 20 == 0:
                model.generate("Dig.")
    session.output("done")


def test_a_file_of_schema_2_still_replays_and_is_used_for_deep_runs_only(tmp_path):
    path = GOLDEN / "schema_2.json"
    if os.environ.get("WAYBELL_GOLDEN") == "write":
        with Recording(path, clock=lambda: 0.0) as run:
            deep(run)
    with Replay(path) as run:
        deep(run)
    run.snapshot.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    data = json.loads(path.read_text("utf-8"))
    assert (data["waybell_snap"], len(data["deeper"])) == (2, 1)


@pytest.mark.parametrize("place", [0, 1, 7, "x", None])
def test_a_deep_file_whose_parts_are_missing_or_inside_themselves_is_none(
    tmp_path, place
):
    data = json.loads((GOLDEN / "schema_2.json").read_text("utf-8"))
    node = data["deeper"][-1]
    while "lanes" in node:
        node = node["lanes"][0]["nodes"][-1]
    node["lanes"] = [{"nodes": [{"$deeper": place}]}]
    path = tmp_path / "run.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"run\.json is no recording"):
        Snapshot.load(path)


WRITERS = """
import os, signal, sys
from waybell_adapters import ScriptedAdapter
from waybell_snap import Recording, Snapshot

def write_for_ever(name, told):
    while True:
        with Recording(sys.argv[1], redact=False) as run:
            run.adapter(ScriptedAdapter(["x" * 200_000])).generate(name)
        os.write(told, b"%d" % len([*Snapshot.load(sys.argv[1]).nodes()]))

for kill in range(int(sys.argv[2])):
    writers = []
    for number in range(2):
        heard, told = os.pipe()
        if not (process := os.fork()):
            write_for_ever(str(number), told)
        writers.append((process, heard))
    for process, heard in writers:
        assert {os.read(heard, 1) for _ in range(kill % 5 + 1)} == {b"2"}
    for process, heard in writers:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    print(len([*Snapshot.load(sys.argv[1]).nodes()]))
"""


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")
def test_writers_that_are_killed_or_write_at_once_leave_a_whole_file(tmp_path):
    kills = os.environ.get("WAYBELL_KILLS", "20")
    command = [sys.executable, "-c", WRITERS, str(tmp_path / "run.json"), kills]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    assert told.stdout.split() == [b"2"] * int(kills)


def test_the_outline_of_a_run_shows_what_failed_and_what_was_at_once():
    assert str(Snapshot.load(GOLDEN / "schema_1.json")) == (
        "run\n  desk\n    writer.stream()\n    look()\n    look()  failed: builtins.LookupError"
    )
    lanes = [
        {"nodes": [{"kind": "tool", "name": n}, {"kind": "agent", "name": "x"}]}
        for n in "ab"
    ]
    root = {"kind": "run", "name": "run", "lanes": lanes}
    assert str(Snapshot(root)) == "run\n  - a()\n    x\n  - b()\n    x"


def test_mappings_of_odd_keys_have_one_form_too():
    one, two = ({"": None, "$": 1, 3: 2.0}, {3: 2, "$": 1, "": None})
    assert canonical(encode(one), ids=False) == canonical(encode(two), ids=False)


def test_values_too_deep_or_long_for_json_are_known_by_their_type():
    deep = 5
    for _ in range(300):
        deep = [deep]
    assert encode(deep) == {"$type": "builtins.list"}
    assert encode([10**5000]) == [{"$type": "builtins.int"}]
    assert encode({"a": [[1]]}) == {"a": [[1]]}
