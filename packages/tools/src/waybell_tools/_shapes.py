"""What a hint says of its values: their JSON schema, and how JSON becomes one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeAlias


Convert: TypeAlias = Callable[[Any, str], Any]
Schema: TypeAlias = dict[str, Any]
_MOST = 100  # problems that are told


class Mismatch(ValueError):
    """A value is not what the hint says; `args` are pairs of a path and a reason."""


class Shape(NamedTuple):
    """A schema, and what makes a value of checked JSON and its path, or a `Mismatch`."""

    schema: Schema
    convert: Convert


class _Misfit(Mismatch):
    """A value is of another type altogether."""


def _wrong(path: str, reason: str, kind: type[Mismatch] = Mismatch) -> NoReturn:
    raise kind((path, reason)) from None


def _exactly(kind: type, value: Any, path: str) -> Any:
    if type(value) is not kind:
        _wrong(path, f"is no {kind.__name__}", _Misfit)
    return value


def _number(kind: type[int] | type[float], value: Any, path: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(path, "is not a number", _Misfit)
    try:
        number = kind(value)
    except OverflowError:  # an int beyond the floats, or an infinity
        _wrong(path, "is too large")
    if kind is int and number != value:
        _wrong(path, "is not a whole number")
    return number


_SAME: Convert = lambda value, _: value  # noqa: E731 - five lines less
_NULL = Shape({"type": "null"}, partial(_exactly, type(None)))
SCALARS: tuple[tuple[Any, Shape], ...] = (
    (str, Shape({"type": "string"}, partial(_exactly, str))),
    (int, Shape({"type": "integer"}, partial(_number, int))),
    (float, Shape({"type": "number"}, partial(_number, float))),
    (bool, Shape({"type": "boolean"}, partial(_exactly, bool))),
    (None, _NULL),
    (type(None), _NULL),
    (Any, Shape({}, _SAME)),
    (object, Shape({}, _SAME)),
)


def union(shapes: Sequence[Shape]) -> Shape:
    """One of several, the first that fits."""

    def convert(value: Any, path: str) -> Any:
        found: list[Any] = []
        wrong: list[Mismatch] = []
        for shape in shapes:
            try:
                found.append(shape.convert(value, path))
            except Mismatch as error:
                wrong.append(error)
                continue
            if not isinstance(value, int | float):
                break
        if not found:
            raise next((e for e in wrong if type(e) is Mismatch), wrong[0])
        # A whole number fits int and float; it is the one as which it was written.
        same = (one for one in found if type(one) is type(value))
        return next(same, found[0]) if isinstance(value, int | float) else found[0]

    return Shape({"anyOf": [shape.schema for shape in shapes]}, convert)


def as_json(member: Any) -> Any:
    """A choice as JSON: of an enum's member its value, or its name if that is none."""
    value = member.value if isinstance(member, Enum) else member
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(member, Enum):
        return member.name
    raise TypeError(f"JSON has nothing for the choice {member!r}")


def choice(members: Sequence[Any]) -> Shape:
    """One of the members of an enum or a `Literal`."""
    known = [as_json(member) for member in members]

    def convert(value: Any, path: str) -> Any:
        for member, one in zip(members, known, strict=True):
            if one == value and isinstance(one, bool) is isinstance(value, bool):
                return member
        return _wrong(path, f"is not one of {', '.join(map(repr, known))}")

    return Shape({"enum": known}, convert)


def _gathered(parts: Iterable[tuple[Shape, Any, str]]) -> list[Any]:
    """What is made of values by their shapes and paths, or all that is wrong with them."""
    made: list[Any] = []
    wrong: list[tuple[str, str]] = []
    for shape, value, path in parts:
        try:
            made.append(shape.convert(value, path))
        except Mismatch as error:
            wrong += error.args
        if len(wrong) > _MOST:
            break
    if wrong:
        raise Mismatch(*wrong)
    return made


def items(make: Callable[[list[Any]], Any], shape: Shape) -> Shape:
    """Any number of one kind."""

    def convert(value: Any, path: str) -> Any:
        pairs = enumerate(_exactly(list, value, path))
        made = _gathered((shape, item, f"{path}[{n}]") for n, item in pairs)
        try:
            return make(made)
        except TypeError:
            return _wrong(path, "has items that no set can hold")

    unique = {"uniqueItems": True} if make in (set, frozenset) else {}
    return Shape({"type": "array", "items": shape.schema, **unique}, convert)


def row(shapes: Sequence[Shape]) -> Shape:
    """As many items as there are shapes, each of its own."""
    size = len(shapes)

    def convert(value: Any, path: str) -> Any:
        if len(_exactly(list, value, path)) != size:
            _wrong(path, f"does not have {size} items")
        pairs = enumerate(zip(shapes, value, strict=True))
        return tuple(_gathered((*pair, f"{path}[{n}]") for n, pair in pairs))

    schemas = [shape.schema for shape in shapes]
    bounds = {"minItems": size, "maxItems": size}
    return Shape({"type": "array", "prefixItems": schemas, **bounds}, convert)


def mapping(shape: Shape) -> Shape:
    """Values of one kind by any names."""

    def convert(value: Any, path: str) -> Any:
        pairs = _exactly(dict, value, path).items()
        made = _gathered((shape, item, f"{path}.{key}") for key, item in pairs)
        return dict(zip(value, made, strict=True))

    return Shape({"type": "object", "additionalProperties": shape.schema}, convert)


def record(shapes: Mapping[str, Shape], required: Sequence[str]) -> Shape:
    """Values by these names, and no others."""

    def convert(value: Any, path: str) -> Any:
        given = _exactly(dict, value, path)
        if not set(required) <= given.keys() <= shapes.keys():
            _wrong(path, "has other keys")
        start = f"{path}." if path else ""
        parts = ((shapes[key], item, start + key) for key, item in given.items())
        return dict(zip(given, _gathered(parts), strict=True))

    schema: Schema = {
        "type": "object",
        "properties": {name: shape.schema for name, shape in shapes.items()},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }
    return Shape(schema, convert)


def made(cls: Callable[..., Any], convert: Convert) -> Convert:
    """What makes an object of a record; what the class refuses is a mismatch."""

    def make(value: Any, path: str) -> Any:
        given = convert(value, path)
        try:
            return cls(**given)
        except Exception as error:  # such as a broken assertion
            return _wrong(path, str(error) or type(error).__name__)

    return make
