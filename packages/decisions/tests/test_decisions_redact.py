import contextlib
import dataclasses
import gc
import sys

import pytest

from waybell_decisions import DecisionLog


SECRET = "hunter2"


@dataclasses.dataclass
class User:
    name: str
    password: str


def test_named_values_are_replaced_at_any_depth_and_in_any_case(path, strict):
    with DecisionLog(path, redact=["password", "*_KEY"]) as log:
        log.bind(Password=SECRET).record(
            decision="x",
            api_key=[SECRET],
            nested=[{"a": {"PassWord": SECRET, "n": 1}}],
            user=User("u", SECRET),
        )
    (record,) = strict(path)
    assert record["Password"] == record["api_key"] == "[redacted]"
    assert record["nested"] == [{"a": {"PassWord": "[redacted]", "n": 1}}]
    assert record["user"] == {"name": "u", "password": "[redacted]"}
    assert SECRET.encode() not in path.read_bytes()


def test_one_name_may_be_given_alone(path, strict):
    with DecisionLog(path, redact="token", drop="draft") as log:
        log.record(decision="x", token=SECRET, tok=1, draft=SECRET)
    (record,) = strict(path)
    assert (record["token"], record["tok"]) == ("[redacted]", 1)
    assert "draft" not in record


def test_dropped_names_leave_nothing(path, strict):
    with DecisionLog(path, drop=["prompt"]) as log:
        log.record(decision="x", prompt=SECRET, a=[{"prompt": SECRET, "b": 1}])
    (record,) = strict(path)
    assert "prompt" not in record
    assert record["a"] == [{"b": 1}]


def test_a_function_judges_each_value(path, strict):
    def scrub(key, value):
        return value.replace(SECRET, "***") if isinstance(value, str) else value

    with DecisionLog(
        path, redact=scrub, drop=lambda key, value: value == "drop me"
    ) as log:
        log.record(decision="x", text=f"my {SECRET}", items=["drop me", SECRET, 1])
    (record,) = strict(path)
    assert record["text"] == "my ***"
    assert record["items"] == ["***", 1]


def test_what_a_function_puts_in_place_is_written_as_it_is(path, strict):
    with DecisionLog(path, redact=lambda key, value: {1, 2}) as log:
        log.record(decision="x", a={"b": 1})
    assert strict(path)[0]["a"] == [1, 2]


@pytest.mark.parametrize("how", ["redact", "drop"])
def test_a_function_that_fails_lets_nothing_through(path, strict, how):
    def broken(key, value):
        if key in {"secret", "items"}:
            raise RuntimeError(SECRET)
        return value if how == "redact" else False

    with DecisionLog(path, **{how: broken}) as log:
        log.record(decision="x", a=1, secret=SECRET, items=[SECRET])
    (record,) = strict(path)
    assert record["secret"] == record["items"] == "[redaction failed]"
    assert record["a"] == 1
    assert SECRET.encode() not in path.read_bytes()


def test_a_redaction_with_no_stack_left_lets_nothing_through(path, strict):
    with DecisionLog(path, redact=["password"]) as log:

        def fall(left):
            if left:
                fall(left - 1)
            else:
                log.record(decision="x", a=[[[[{"password": SECRET}]]]])

        frame, used = sys._getframe(), 0
        while frame:
            frame, used = frame.f_back, used + 1
        gc.collect()
        gc.disable()  # what others left would be finalised with no stack left, too
        try:
            for room in range(12, 60):
                with contextlib.suppress(RecursionError):  # no room even to begin
                    fall(sys.getrecursionlimit() - used - room)
        finally:
            gc.enable()
        log.record(decision="x")
    written = path.read_bytes()
    assert SECRET.encode() not in written
    assert b"[redaction failed]" in written
    assert strict(path)[-1]["decision"] == "x"


def test_a_redactor_cannot_change_the_callers_objects(path):
    def spoil(key, value):
        if isinstance(value, dict):
            value.clear()
        return value

    mine = {"a": {"b": 1}}
    with DecisionLog(path, redact=spoil) as log:
        log.record(decision="x", mine=mine)
    assert mine == {"a": {"b": 1}}


def test_everything_may_be_dropped_but_what_is_ours(path, strict):
    with DecisionLog(path, drop=["*"], context=lambda: {"trace_id": "t"}) as log:
        name = log.record(decision="x", a=1)
        log.outcome(name, a=2)
    first, second = strict(path)
    assert set(first) == {"v", "id", "time", "pid", "seq", "trace_id"}
    assert second["of"] == name


def test_what_the_context_and_the_processors_add_is_redacted_too(path, strict):
    def add(_logger, _name, fields):
        return {**fields, "password": SECRET}

    with DecisionLog(
        path, redact="*pass*", context=lambda: {"passcode": SECRET}, processors=[add]
    ) as log:
        log.record(decision="x", id={"password": SECRET})
    (record,) = strict(path)
    assert record["password"] == record["passcode"] == "[redacted]"
    assert record["fields"] == {"id": {"password": "[redacted]"}}


def test_a_key_of_a_mapping_that_is_no_text_is_judged_as_it_is_written(path):
    with DecisionLog(path, redact="b'*", drop="pass*") as log:
        log.record(decision="x", a={b"password": SECRET, ("pass",): 1})
    assert SECRET.encode() not in path.read_bytes()


def test_a_value_whose_key_cannot_be_read_is_not_written(path):
    class Odd:
        def __repr__(self):
            raise RuntimeError

    with DecisionLog(path, redact="password") as log:
        log.record(decision="x", a={Odd(): SECRET})
    assert SECRET.encode() not in path.read_bytes()
