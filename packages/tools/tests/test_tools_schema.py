import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    Union,
)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waybell_tools import ToolArgumentsError, ToolRegistry


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Shape(enum.Enum):
    DOT = (0, 0)


@dataclass
class Point:
    """A place.

    Attributes:
        x: Across.
    """

    x: float
    y: float = 0.0
    tags: list[str] = field(default_factory=list)


@dataclass
class Tree:
    name: str
    kids: "list[Tree]" = field(default_factory=list)


@dataclass
class Checked:
    size: int
    scale: dataclasses.InitVar[int] = 1

    def __post_init__(self, scale: int) -> None:
        if self.size > 9:
            raise ValueError("size is at most 9")
        self.size *= scale


class Options(TypedDict):
    depth: int
    mode: NotRequired[Literal["fast", "deep"]]


UserId = NewType("UserId", int)


def schema_of(hint: Any, default: Any = ...) -> dict[str, Any]:
    return tool_of(hint, default).specs()[0]["input_schema"]["properties"]["value"]


def tool_of(hint: Any, default: Any = ...) -> ToolRegistry:
    def echo(value):
        return value

    echo.__annotations__ = {"value": hint}
    if default is not ...:
        echo.__defaults__ = (default,)
    return ToolRegistry([echo], max_output=math.inf)


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (list, {"type": "array", "items": {}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, str], {
            "type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2, "maxItems": 2,
        }),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Mapping, {"type": "object", "additionalProperties": {}}),
        (Optional[int], {  # noqa: UP045 - what is tested
            "anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Union[int, str], {  # noqa: UP007 - what is tested
            "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Color, {"enum": ["red", "blue"]}),
        (Shape, {"enum": ["DOT"]}),
        (UserId, {"type": "integer"}),
        (Annotated[int, "How many", {"minimum": 1}],
            {"type": "integer", "description": "How many", "minimum": 1}),
        (Options, {
            "type": "object",
            "properties": {"depth": {"type": "integer"}, "mode": {"enum": ["fast", "deep"]}},
            "required": ["depth"], "additionalProperties": False,
        }),
        (Point, {
            "type": "object", "description": "A place.",
            "properties": {
                "x": {"type": "number", "description": "Across."},
                "y": {"type": "number", "default": 0.0},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["x"], "additionalProperties": False,
        }),
    ],
    ids=str,
)  # fmt: skip
def test_a_hint_has_its_schema(hint: Any, schema: dict[str, Any]) -> None:
    assert schema_of(hint) == schema


@pytest.mark.parametrize(
    ("hint", "given", "value"),
    [
        (float, 1, 1.0), (int, 2.0, 2), (float | int, 3, 3), (int | float, 3.5, 3.5),
        (Color, "red", Color.RED), (Level, 2, Level.HIGH), (Shape, "DOT", Shape.DOT),
        (Literal[1, True], True, True), (tuple[int, str], [1, "a"], (1, "a")),
        (set[str], ["a"], {"a"}), (frozenset[int], [1], frozenset({1})),
        (Point, {"x": 1}, Point(1.0)), (Point | None, None, None),
        (list[Point], [{"x": 1, "tags": ["a"]}], [Point(1.0, tags=["a"])]),
        (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1.0)}),
        (Tree, {"name": "a", "kids": [{"name": "b"}]}, Tree("a", [Tree("b")])),
        (Point | Tree, {"name": "a"}, Tree("a")), (Options, {"depth": 1}, {"depth": 1}),
        (Color | str, "red", Color.RED), (Color | str, "green", "green"),
        (Checked, {"size": 2, "scale": 3}, Checked(6)),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_become_what_is_declared(hint: Any, given: Any, value: Any) -> None:
    got = tool_of(hint).call("echo", {"value": given})
    assert got == value
    assert type(got) is type(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.fixed_dictionaries({"x": FLOATS, "y": FLOATS, "tags": st.lists(TEXT)})
TREES = st.deferred(
    lambda: st.fixed_dictionaries({"name": TEXT, "kids": st.lists(TREES, max_size=2)})
)
# Pairs of a hint and the JSON of its values.
PAIRS = st.recursive(
    st.sampled_from([
        (str, TEXT), (int, st.integers()), (float, FLOATS), (bool, st.booleans()),
        (None, st.none()), (Any, JSON), (Color, st.sampled_from(["red", "blue"])),
        (Level, st.sampled_from([1, 2])), (Literal["a", 1], st.sampled_from(["a", 1])),
        (Point, POINTS), (Tree, TREES), (Options, st.fixed_dictionaries({"depth": st.integers()})),
    ]),
    lambda inner: (
        inner.map(lambda p: (list[p[0]], st.lists(p[1], max_size=3)))
        | inner.map(lambda p: (dict[str, p[0]], st.dictionaries(TEXT, p[1], max_size=3)))
        | inner.map(
            lambda p: (Union[p[0], None], st.none() | p[1])  # noqa: UP007 - of values
        )
        | st.tuples(inner, inner).map(
            lambda both: (tuple[both[0][0], both[1][0]], st.tuples(both[0][1], both[1][1]).map(list))
        )
        | st.tuples(inner, inner).map(
            lambda both: (Union[both[0][0], both[1][0]], both[0][1] | both[1][1])  # noqa: UP007 - of values
        )
    ),
    max_leaves=4,
)  # fmt: skip


def plain(value: Any) -> Any:
    """The JSON of a converted value, with numbers in one form."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value):
        return {
            f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value + 0 if type(value) is float else value


@settings(deadline=None)  # other programs run here too
@given(st.data(), PAIRS)
def test_a_value_survives_the_way_through_its_schema(data: Any, pair: Any) -> None:
    hint, values = pair
    value = data.draw(values)
    assert plain(tool_of(hint).call("echo", {"value": value})) == plain(value)


@settings(deadline=None)  # other programs run here too
@given(JSON, PAIRS)
def test_any_json_is_converted_or_refused(value: Any, pair: Any) -> None:
    try:
        tool_of(pair[0]).call("echo", {"value": value})
    except ToolArgumentsError as error:
        assert error.problems  # noqa: PT017 - either is right


def test_the_docstring_describes_the_tool_and_its_arguments() -> None:
    def search(query: str, limit: int = 5) -> None:
        """Search the index.

        It is fast.

        Args:
            query (str): What to look for,
                in words.
            limit: How many: at most 10.

        Returns:
            Nothing.
        """

    (spec,) = ToolRegistry([search]).specs()
    assert spec["name"] == "search"
    assert spec["description"] == "Search the index.\n\nIt is fast."
    assert spec["input_schema"] == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for, in words."},
            "limit": {
                "type": "integer",
                "description": "How many: at most 10.",
                "default": 5,
            },
        },
        "required": ["query"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("default", "told"),
    [
        (None, None),
        (3, 3),
        (Color.RED, "red"),
        ([1, 2], [1, 2]),
        ((), []),
        (True, True),
    ],
)
def test_plain_defaults_are_told(default: Any, told: Any) -> None:
    assert schema_of(Any, default)["default"] == told


@pytest.mark.parametrize(
    "default", [object(), math.inf, [object()], {}, b"x"], ids=repr
)
def test_other_defaults_are_not(default: Any) -> None:
    assert "default" not in schema_of(Any, default)


def test_a_class_that_contains_itself_is_defined_once() -> None:
    schema = tool_of(Tree).specs()[0]["input_schema"]
    assert schema["properties"]["value"] == {"$ref": "#/$defs/Tree"}
    items = schema["$defs"]["Tree"]["properties"]["kids"]["items"]
    assert items == {"$ref": "#/$defs/Tree"}


def test_two_classes_of_one_name_are_kept_apart() -> None:
    @dataclass
    class Tree:
        size: int
        next: "Tree | None" = None

    Tree.__init__.__globals__  # noqa: B018 - the hint below is resolved where it is known
    Tree.__annotations__["next"] = Tree | None
    other = globals()["Tree"]
    got = tool_of(tuple[other, Tree]).call(
        "echo", {"value": [{"name": "a", "kids": []}, {"size": 1, "next": {"size": 2}}]}
    )
    assert got == (other("a"), Tree(1, Tree(2)))


@pytest.mark.parametrize(
    "hint", [bytes, complex, dict[int, str], Literal[b"x"], type, "nowhere"], ids=str
)
def test_a_type_that_json_lacks_is_refused_when_defined(hint: Any) -> None:
    with pytest.raises(TypeError):
        tool_of(hint)


def test_the_error_names_the_parameter() -> None:
    def send(data: bytes) -> None: ...

    with pytest.raises(TypeError, match="parameter data: no JSON schema"):
        ToolRegistry([send])


@pytest.mark.parametrize(
    "fn",
    [lambda *args: None, lambda **kw: None, lambda a, /: None],
    ids=["*", "**", "/"],
)
def test_what_cannot_be_given_by_name_needs_a_schema(fn: Any) -> None:
    with pytest.raises(TypeError, match="schema="):
        ToolRegistry().define_tool(name="f", fn=fn)


def test_what_a_partial_binds_is_not_told_to_the_model() -> None:
    def search(query: str, key: str, limit: int = 3) -> str:
        """Search."""
        return f"{query} {key} {limit}"

    registry = ToolRegistry([partial(search, key="secret")])
    assert "secret" not in str(registry.specs())
    assert registry.call("search", {"query": "q"}) == "q secret 3"
    with pytest.raises(ToolArgumentsError):
        registry.call("search", {"query": "q", "key": "other"})


def test_methods_and_callable_objects_are_tools() -> None:
    class Box:
        def open(self, wide: bool) -> bool:
            """Open it."""
            return wide

        def __call__(self, n: int) -> int:
            """Count."""
            return n + 1

    registry = ToolRegistry([Box().open])
    registry.define_tool(name="count", fn=Box())
    assert registry.call("open", {"wide": True}) is True
    assert registry.call("count", {"n": 1}) == 2
    assert [spec["description"] for spec in registry.specs()] == ["Open it.", "Count."]


@pytest.mark.parametrize(
    ("hint", "given", "reason"),
    [
        (float, 10**400, "too large"), (set[Point], [{"x": 1}], "no set can hold"),
        (int | tuple[int, int], [1], "less than 2"), (Color | None, "green", "green"),
        (list[int] | tuple[str, str], ["a"], "a"), (Checked, {"size": 10}, "at most 9"),
        (Checked | None, {"size": 10}, "at most 9"), (None | Checked, {"size": 10}, "at most 9"),
    ],
    ids=str,
)  # fmt: skip
def test_what_no_schema_can_say_is_a_problem_too(
    hint: Any, given: Any, reason: str
) -> None:
    with pytest.raises(ToolArgumentsError, match=reason):
        tool_of(hint).call("echo", {"value": given})
