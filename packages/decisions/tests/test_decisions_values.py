import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import sys
import threading
import types
import uuid
from collections import OrderedDict, UserDict
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_decisions import DecisionLog
from waybell_decisions._encode import MARK, encode, plain, simpler, to_json


@pytest.fixture
def written(log, path, strict):
    """Record a value, check that it is strict JSON, and return what stands there."""

    def write(value):
        log.record(decision="x", value=value)
        (record,) = DecisionLog.read(path).tail(1)
        assert strict(path)[-1]["value"] == record["value"]
        return record["value"]

    return write


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


class BrokenMapping(UserDict):
    def __iter__(self):
        raise RuntimeError("no")


class Liar:
    @property
    def __class__(self):
        raise RuntimeError("no")


class Endless:
    def model_dump(self):
        return Endless()


class Pydantic:
    def model_dump(self):
        return {"a": {1, 2}}


class OddZone(dt.tzinfo):
    def utcoffset(self, when):
        return dt.timedelta(hours=1)

    def tzname(self, when):
        return "odd"

    def dst(self, when):
        return None


class Colour(enum.Enum):
    RED = "red"
    BOTH = frozenset({"red"})


class Number(int):
    def __repr__(self):
        return "lie"


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "lie"


class Real(float):
    pass


@dataclasses.dataclass
class Data:
    name: str
    secret: object = dataclasses.field(default_factory=set)
    _hidden: int = 1


class Row(NamedTuple):
    a: int
    b: object


ODD = [
        (math.nan, None),
        (math.inf, None),
        ([-math.inf, {"x": math.nan}, {1}], [None, {"x": None}, [1]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset("ba"), ["a", "b"]),
        (b"abc", "abc"),
        (bytearray(b"\xff"), "\\xff"),
        (memoryview(b"m"), "m"),
        ("\ud800x", "\\ud800x"),
        ({"\udc80": 1}, {"\\udc80": 1}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        ([Number(7), 2**70], [7, str(2**70)]),
        ([Text("t"), 2**70], ["t", str(2**70)]),
        ([Real(1.5), 2**70], [1.5, str(2**70)]),
        ([True, None, 2**70], [True, None, str(2**70)]),
        ({1: "a", None: "b", 2.5: "c", False: "d"}, {"1": "a", "null": "b", "2.5": "c", "false": "d"}),
        ({(1, "x"): 1, Path("p"): 2}, {'[1,"x"]': 1, "p": 2}),
        (decimal.Decimal("1.10"), "1.10"),
        (Path("a/b"), "a/b"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"),
        ([dt.datetime(2026, 1, 2, tzinfo=OddZone())], ["2026-01-02T00:00:00+01:00"]),
        ([dt.date(2026, 1, 2), dt.time(1), 2**70], ["2026-01-02", "01:00:00", str(2**70)]),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        ([Colour.RED, Colour.BOTH, 2**70], ["red", ["red"], str(2**70)]),
        (Data("n"), {"name": "n", "secret": []}),
        ([Data("n", {1}), 2**70], [{"name": "n", "secret": [1]}, str(2**70)]),
        (Row(1, {2}), {"a": 1, "b": [2]}),
        ([Row(1, 2), 2**70], [{"a": 1, "b": 2}, str(2**70)]),
        (Pydantic(), {"a": [1, 2]}),
        (types.MappingProxyType({"a": (1,)}), {"a": [1]}),
        (OrderedDict(a=1), {"a": 1}),
        (ValueError("why"), {"type": "ValueError", "message": "why"}),
        (
            ExceptionGroup("g", [OSError("a"), KeyError("b")]),
            {
                "type": "ExceptionGroup",
                "message": "g (2 sub-exceptions)",
                "errors": [
                    {"type": "OSError", "message": "a"},
                    {"type": "KeyError", "message": "'b'"},
                ],
            },
        ),
        (complex(1, 2), "(1+2j)"),
        (Broken(), "[unreadable Broken: RuntimeError]"),
        ([1, Broken()], [1, "[unreadable Broken: RuntimeError]"]),
        (BrokenMapping(a=1), "[unreadable BrokenMapping: RuntimeError]"),
        ([{Broken()}], ["[unreadable set: RuntimeError]"]),
        ([Liar()], ["[unreadable Liar: RuntimeError]"]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), ODD, ids=range(len(ODD)))
def test_an_odd_value_is_written_and_is_json(written, value, expected):
    assert written(value) == expected


def test_an_integer_longer_than_python_prints_is_whole(written):
    assert written(10**5000) == "1" + "0" * 5000


def test_a_cycle_ends_where_it_begins(written):
    value = {"a": 1}
    value["self"] = value
    items = [value]
    items.append(items)
    assert written(items) == [{"a": 1, "self": "[cycle]"}, "[cycle]"]


def test_the_same_value_twice_is_no_cycle(written):
    shared = [2**70]
    assert written([shared, shared]) == [[str(2**70)], [str(2**70)]]


def test_a_value_too_deep_for_json_is_cut_below_a_hundred_levels(written):
    value = bottom = []
    for _ in range(5000):
        bottom.append([])
        bottom = bottom[0]
    found, depth = written(value), 0
    while isinstance(found, list):
        found, depth = found[0], depth + 1
    assert found == "[too deep]"
    assert depth > 90


def test_an_object_that_never_gets_simpler_ends(written):
    assert written(Endless()) == "[too deep]"


def test_a_value_is_written_even_where_the_stack_is_nearly_full(log, path, strict):
    deep = []
    for _ in range(80):
        deep = [deep, {1}]

    def fall(left):
        if left:
            return fall(left - 1)
        return log.record(decision="x", value=[deep, 2**70])

    frame, used = sys._getframe(), 0
    while frame:
        frame, used = frame.f_back, used + 1
    assert fall(sys.getrecursionlimit() - used - 60)
    assert strict(path)[0]["decision"] == "x"


def test_a_huge_text_is_whole(written):
    assert written("é" * 5_000_000) == "é" * 5_000_000


def test_values_changed_by_another_thread_meanwhile_are_written(log, path, strict):
    shared, done = {"odd": 2**70}, threading.Event()

    def change():
        while not done.is_set():
            for n in range(50):
                shared[f"k{n}"] = n
            for n in range(50):
                del shared[f"k{n}"]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            log.record(decision="x", shared=shared)
    finally:
        done.set()
        thread.join()
    assert {r["shared"]["odd"] for r in strict(path)} == {str(2**70)}


def test_an_interrupt_while_encoding_is_not_swallowed(log, path):
    stops = []

    class Interrupting:
        def __repr__(self):
            raise stops.pop() if stops else ValueError  # Asked again, it would let go.

    for value in (Interrupting(), [2**70, Interrupting()]):
        stops.append(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            log.record(decision="x", value=value)
    assert path.read_bytes() == b""


def test_the_beginning_of_a_line_can_be_faked_by_no_value(log, path):
    fake = MARK.decode() + 'x"}'
    log.record(decision=fake, nested={"v": 1, "id": "x", "time": 0}, key={fake: [fake]})
    assert path.read_bytes().count(MARK) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text()
    | st.binary() | st.text(st.characters(categories=["Cs", "L"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.text(max_size=5) | st.integers() | st.none() | st.floats(), inner, max_size=4
    )
    | st.frozensets(st.integers() | st.text(), max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_whatever_is_given_one_strict_line_comes_out(fields):
    line = encode(fields)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert MARK not in line

    def refuse(name):
        raise AssertionError(name)

    found = json.loads(line, parse_constant=refuse)
    assert found == orjson.loads(line) or str(found)
    assert len(found) <= len(fields)


@given(JSON)
def test_the_slow_way_says_what_the_fast_way_says(value):
    try:
        fast = orjson.dumps(value, simpler)
    except TypeError:
        assert json.loads(to_json(value)) == plain(value)
    else:
        assert orjson.loads(fast) == orjson.loads(to_json(value))


class _Float(float):
    pass


class _Tuple(tuple):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (_Float(1.5), 1.5),
        (_Float("nan"), None),
        (_Tuple([1, (2,)]), [1, [2]]),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    ],
)
@pytest.mark.parametrize("redact", ["", "other"])
def test_a_value_is_written_alike_with_and_without_redaction(
    tmp_path, value, written, redact
):
    log = DecisionLog(tmp_path / "log.jsonl", redact=redact)
    log.record("x", it=value)
    log.record("x", it=value, beside={1: "keys that are no text take another way"})
    assert [r["it"] for r in log.query(where={"it": value})] == [written] * 2
