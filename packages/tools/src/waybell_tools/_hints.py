"""What a type hint says: the JSON schema of its values, and how JSON becomes one."""

import types
from collections import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, InitVar, fields, is_dataclass
from enum import Enum
from functools import partial
from math import isfinite
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from waybell_tools._docs import described


Convert: TypeAlias = Callable[[Any, str], Any]


class Mismatch(ValueError):
    """A value is not what the hint says; `args` are pairs of a path and a reason."""


class Shape(NamedTuple):
    """What a hint says.

    Args:
        schema: The JSON schema of its values.
        convert: Makes one of checked JSON, given also its path; raises `Mismatch`.
    """

    schema: dict[str, Any]
    convert: Convert


class Part(NamedTuple):
    """A parameter of a function, or a field of a record.

    Args:
        name: Its name.
        hint: Its type hint.
        required: Whether it must be given.
        default: What it is otherwise, `MISSING` if that is not known.
        about: What it is for.
    """

    name: str
    hint: Any
    required: bool
    default: Any = MISSING
    about: str = ""


def _same(value: Any, path: str) -> Any:
    del path
    return value


def _exactly(kind: type, value: Any, path: str) -> Any:
    if type(value) is not kind:
        raise Mismatch((path, f"is not of type {kind.__name__}"))
    return value


def _number(kind: type[int] | type[float], value: Any, path: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Mismatch((path, "is not a number"))
    try:
        number = kind(value)
    except OverflowError:  # an int beyond the floats, or an infinity
        raise Mismatch((path, "is too large")) from None
    if number != value and kind is int:
        raise Mismatch((path, "is not a whole number"))
    return number


_SCALARS: tuple[tuple[Any, Shape], ...] = (
    (str, Shape({"type": "string"}, partial(_exactly, str))),
    (int, Shape({"type": "integer"}, partial(_number, int))),
    (float, Shape({"type": "number"}, partial(_number, float))),
    (bool, Shape({"type": "boolean"}, partial(_exactly, bool))),
    (None, Shape({"type": "null"}, partial(_exactly, type(None)))),
    (type(None), Shape({"type": "null"}, partial(_exactly, type(None)))),
    (Any, Shape({}, _same)),
    (object, Shape({}, _same)),
)
_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    set: set,
    abc.Set: frozenset,
    frozenset: frozenset,
}
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_WRAPPERS = (Required, NotRequired)


class Reader:
    """Reads the hints of one function.

    Attributes:
        defs: The schemas of the classes that contain themselves, by name.
    """

    __slots__ = ("_reading", "_recursive", "defs")

    def __init__(self) -> None:
        self.defs: dict[str, Any] = {}
        self._reading: dict[type, list[Convert]] = {}
        self._recursive: dict[type, str] = {}

    def shape(self, hint: Any) -> Shape:
        """What a hint says.

        Raises:
            TypeError: JSON has nothing for it.
        """
        for scalar, shape in _SCALARS:
            if hint is scalar:
                return shape
        origin = get_origin(hint) or hint
        if origin is Annotated:
            return self._annotated(*get_args(hint))
        if origin in (Union, types.UnionType):
            return self._union([self.shape(arg) for arg in get_args(hint)])
        if origin is Literal:
            return _choice(get_args(hint), [_value(arg) for arg in get_args(hint)])
        if origin in _LISTS or origin is tuple or origin in _MAPPINGS:
            return self._container(origin, get_args(hint))
        return self._named(hint)

    def _annotated(self, hint: Any, *notes: Any) -> Shape:
        schema, convert = self.shape(hint)
        for note in notes:
            if isinstance(note, str):
                schema = {**schema, "description": note}
            elif isinstance(note, dict):
                schema = {**schema, **note}
        return Shape(schema, convert)

    def _union(self, shapes: Sequence[Shape]) -> Shape:
        def convert(value: Any, path: str) -> Any:
            found: list[Any] = []
            wrong: list[Exception] = []
            for shape in shapes:
                try:
                    found.append(shape.convert(value, path))
                except Mismatch as error:
                    wrong.append(error)
            if not found:
                raise wrong[-1]
            # A whole number fits int and float; it is the one as which it was written.
            same = (one for one in found if type(one) is type(value))
            is_number = isinstance(value, int | float)
            return next(same, found[0]) if is_number else found[0]

        return Shape({"anyOf": [shape.schema for shape in shapes]}, convert)

    def _container(self, origin: Any, args: tuple[Any, ...]) -> Shape:
        if origin in _MAPPINGS:
            if args and args[0] not in (str, Any):
                raise TypeError(f"JSON has only text for keys, not {args[0]!r}")
            schema, convert = self.shape(args[1] if args else Any)
            return Shape(
                {"type": "object", "additionalProperties": schema},
                partial(_mapping, convert),
            )
        if origin is tuple and args[1:] != (...,) and args:
            parts = [self.shape(arg) for arg in args]
            return Shape(
                {
                    "type": "array",
                    "prefixItems": [part.schema for part in parts],
                    "minItems": len(parts),
                    "maxItems": len(parts),
                },
                partial(_items, tuple, [part.convert for part in parts]),
            )
        schema, convert = self.shape(args[0] if args else Any)
        make = _LISTS.get(origin, tuple)
        unique = {"uniqueItems": True} if make in (set, frozenset) else {}
        return Shape(
            {"type": "array", "items": schema, **unique}, partial(_items, make, convert)
        )

    def _named(self, hint: Any) -> Shape:
        if isinstance(hint, InitVar):
            return self.shape(hint.type)
        if get_origin(hint) in _WRAPPERS:
            return self.shape(get_args(hint)[0])
        for alias in ("__supertype__", "__value__"):  # NewType, and `type X = ...`
            if hasattr(hint, alias):
                return self.shape(getattr(hint, alias))
        if isinstance(hint, type):
            if issubclass(hint, Enum):
                members = list(hint)
                return _choice(members, [_value(member) for member in members])
            if is_dataclass(hint) or is_typeddict(hint):
                return self._class(hint)
        raise TypeError(f"no JSON schema is known for {hint!r}; give schema=")

    def _class(self, cls: type) -> Shape:
        if cls in self._reading:  # it contains itself
            name = self._recursive.setdefault(cls, self._free_name(cls.__name__))
            late = self._reading[cls]
            return Shape(
                {"$ref": f"#/$defs/{name}"},
                lambda *given: late[0](*given),  # noqa: PLW0108 - not known yet
            )
        self._reading[cls] = late = []
        parts = _typed_dict(cls) if is_typeddict(cls) else _dataclass(cls)
        schema, convert = self.record(parts)
        late.append(convert if is_typeddict(cls) else partial(_made, cls, convert))
        del self._reading[cls]
        doc = "" if (cls.__doc__ or "").startswith(f"{cls.__name__}(") else cls.__doc__
        if summary := described(doc)[0]:
            schema["description"] = summary
        if cls in self._recursive:
            name = self._recursive[cls]
            self.defs[name] = schema
            schema = {"$ref": f"#/$defs/{name}"}
        return Shape(schema, late[0])

    def _free_name(self, name: str) -> str:
        taken = self._recursive.values()
        return name if name not in taken else f"{name}{len(taken) + 1}"

    def record(self, parts: Iterable[Part]) -> Shape:
        """The shape of a JSON object with these parts, and no others."""
        properties: dict[str, Any] = {}
        converts: dict[str, Convert] = {}
        required: list[str] = []
        for part in parts:
            schema, converts[part.name] = self.shape(part.hint)
            if part.about and "description" not in schema:
                schema = {**schema, "description": part.about}
            if part.required:
                required.append(part.name)
            elif (default := _default(part.default)) is not MISSING:
                schema = {**schema, "default": default}
            properties[part.name] = schema
        return Shape(
            {
                "type": "object",
                "properties": properties,
                **({"required": required} if required else {}),
                "additionalProperties": False,
            },
            partial(_record, converts, frozenset(required)),
        )


def _dataclass(cls: Any) -> Iterable[Part]:
    hints = get_type_hints(cls, include_extras=True)
    about = described(cls.__doc__)[1]
    given: dict[str, Field[Any]] = {f.name: f for f in fields(cls)}
    every: dict[str, Field[Any]] = cls.__dataclass_fields__  # with the InitVars
    for name, field in every.items():
        if not field.init or (name not in given and type(hints[name]) is not InitVar):
            continue
        optional = (field.default, field.default_factory) != (MISSING, MISSING)
        note = field.metadata.get("description") or about.get(name, "")
        yield Part(name, hints[name], not optional, field.default, note)


def _typed_dict(cls: Any) -> Iterable[Part]:
    about = described(cls.__doc__)[1]
    for name, hint in get_type_hints(cls, include_extras=True).items():
        required = name in cls.__required_keys__
        yield Part(name, hint, required, MISSING, about.get(name, ""))


def _value(member: Any) -> Any:
    """A choice as JSON; a member of an enum by its value if JSON has it, else its name."""
    value = member.value if isinstance(member, Enum) else member
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(member, Enum):
        return member.name
    raise TypeError(f"JSON has nothing for the choice {member!r}")


def _choice(members: Sequence[Any], values: list[Any]) -> Shape:
    def convert(value: Any, path: str) -> Any:
        for member, known in zip(members, values, strict=True):
            if known == value and isinstance(known, bool) is isinstance(value, bool):
                return member
        raise Mismatch((path, f"is not one of {', '.join(map(repr, values))}"))

    return Shape({"enum": values}, convert)


def _default(value: Any) -> Any:
    """A default as JSON, `MISSING` where it is not a plain one."""
    if isinstance(value, Enum):
        return _value(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else MISSING
    if isinstance(value, list | tuple):
        items = [_default(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        return MISSING if MISSING in items else items
    return MISSING


def _items(make: Any, convert: Convert | list[Convert], value: Any, path: str) -> Any:
    _exactly(list, value, path)
    if isinstance(convert, list) and len(convert) != len(value):
        raise Mismatch((path, f"does not have {len(convert)} items"))
    each = convert if isinstance(convert, list) else [convert] * len(value)
    try:
        return make(
            [
                c(v, f"{path}[{n}]")
                for n, (c, v) in enumerate(zip(each, value, strict=True))
            ]
        )
    except TypeError:
        raise Mismatch((path, "has items that no set can hold")) from None


def _mapping(convert: Convert, value: Any, path: str) -> Any:
    _exactly(dict, value, path)
    return {key: convert(item, f"{path}.{key}") for key, item in value.items()}


def _record(
    converts: dict[str, Convert], required: frozenset[str], value: Any, path: str
) -> Any:
    _exactly(dict, value, path)
    if not required <= value.keys() <= converts.keys():
        raise Mismatch((path, "has other keys"))
    made: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for key, item in value.items():
        try:
            made[key] = converts[key](item, f"{path}.{key}" if path else key)
        except Mismatch as error:
            wrong += error.args
    if wrong:
        raise Mismatch(*wrong)
    return made


def _made(cls: Any, convert: Convert, value: Any, path: str) -> Any:
    given = convert(value, path)
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:  # of its own checks
        raise Mismatch((path, str(error))) from error
