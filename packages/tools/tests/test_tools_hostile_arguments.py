"""Arguments, signatures and limits as somebody would give them who means harm, or is tired."""

import asyncio
import functools
import json
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from waybell_tools import ToolArgumentsError, ToolLimitError, ToolRegistry
from waybell_tools._limits import Quota


@dataclass
class Point:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError(f"{self.x} is too small")


@dataclass
class Picky:
    x: int

    def __post_init__(self) -> None:
        if self.x == 1:
            raise AssertionError("one is no good")
        {}[self.x]


@dataclass
class Box:
    items: list[Point]
    named: dict[str, Point] = field(default_factory=dict)
    pair: tuple[Point, Point] | None = None


def registry_of(fn: Any, **settings: Any) -> ToolRegistry:
    registry = ToolRegistry()
    registry.tool(fn, name="f", **settings)
    return registry


def refused(registry: ToolRegistry, arguments: Any) -> list[tuple[str, str]]:
    with pytest.raises(ToolArgumentsError) as caught:
        registry.call("f", arguments)
    return list(caught.value.problems)


def test_all_that_classes_refuse_is_told_wherever_it_is() -> None:
    def f(a: Box) -> None: ...

    given = {
        "items": [{"x": -1}, {"x": 1}, {"x": -2}],
        "named": {"k": {"x": -3}, "l": {"x": -4}},
        "pair": [{"x": -5}, {"x": -6}],
    }
    assert refused(registry_of(f), {"a": given}) == [
        (f"a.{path}", f"{x} is too small")
        for path, x in (
            ("items[0]", -1), ("items[2]", -2), ("named.k", -3), ("named.l", -4),
            ("pair[0]", -5), ("pair[1]", -6),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("x", "why"), [(1, "one is no good"), (2, "2")])
def test_whatever_a_class_raises_is_a_problem_of_its_argument(x, why) -> None:
    def f(a: Picky) -> None: ...

    assert refused(registry_of(f), {"a": {"x": x}}) == [("a", why)]


def test_a_refusal_is_short_whatever_was_given() -> None:
    def f(a: dict[str, Point]) -> None: ...

    registry, key = registry_of(f), "k" * 100_000
    for value in ({"x": "y" * 100_000}, {"x": -1}, {key: 1}):
        given = {"a": {f"{n}{key}": value for n in range(200)}}
        assert len(refused(registry, given)) == 100
        told = registry.result({"name": "f", "arguments": given})
        assert len(json.dumps(told["error"])) < 100_000


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1.5e400", "NaN", "-Infinity"])
def test_no_number_of_a_text_is_infinite(number) -> None:
    registry = registry_of(lambda a: a)
    ((path, text),) = refused(registry, f'{{"a": [{number}]}}')
    assert (path, number in text) == ("arguments", True)


@pytest.mark.parametrize("name", ["root", "idempotency_key", "deadline"])
def test_what_is_bound_or_filled_by_the_caller_is_no_argument_of_a_model(name) -> None:
    """Also with a schema that does not say so."""

    def f(path: str, root: str, *, idempotency_key: str, deadline: Any = None) -> str:
        return root

    bound = functools.partial(f, root="/safe")
    for registry in (registry_of(bound, schema={}), registry_of(bound)):
        assert registry.call("f", {"path": "a"}) == "/safe"
        ((_, text),) = refused(registry, {"path": "a", name: "/"})
        assert name in text


def test_what_is_told_of_a_tool_is_a_copy() -> None:
    schema = {"properties": {"a": {"type": "integer"}}}
    registry = registry_of(lambda a: a, schema=schema)
    schema["properties"].clear()
    for form in ("neutral", "openai"):
        registry.specs(form)[0].popitem()
    registry.specs()[0]["input_schema"]["properties"].clear()
    assert registry.specs()[0]["input_schema"]["properties"] == {
        "a": {"type": "integer"}
    }


@pytest.mark.parametrize("rate", ["", 5, b"1/minute", "1/minute/"], ids=repr)
def test_a_rate_that_is_none_is_refused(rate) -> None:
    with pytest.raises(ValueError, match="rate is like"):
        registry_of(lambda: 1, rate=rate)


@pytest.mark.parametrize("limit", ["max_abandoned", "max_threads"])
@pytest.mark.parametrize("value", [0, -1, "x", True, None, float("nan")], ids=repr)
def test_a_limit_of_the_registry_that_is_none_is_refused(limit, value) -> None:
    with pytest.raises((TypeError, ValueError), match=limit):
        ToolRegistry(**{limit: value})


def test_a_call_given_back_is_the_one_that_was_taken() -> None:
    """Else a later one, which did run, would not count."""
    time = [0.0]
    quota = Quota(None, "2/minute", lambda: time[0])
    early = quota.take("t")
    time[0] = 50
    quota.take("t")
    quota.give_back(early)
    quota.give_back(early)
    time[0] = 61
    quota.take("t")
    with pytest.raises(ToolLimitError, match="the next in 49 s"):
        quota.take("t")


def test_a_rate_goes_on_when_another_loop_counts_from_zero() -> None:
    time = [1_000_000.0]
    quota = Quota(None, "1/minute", lambda: time[0])
    quota.take("t")
    time[0] = 0.0
    quota.take("t")
    with pytest.raises(ToolLimitError):
        quota.take("t")


async def test_a_long_value_is_cut_in_the_thread_that_made_it() -> None:
    threads = []

    class Value(dict):
        def items(self):
            threads.append(threading.current_thread())
            return super().items()

    registry = registry_of(lambda: Value(a=1))
    await registry.acall("f")
    await asyncio.to_thread(registry.call, "f")
    assert threads
    assert {thread.name for thread in threads} == {"waybell-tools"}


@dataclass
class Lost:
    other: "Nowhere"  # noqa: F821 - what is tested


def test_a_class_that_names_what_is_not_there_is_refused_with_its_parameter() -> None:
    def f(a: list[Lost]) -> None: ...

    with pytest.raises(TypeError, match=r"parameter a: .*'Nowhere' is not defined"):
        ToolRegistry([f])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type X = ...` is newer")
def test_an_alias_of_itself_is_refused_with_its_parameter() -> None:
    names: dict[str, Any] = {}
    exec("type Json = int | list[Json]\ndef f(a: Json): ...", names)
    with pytest.raises(TypeError, match="parameter a: "):
        ToolRegistry([names["f"]])


@pytest.mark.parametrize(("count", "told"), [(1_000, 100), (2_000, 1)])
def test_problems_are_listed_unless_that_would_stall_a_loop(count, told) -> None:
    def f(a: list[int | bool | None]) -> None: ...

    assert len(refused(registry_of(f), {"a": ["x"] * count})) == told
