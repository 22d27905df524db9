"""Turn any Python value into JSON that every parser accepts, without ever raising."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from os import PathLike
from typing import Any, cast

import orjson


# How a line of ours begins, and nothing else does: orjson writes no space outside
# strings and escapes quotes inside. See docs/decisions/torn-tail.md.
MARK = b'{"v":1, "id":"'
_NEWLINE = orjson.OPT_APPEND_NEWLINE
_DEEPEST = 100
is_a: Callable[[Any, Any], bool] = isinstance  # does not narrow what is Any
UNREADABLE = "[unreadable"
_SPELT = "backslashreplace"  # how bytes and surrogates that are no text are shown


def encode(fields: Mapping[str, object]) -> bytes:
    """Return the fields as one line."""
    try:
        return orjson.dumps(fields, simpler, _NEWLINE)
    except TypeError as exc:
        if not isinstance(cause := exc.__cause__, Exception | None):
            raise cause from None  # orjson wraps what its hook raised, Ctrl-C too
        return orjson.dumps(plain(fields), option=_NEWLINE)


def to_json(value: object) -> bytes:
    """Return the bytes that `value` has inside a record."""
    return orjson.dumps(plain(value))


def plain(value: object) -> Any:
    """Return a deep copy made only of what JSON knows."""
    return _plain(value, set())


def _plain(value: Any, above: set[int]) -> Any:
    try:
        for kinds, step in _LEAVES:
            if is_a(value, kinds):
                return step(value)
        return _opened(value, above)
    except Exception as exc:  # whatever a stranger's __repr__ or __iter__ may raise
        return f"{UNREADABLE} {type(value).__name__}: {type(exc).__name__}]"


def _opened(value: Any, above: set[int]) -> Any:
    """Open one level of a value that is not a leaf; `above` are its ancestors."""
    me = id(value)
    if me in above:
        return "[cycle]"
    if len(above) >= _DEEPEST:
        return "[too deep]"
    above.add(me)
    try:
        if is_a(value, dict):
            items = list(value.items())  # another thread may be changing it
            return {_key(key): _plain(item, above) for key, item in items}
        if is_a(value, (list, tuple)) and not hasattr(value, "_asdict"):
            return [_plain(item, above) for item in list(value)]
        return _plain(simpler(value), above)
    finally:
        above.discard(me)


def _key(key: object) -> str:
    if isinstance(key, str):  # which never fails: the name decides what is redacted
        return str.encode(key, errors=_SPELT).decode()
    found = plain(key)
    return found if isinstance(found, str) else orjson.dumps(found).decode()


def simpler(value: Any) -> Any:
    """Bring a value one step nearer to JSON; what is unknown becomes its `repr`."""
    for kinds, step in _KINDS:
        if is_a(value, kinds):
            return step(value)
    kind = cast("Any", type(value))
    for name, step in _SHAPES.items():
        if hasattr(kind, name):
            return step(value)
    return repr(value)


def _error(error: BaseException) -> dict[str, Any]:
    inner = getattr(error, "exceptions", ())
    found = {"type": type(error).__name__, "message": str(error)}
    return {**found, "errors": inner} if inner else found


_Steps = tuple[tuple[Any, Callable[[Any], object]], ...]
_LEAVES: _Steps = (
    ((bool, type(None)), lambda value: value),
    (str, lambda text: str.encode(text, errors=_SPELT).decode()),
    (int, lambda n: int.__int__(n) if -(2**63) <= n < 2**64 else str(Decimal(n))),
    (float, lambda number: float.__float__(number) if isfinite(number) else None),
)
_KINDS: _Steps = (
    (float, float.__float__),
    (tuple, lambda row: row._asdict() if hasattr(row, "_asdict") else list(row)),
    (Mapping, dict),
    ((set, frozenset), lambda items: sorted(items, key=repr)),
    ((bytes, bytearray, memoryview), lambda v: bytes(v).decode(errors=_SPELT)),
    (Decimal, str),
    (PathLike, lambda path: path.__fspath__()),
    (BaseException, _error),
)
_SHAPES: dict[str, Callable[[Any], object]] = {
    "model_dump": lambda model: model.model_dump(),
    "_asdict": lambda row: row._asdict(),
    "isoformat": lambda moment: moment.isoformat(),
    "urn": str,  # a UUID, as orjson writes it
    "__members__": lambda member: member.value,
    "__dataclass_fields__": lambda it: {
        name: getattr(it, name) for name in it.__dataclass_fields__ if name[0] != "_"
    },
}
