"""Turns whatever users attach to a span into values OpenTelemetry can keep."""

import operator
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final


SIMPLE: Final = frozenset({str, int, float, bool, bytes, type(None)})
# One level of nesting is three of JSON, and orjson stops at 254.
DEPTH: Final = 60


def clean(attributes: Mapping[str, object]) -> dict[str, Any]:
    """A copy whose values the SDK takes without dropping, logging or raising."""
    return {text(key): plain(value) for key, value in attributes.items()}


def plain(value: object, around: tuple[int, ...] = ()) -> Any:
    """The nearest thing to `value` that OTLP can carry; never raises.

    Args:
        value: Whatever a user attached.
        around: The ids of what `value` is in; in itself it becomes "...".
    """
    kind = type(value)
    if kind in SIMPLE:
        return value
    if len(around) > DEPTH or id(value) in around:
        return "..."
    try:
        return _convert(value, kind, (*around, id(value)))
    except Exception:
        return f"<{kind.__name__}>"


def _convert(value: Any, kind: type, around: tuple[int, ...]) -> Any:
    for base, convert in _CONVERTERS:
        if issubclass(kind, base):
            return convert(value, around)
    if hasattr(kind, "__index__"):  # int subclasses, numpy's integers
        return operator.index(value)
    return str(value)


# The first that fits; Enum before str and int, which its members may also be.
_CONVERTERS: Final[tuple[tuple[Any, Callable[[Any, tuple[int, ...]], Any]], ...]] = (
    (Enum, lambda v, a: plain(v.value, a)),
    (str, lambda v, _: str.__str__(v)),
    (float, lambda v, _: float(v)),
    ((bytes, bytearray, memoryview), lambda v, _: bytes(v)),
    (Mapping, lambda v, a: {text(key): plain(item, a) for key, item in v.items()}),
    (AbstractSet, lambda v, a: tuple(plain(item, a) for item in sorted(v, key=repr))),
    (Sequence, lambda v, a: tuple(plain(item, a) for item in v)),
)


def text(value: object) -> str:
    """`str(value)`, whatever its `__str__` does."""
    if type(value) is str:
        return value
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:
        return f"<{type(value).__name__}>"
