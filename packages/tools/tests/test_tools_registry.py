import asyncio
import pickle
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waybell_tools import (
    ToolArgumentsError,
    ToolDenied,
    ToolError,
    ToolLimitError,
    ToolRegistry,
    ToolTimeoutError,
    UnknownToolError,
)


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}


@dataclass
class Place:
    x: int
    y: int

    def __post_init__(self) -> None:
        if self.x == self.y:
            raise ValueError("x and y differ")


@pytest.fixture
def registry():
    registry = ToolRegistry()

    @registry.tool
    def add(a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    return registry


def test_a_tool_is_defined_with_a_schema_of_its_own() -> None:
    registry = ToolRegistry()
    registry.define_tool(
        name="add", description="Adds.", fn=lambda a, b: a + b, schema=SCHEMA
    )
    assert registry.call("add", {"a": 1, "b": 2}) == 3
    assert registry.specs() == [
        {"name": "add", "description": "Adds.", "input_schema": SCHEMA}
    ]


def test_the_decorator_returns_the_function(registry) -> None:
    def plain(x: int) -> int:
        return x

    assert registry.tool(plain) is plain
    assert registry.tool(name="other", description="Said.")(plain) is plain
    assert list(registry) == ["add", "plain", "other"]
    assert len(registry) == 3
    assert "other" in registry
    assert registry["other"].description == "Said."


@pytest.mark.parametrize(
    "arguments", [{"a": 2, "b": 3}, '{"a": 2, "b": 3}', '{"a": 4}']
)
def test_arguments_come_as_a_mapping_or_as_json(registry, arguments) -> None:
    assert registry.call("add", arguments) == 5


@pytest.mark.parametrize("nothing", [None, "", {}, "{}"])
def test_no_arguments_may_be_said_in_every_way(nothing) -> None:
    assert ToolRegistry([ping]).call("ping", nothing) == "pong"


def ping() -> str:
    return "pong"


async def test_an_async_tool_is_called_from_both_sides(registry) -> None:
    @registry.tool
    async def wait(n: int) -> int:
        await asyncio.sleep(0)
        return n

    assert await registry.acall("wait", {"n": 1}) == 1
    assert await registry.acall("add", {"a": 1}) == 2
    assert registry.call("wait", {"n": 2}) == 2  # also where a loop runs


async def test_a_plain_function_may_return_what_is_awaited(registry) -> None:
    async def later() -> str:
        return "done"

    registry.tool(lambda: later(), name="soon")  # noqa: PLW0108 - what is tested
    assert await registry.acall("soon") == "done"
    assert registry.call("soon") == "done"


def test_every_problem_is_told_at_once(registry) -> None:
    @registry.tool
    def go(to: Place | None, how: list[str], n: int) -> None: ...

    with pytest.raises(ToolArgumentsError) as caught:
        registry.call("go", {"to": {"x": "1"}, "how": ["a", 2], "other": 1})
    assert set(caught.value.problems) == {
        ("to.x", '"1" is not of type "integer"'),
        ("to.y", "is required"),
        ("how[1]", '2 is not of type "string"'),
        ("n", "is required"),
        ("arguments", "Additional properties are not allowed ('other' was unexpected)"),
    }
    for path, text in caught.value.problems:
        assert f"{path}: {text}" in str(caught.value)


def test_what_a_class_itself_refuses_is_told_for_each_argument(registry) -> None:
    @registry.tool
    def move(start: Place, stops: list[Place], end: Place) -> None: ...

    same, fine = {"x": 1, "y": 1}, {"x": 1, "y": 2}
    with pytest.raises(ToolArgumentsError) as caught:
        registry.call("move", {"start": same, "stops": [fine, same], "end": same})
    assert caught.value.problems == tuple(
        (path, "x and y differ") for path in ("start", "stops[1]", "end")
    )


@pytest.mark.parametrize(
    "arguments",
    ["{", "[]", "1", '"a"', "null", "[" * 100_000, '{"a": NaN}', '{"a": 1e999}', '{"a": ' + "9" * 5000 + "}",
     {"a": float("nan")}, {"a": {1, 2}}, {"a": object()}, {"a": "\ud800"}, {1: 2}, b"{}", 7, ["a"],
     {"a": True}, {"a": None}, {"a": 1.5}, {"a": [[[]]]}],
    ids=lambda value: ascii(value)[:20] + str(len(str(value))),
)  # fmt: skip
def test_bad_arguments_are_an_error_of_ours(registry, arguments) -> None:
    with pytest.raises(ToolArgumentsError) as caught:
        registry.call("add", arguments)
    assert caught.value.problems
    assert len(str(caught.value)) < 1000


@settings(deadline=None)  # other programs run here too
@given(
    st.text()
    | st.binary()
    | st.recursive(
        st.none() | st.floats() | st.integers() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_any_arguments_give_a_value_or_our_error(arguments) -> None:
    registry = ToolRegistry()
    registry.define_tool(name="add", fn=lambda a, b: (a, b), schema=SCHEMA)
    try:
        a, b = registry.call("add", arguments)
    except ToolArgumentsError:
        return
    assert float(a).is_integer()
    assert float(b).is_integer()


def test_an_explicit_schema_that_the_function_does_not_take_is_a_problem() -> None:
    registry = ToolRegistry()
    registry.define_tool(name="add", fn=lambda a: a, schema=SCHEMA)
    with pytest.raises(ToolArgumentsError, match="unexpected keyword argument 'b'"):
        registry.call("add", {"a": 1, "b": 2})


def test_an_unknown_name_is_an_error_with_near_misses(registry) -> None:
    with pytest.raises(UnknownToolError, match="did you mean add") as caught:
        registry.call("addd", {})
    assert caught.value.near == ("add",)
    with pytest.raises(UnknownToolError, match=r"no tool 'zzz'$"):
        registry.call("zzz", {})
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "é", "x" * 65, "a\n", "<lambda>"])
def test_names_are_those_that_all_vendors_take(name) -> None:
    with pytest.raises(ValueError, match="name"):
        ToolRegistry().define_tool(name=name, fn=ping)


def test_a_name_is_taken_once(registry) -> None:
    with pytest.raises(ValueError, match="already"):
        registry.define_tool(name="add", fn=ping)


@pytest.mark.parametrize(
    "schema",
    [{"type": "nope"}, {"type": "array"}, {"type": "object", "properties": 1},
     {"type": "object", "$ref": "http://127.0.0.1:9/x"}, {"type": "object", "$ref": "file:///etc/passwd"},
     {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}],
    ids=str,
)  # fmt: skip
def test_a_wrong_schema_is_refused_and_nothing_is_fetched(schema) -> None:
    with pytest.raises(ValueError, match="schema"):
        ToolRegistry().define_tool(name="f", fn=ping, schema=schema)


@pytest.mark.parametrize(
    "settings",
    [{"timeout": 0}, {"timeout": "1"}, {"timeout": True}, {"max_output": -1}, {"max_uses": 0},
     {"rate": "fast"}, {"rate": "0/minute"}, {"rate": "1/day"}, {"timeout": float("nan")}],
    ids=str,
)  # fmt: skip
def test_a_wrong_limit_is_refused_with_its_value(settings) -> None:
    with pytest.raises((TypeError, ValueError)):
        ToolRegistry().tool(ping, **settings)


def test_specs_come_in_the_forms_of_the_vendors(registry) -> None:
    (neutral,) = registry.specs()
    assert registry.specs("anthropic") == [neutral]
    (openai,) = registry.specs("openai")
    assert openai == {
        "type": "function",
        "function": {
            "name": "add", "description": "Add.", "parameters": neutral["input_schema"]
        },
    }  # fmt: skip
    assert registry.specs("ollama") == [openai]
    with pytest.raises(ValueError, match="form is one of"):
        registry.specs("xml")


def test_what_a_tool_raises_is_raised(registry) -> None:
    @registry.tool
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        registry.call("fail")


async def test_a_tool_that_raises_stop_iteration_does_not_hang(registry) -> None:
    registry.tool(lambda: next(iter(())), name="stop")
    for call in (
        lambda: asyncio.to_thread(registry.call, "stop"),
        lambda: registry.acall("stop"),
    ):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await call()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_not_made_data(registry, error) -> None:
    @registry.tool
    def end() -> None:
        raise error

    with pytest.raises(error):
        registry.result({"name": "end"})


async def test_results_are_data_for_the_model(registry) -> None:
    call = SimpleNamespace(id="c1", name="add", arguments={"a": 1})
    for got in (registry.result(call), await registry.aresult(call)):
        assert got == {"id": "c1", "name": "add", "value": 2, "text": "2"}
    for got in (
        registry.result({"id": "c2", "name": "add", "arguments": '{"a": "x"}'}),
        await registry.aresult({"id": "c2", "name": "add", "arguments": '{"a": "x"}'}),
    ):
        problems = [["a", '"x" is not of type "integer"']]
        assert got["error"]["type"] == "ToolArgumentsError"
        assert got["error"]["problems"] == problems
        assert '"type": "ToolArgumentsError"' in got["text"]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ({"nme": "g"}, "is required"),
        (SimpleNamespace(id="c1"), "is required"),
        ("add", "is required"),
        (None, "is required"),
        ({"name": ["add"]}, "is not text"),
    ],
    ids=repr,
)
async def test_a_malformed_call_is_data_that_names_what_is_missing(
    registry, call, problem
) -> None:
    for got in (registry.result(call), await registry.aresult(call)):
        assert got["error"] == {
            "type": "ToolArgumentsError",
            "message": f"a call needs the name of a tool: name {problem}",
            "problems": [["name", problem]],
        }
        assert f"name {problem}" in got["text"]


def test_a_registry_shows_the_names_of_its_tools(registry) -> None:
    registry.tool(lambda: 1, name="read")
    assert repr(registry) == "<ToolRegistry add, read>"
    assert repr(ToolRegistry()) == "<ToolRegistry empty>"


def test_an_unknown_tool_and_a_failing_one_are_data_too(registry) -> None:
    registry.tool(lambda: 1 / 0, name="fail")
    assert registry.result({"name": "ad"})["error"] == {
        "type": "UnknownToolError", "message": "no tool 'ad'; did you mean add?"
    }  # fmt: skip
    assert registry.result({"name": "fail"})["error"] == {
        "type": "ZeroDivisionError", "message": "division by zero"
    }  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [ToolError("a", tool="t"), UnknownToolError("a", tool="t", near=["b"]),
     ToolArgumentsError("a", tool="t", problems=[("p", "q")]), ToolTimeoutError("a", tool="t"),
     ToolDenied("a", tool="t"), ToolLimitError("a", tool="t", retry_after=1.5)],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_survive_pickling(error) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == "a"
    assert vars(again) == vars(error)
    assert isinstance(error, ToolError)


async def test_the_idempotency_key_is_handed_over_and_hidden(registry) -> None:
    @registry.tool(safe_to_repeat=True)
    def pay(usd: int, *, idempotency_key: str) -> str:
        return idempotency_key

    assert "idempotency_key" not in str(registry.specs())
    assert registry.call("pay", {"usd": 1}, idempotency_key="k") == "k"
    fresh = {await registry.acall("pay", {"usd": 1}) for _ in range(2)}
    assert len(fresh) == 2
    assert registry["pay"].safe_to_repeat
    assert not registry["add"].safe_to_repeat
    with pytest.raises(ToolArgumentsError):
        registry.call("pay", {"usd": 1, "idempotency_key": "mine"})


def test_a_deadline_that_is_plain_data_stays_an_argument(registry) -> None:
    @registry.tool
    def plan(what: str, deadline: str) -> str:
        return deadline

    assert registry.call("plan", {"what": "x", "deadline": "Monday"}) == "Monday"


def test_a_schema_without_a_type_is_one_of_an_object() -> None:
    registry = ToolRegistry()
    registry.define_tool(name="f", fn=lambda **given: given, schema={"required": ["a"]})
    assert registry.specs()[0]["input_schema"]["type"] == "object"
    assert registry.call("f", {"a": 1, "b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(ToolArgumentsError, match="a: is required"):
        registry.call("f", {})
