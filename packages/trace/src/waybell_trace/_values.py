"""Turns whatever users attach to a span into values OpenTelemetry can keep."""

import operator
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, TypeAlias


Value: TypeAlias = (
    "str | bool | int | float | bytes | tuple[Value, ...] | dict[str, Value] | None"
)

SIMPLE: Final = frozenset({str, int, float, bool, bytes, type(None)})
# One level of nesting is three of JSON, and orjson stops at 254.
DEPTH: Final = 60
_CUT: Final = "..."


def clean(attributes: Mapping[str, object]) -> dict[str, Value]:
    """A copy whose values the SDK takes without dropping, logging or raising."""
    return {text(key): plain(value) for key, value in attributes.items()}


def plain(value: object, depth: int = 0) -> Value:
    """The nearest thing to `value` that OTLP can carry; never raises."""
    kind = type(value)
    if kind in SIMPLE:
        return value  # type: ignore[return-value]  # exactly the types of SIMPLE
    if depth > DEPTH:
        return _CUT
    try:
        return _convert(value, kind, depth + 1)
    except Exception:
        return f"<{kind.__name__}>"


def _convert(value: Any, kind: type, depth: int) -> Value:
    for base, convert in _CONVERTERS:
        if issubclass(kind, base):
            return convert(value, depth)
    if hasattr(kind, "__index__"):  # int subclasses, numpy's integers
        return operator.index(value)
    return str(value)


# The first that fits; Enum before str and int, which its members may also be.
_CONVERTERS: Final[tuple[tuple[Any, Callable[[Any, int], Value]], ...]] = (
    (Enum, lambda value, depth: plain(value.value, depth)),
    (str, lambda value, _: str.__str__(value)),
    (float, lambda value, _: float(value)),
    ((bytes, bytearray, memoryview), lambda value, _: bytes(value)),
    (
        Mapping,
        lambda value, depth: {text(k): plain(v, depth) for k, v in value.items()},
    ),
    (
        AbstractSet,
        lambda value, depth: tuple(plain(v, depth) for v in sorted(value, key=repr)),
    ),
    (Sequence, lambda value, depth: tuple(plain(v, depth) for v in value)),
)


def text(value: object) -> str:
    """`str(value)`, whatever its `__str__` does."""
    if type(value) is str:
        return value
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:
        return f"<{type(value).__name__}>"
