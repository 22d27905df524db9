"""Type hints, and what they say: those of a function become the schema of a tool."""

import types
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, InitVar, is_dataclass
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
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from waybell_tools import _shapes
from waybell_tools._docs import described
from waybell_tools._shapes import SCALARS, Convert, Schema, Shape


class Part(NamedTuple):
    """A parameter of a function, or a field of a record."""

    name: str
    hint: Any
    required: bool
    default: Any = MISSING
    about: str = ""


class Reader:
    """Reads the hints of one function; `defs` are its classes that contain themselves."""

    __slots__ = ("_names", "_reading", "defs")

    def __init__(self) -> None:
        self.defs: Schema = {}
        self._names: dict[type, str] = {}
        self._reading: dict[type, list[Convert]] = {}

    def shape(self, hint: Any) -> Shape:
        """What a hint says; a `TypeError` if JSON has nothing for it."""
        for scalar, shape in SCALARS:
            if hint is scalar:
                return shape
        origin: Any = get_origin(hint) or hint
        if (read := _KINDS.get(origin)) is not None:
            return read(self, get_args(hint))
        if isinstance(hint, InitVar):
            return self.shape(cast("Any", hint).type)
        for alias in ("__supertype__", "__value__"):  # NewType, and `type X = ...`
            if hasattr(hint, alias):
                return self.shape(getattr(hint, alias))
        return self._class(origin, hint)

    def union(self, hints: Iterable[Any]) -> Shape:
        """One of several; within a class at most one that contains classes again.

        With two, a check would try each at every level: 2 to the power of the depth.
        """
        shapes = [self.shape(hint) for hint in hints]
        if self._reading and sum("'$ref'" in str(shape.schema) for shape in shapes) > 1:
            names = ", ".join(cls.__name__ for cls in self._reading)
            why = "has two types that contain themselves, and could be checked for ever"
            raise TypeError(f"{names}: a union in a class {why}; give schema=")
        return _shapes.union(shapes)

    def _class(self, cls: Any, hint: Any) -> Shape:
        if cls in self._reading:
            return self._again(cls)
        if is_typeddict(cls) or (is_dataclass(cls) and isinstance(hint, type)):
            return self._whole(cls)
        if isinstance(cls, type) and issubclass(cls, Enum):
            return _shapes.choice(list(cls))
        raise TypeError(f"no JSON schema is known for {hint!r}; give schema=")

    def _again(self, cls: type) -> Shape:
        """A class within itself."""
        taken = self._names.values()
        free = cls.__name__ if cls.__name__ not in taken else f"_{len(taken)}"
        name = self._names.setdefault(cls, free)
        return Shape({"$ref": f"#/$defs/{name}"}, partial(_late, self._reading[cls]))

    def _whole(self, cls: Any) -> Shape:
        self._reading[cls] = late = list[Convert]()
        about = described(cls.__doc__)
        parts = _typed_dict(cls) if is_typeddict(cls) else _dataclass(cls)
        schema, convert = self.record(parts, about[1])
        late.append(convert if is_typeddict(cls) else _shapes.made(cls, convert))
        del self._reading[cls]
        if about[0] and not about[0].startswith(f"{cls.__name__}("):
            schema["description"] = about[0]
        if name := self._names.get(cls):
            self.defs[name] = schema
            schema = {"$ref": f"#/$defs/{name}"}
        return Shape(schema, late[0])

    def record(self, parts: Iterable[Part], about: Mapping[str, str]) -> Shape:
        """The shape of an object with these parts; `about` describes them."""
        shapes: dict[str, Shape] = {}
        required: list[str] = []
        for name, hint, needed, default, note in parts:
            try:
                schema, convert = self.shape(hint)
            except (TypeError, NameError, RecursionError) as error:
                raise TypeError(f"parameter {name}: {error}") from error
            if text := note or about.get(name):
                schema = {"description": text, **schema}
            if needed:
                required.append(name)
            elif (plain := _default(default)) is not MISSING:
                schema = {**schema, "default": plain}
            shapes[name] = Shape(schema, convert)
        return _shapes.record(shapes, required)


def _annotated(reader: Reader, args: tuple[Any, ...]) -> Shape:
    schema, convert = reader.shape(args[0])
    for note in args[1:]:
        if isinstance(note, str):
            schema = {**schema, "description": note}
        elif isinstance(note, dict):
            schema = {**schema, **cast("Schema", note)}
    return Shape(schema, convert)


def _mapping(reader: Reader, args: tuple[Any, ...]) -> Shape:
    if args and args[0] not in (str, Any):
        raise TypeError(f"JSON has only text for keys, not {args[0]!r}")
    return _shapes.mapping(reader.shape(args[1] if args else Any))


def _tuple(reader: Reader, args: tuple[Any, ...]) -> Shape:
    if args and args[1:] != (...,):
        return _shapes.row([reader.shape(arg) for arg in args])
    return _items(tuple, reader, args)


def _items(make: Any, reader: Reader, args: tuple[Any, ...]) -> Shape:
    return _shapes.items(make, reader.shape(args[0] if args else Any))


_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_KINDS: dict[Any, Callable[[Reader, tuple[Any, ...]], Shape]] = {
    **dict.fromkeys((Annotated, Required, NotRequired), _annotated),
    Literal: lambda _, args: _shapes.choice(args),
    **dict.fromkeys((Union, types.UnionType), Reader.union),
    tuple: _tuple,
    set: partial(_items, set),
    **dict.fromkeys((abc.Set, frozenset), partial(_items, frozenset)),
    **dict.fromkeys(_LISTS, partial(_items, list)),
    **dict.fromkeys((dict, abc.Mapping, abc.MutableMapping), _mapping),
}


def _late(converts: list[Convert], value: Any, path: str) -> Any:
    return converts[0](value, path)


def _dataclass(cls: Any) -> Iterable[Part]:
    hints = get_type_hints(cls, include_extras=True)
    for name, field in cls.__dataclass_fields__.items():  # with the InitVars
        if field.init and "CLASSVAR" not in str(field._field_type):  # noqa: SLF001 - nowhere else
            optional = (field.default, field.default_factory) != (MISSING, MISSING)
            note = field.metadata.get("description", "")
            yield Part(name, hints[name], not optional, field.default, note)


def _typed_dict(cls: Any) -> Iterable[Part]:
    for name, hint in get_type_hints(cls, include_extras=True).items():
        yield Part(name, hint, name in cls.__required_keys__)


def _default(value: Any) -> Any:
    """A default as JSON, `MISSING` where it is not a plain one."""
    if isinstance(value, Enum):
        return _shapes.as_json(value)
    if isinstance(value, list | tuple):
        items = [_default(item) for item in cast("list[Any]", value)]
        return MISSING if MISSING in items else items
    if isinstance(value, float):
        return value if isfinite(value) else MISSING
    return value if isinstance(value, str | int | None) else MISSING
