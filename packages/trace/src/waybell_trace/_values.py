"""Turns whatever users attach to a span into values OpenTelemetry can keep."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, TypeAlias, cast


SIMPLE: Final = frozenset({str, int, float, bool, bytes, type(None)})
# One level of nesting is three of JSON, and orjson stops at 254.
DEPTH: Final = 60
# Of one value: a few that refer to each other are a tree without end.
PARTS: Final = 10_000


def clean(attributes: Mapping[str, object]) -> dict[str, Any]:
    """A copy whose values the SDK takes without dropping, logging or raising."""
    return {text(key): plain(value) for key, value in attributes.items()}


def plain(value: object) -> Any:
    """The nearest thing to `value` that OTLP can carry; what is too much, as "..."."""
    return value if type(value) in SIMPLE else _convert(value, (), iter(range(PARTS)))


def _convert(value: object, around: tuple[int, ...], left: Iterator[int]) -> Any:
    kind = type(value)
    if kind in SIMPLE:
        return value
    if len(around) > DEPTH or id(value) in around:
        return "..."
    try:
        for base, convert in _CONVERTERS:
            if issubclass(kind, base):
                return convert(value, (*around, id(value)), left)
        if hasattr(kind, "__index__"):  # int subclasses, numpy's integers
            return operator.index(cast("Any", value))
        return str(value)
    except Exception:
        return f"<{kind.__name__}>"


def _items(value: Any, at: tuple[int, ...], left: Iterator[int]) -> tuple[Any, ...]:
    kept = tuple(_convert(i, at, left) for i, _ in zip(value, left, strict=False))
    return (*kept, "...") if next(left, None) is None else kept


def _pairs(value: Any, at: tuple[int, ...], left: Iterator[int]) -> dict[str, Any]:
    few = zip(value.items(), left, strict=False)
    # A key can be a tree without end, too.
    kept = {text(_convert(k, at, left)): _convert(v, at, left) for (k, v), _ in few}
    return kept | {"...": "..."} if next(left, None) is None else kept


_Convert: TypeAlias = Callable[[Any, tuple[int, ...], Iterator[int]], Any]
# The first that fits; Enum before str and int, which its members may also be.
_CONVERTERS: Final[tuple[tuple[Any, _Convert], ...]] = (
    (Enum, lambda v, at, left: _convert(v.value, at, left)),
    (str, lambda v, _, __: str.__str__(v)),
    (float, lambda v, _, __: float(v)),
    ((bytes, bytearray, memoryview), lambda v, _, __: bytes(v)),
    (Mapping, _pairs),
    (AbstractSet, lambda v, at, left: tuple(sorted(_items(v, at, left), key=repr))),
    ((Sequence, ValuesView), _items),
)


def text(value: object) -> str:
    """`str(value)`, whatever its `__str__` does."""
    if type(value) is str:
        return value
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:
        return f"<{type(value).__name__}>"
