"""Any value as JSON, and back: what a recording holds."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import fields, is_dataclass
from decimal import Decimal
from hashlib import sha256
from importlib import import_module
from math import isfinite
from typing import Any, cast

from waybell_adapters import AdapterError, Reply


_DEEPEST, _LONGEST = 64, 13_000  # levels of a value, bits of a number
_GROUPS = 16  # groups of errors inside of each other that are told
_VOLATILE = {"attempts", "request_id"}  # of a reply, never the same again
_MARK = 2_000  # characters that say where a text belongs among others


class NotReplayable(TypeError):
    """A recorded value that cannot be made again."""


def encode(value: Any, *, brief: bool = False) -> Any:
    """The value in what JSON has; what has no form there becomes its type's name.

    Args:
        value: Anything.
        brief: It is to be read and compared, not to be made again: a reply is its text,
            records have named fields (but for `seconds`, which differ each time).
    """
    with suppress(RecursionError):  # a cycle, or as good as one
        data = _encoded(value, brief)
        if not _too_deep(data):
            return data
    return {"$type": _named(value)}


def _too_deep(data: Any) -> bool:
    """Whether what walks through it might run out of stack."""
    level, depth = _inside(data), 1
    while level and depth < _DEEPEST:
        level, depth = [part for one in level for part in _inside(one)], depth + 1
    return bool(level)


def _inside(data: Any) -> list[Any]:
    found: list[Any] = []
    within(data, lambda item, _: found.append(item))
    return found


def _encoded(value: Any, brief: bool) -> Any:
    try:
        return _form(value, brief)
    except RecursionError:
        raise
    except Exception:  # of the user's own value
        return {"$type": _named(value)}


def _form(value: Any, brief: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return _record([field.name for field in fields(value)], value, brief)
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return form(value, brief)
    return {"$type": _named(value)}


def lasting(reply: Reply) -> dict[str, Any]:
    """A reply without what is never the same."""
    return {k: v for k, v in reply.to_dict().items() if k not in _VOLATILE}


def _record(names: Iterable[str], value: Any, brief: bool) -> dict[str, Any]:
    left = ("seconds",) if brief else ()
    return {n: _encoded(getattr(value, n), brief) for n in names if n not in left}


def _int(value: int, _: bool) -> Any:
    return int(value) if value.bit_length() < _LONGEST else {"$type": _named(value)}


def _error(value: BaseException, brief: bool) -> Any:
    return {"$error": outline(value) if brief else encode_error(value)}


def _mapping(value: Mapping[Any, Any], brief: bool) -> Any:
    if all(isinstance(name, str) and name[:1] != "$" for name in value):
        return {str.__str__(name): _encoded(value[name], brief) for name in value}
    return {"$map": [[_encoded(k, brief), _encoded(value[k], brief)] for k in value]}


def _tuple(value: tuple[Any, ...], brief: bool) -> Any:
    items = [_encoded(item, brief) for item in value]
    names: Any = getattr(value, "_fields", None)
    if not brief:
        return {"$tuple": items}
    return _record(names, value, brief) if names else items


def _named(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


_FORMS: dict[Any, Callable[[Any, bool], Any]] = {
    Reply: lambda value, brief: str(value) if brief else {"$reply": lasting(value)},
    str: lambda value, _: str.__str__(value), int: _int,
    float: lambda value, _: float(value) if isfinite(value) else {"$float": str(float(value))},
    Decimal: lambda value, brief: str(value) if brief else {"$decimal": str(value)},
    (bytes, bytearray): lambda value, _: {"$bytes": b64encode(value).decode()},
    BaseException: _error, tuple: _tuple, Mapping: _mapping,
    AbstractSet: lambda value, brief: sorted((_encoded(v, brief) for v in value), key=dumps),
    Sequence: lambda value, brief: [_encoded(item, brief) for item in value],
}  # fmt: skip


def within(data: Any, change: Callable[[Any, Any], Any]) -> Any:
    """A list or a mapping with each item, given with its place, changed; else as it is."""
    inner: Any = data
    if isinstance(data, list):
        return [change(item, number) for number, item in enumerate(inner)]
    if isinstance(data, dict):
        return {name: change(item, name) for name, item in inner.items()}
    return data


def decode(data: Any) -> Any:
    """The value that `encode` was given, lists for other sequences, or NotReplayable."""
    found: Any = data
    if isinstance(data, dict) and len(found) == 1:
        ((name, inner),) = found.items()
        if name in _MADE:
            return _MADE[name](inner)
    return within(data, lambda item, _: decode(item))


def _refuse(name: str) -> Any:
    raise NotReplayable(f"a {name} was recorded by its type only")


def encode_error(error: BaseException) -> dict[str, Any]:
    """An exception with all that is needed to raise it again."""
    if isinstance(error, AdapterError):
        return {**outline(error), "adapter": encode(error.to_dict())}
    state = {name: part for name, part in vars(error).items() if name != "__notes__"}
    args: Any = error.args
    with suppress(Exception):  # An OSError keeps less in its args than it takes.
        made: Any = error.__reduce__()
        args = made[1] if made[0] is type(error) else args
    found = {"args": encode(list(args)), "state": encode(state)}
    return {**outline(error), **{name: part for name, part in found.items() if part}}


def outline(error: BaseException, most: int = _GROUPS) -> dict[str, Any]:
    """The type and the message of an exception, and of those that it groups."""
    told: dict[str, Any] = {"type": _named(error), "message": ""}
    with suppress(Exception):  # of the user's own error
        told["message"] = str(error)
    if isinstance(error, BaseExceptionGroup) and most:
        several: Any = cast("Any", error).exceptions
        told["inner"] = sorted((outline(one, most - 1) for one in several), key=dumps)
    return told


def decode_error(data: Mapping[str, Any]) -> BaseException:
    """The exception again, of the same class, or NotReplayable."""
    kind = _class_of(data["type"])
    if issubclass(kind, AdapterError):
        known = AdapterError.from_dict(decode(data["adapter"]))
        if type(known) is kind:
            return known
        args, state = known.args, vars(known)
    else:
        args, state = _parts(data.get("args", [])), _parts(data.get("state", {}))
    try:
        error = kind(*args)
    except Exception:  # it wants something else than its `args` keep
        error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


def _parts(data: Any) -> Any:
    """Parts of an exception, each as far as it can be made again."""

    def part(item: Any, _: Any) -> Any:
        try:
            return decode(item)
        except NotReplayable as error:
            return f"<{error}>"

    return within(data, part)


def _class_of(name: str) -> type[BaseException]:
    parts = name.split(".")
    for size in range(len(parts) - 1, 0, -1):
        try:
            found: Any = import_module(".".join(parts[:size]))
            for part in parts[size:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    told = f"no exception {name} to raise again: is its module importable?"
    raise NotReplayable(told)


def dumps(data: Any) -> str:
    """One text for equal JSON."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def mark(text: str) -> str:
    """The text, and for one that is long its beginning and a digest."""
    if len(text) <= _MARK:
        return text
    rest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text[:_MARK] + rest


_MADE: dict[str, Callable[[Any], Any]] = {
    "$bytes": b64decode, "$decimal": Decimal, "$error": decode_error, "$float": float,
    "$map": lambda pairs: {decode(key): decode(value) for key, value in pairs},
    "$reply": Reply.from_dict, "$tuple": lambda items: tuple(map(decode, items)),
    "$type": _refuse,
}  # fmt: skip
