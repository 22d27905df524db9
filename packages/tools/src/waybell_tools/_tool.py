"""A tool: a function, what a model is told of it, and what its arguments must be."""

import atexit
import inspect
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import MISSING, dataclass
from functools import partial
from itertools import islice
from math import isfinite
from threading import RLock
from typing import Any, NoReturn, TypeAlias, cast, get_type_hints

from jsonschema_rs import Draft202012Validator, ValidationError

from waybell_tools._docs import described
from waybell_tools._errors import ToolArgumentsError
from waybell_tools._hints import Part, Reader
from waybell_tools._limits import Quota
from waybell_tools._shapes import Convert, Mismatch


_Problem: TypeAlias = tuple[str, str]
Approve: TypeAlias = Callable[[str, Mapping[str, Any]], Any | Awaitable[Any]]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what all vendors take
# Held in the native validator. A daemon thread that the interpreter ends inside of it takes
# the process down ("exception not rethrown"), so from the exit on it is the main thread's.
_NATIVE = RLock()
atexit.register(_NATIVE.acquire)
if register := getattr(os, "register_at_fork", None):  # no child has it held for ever
    free = _NATIVE.release
    register(before=_NATIVE.acquire, after_in_parent=free, after_in_child=free)
_MOST = 100  # problems that are told
_MOST_PARTS = 1_500  # of wrong arguments: to list 10,000 problems takes 0.3 s


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call; `ToolRegistry.define_tool` makes it.

    Args:
        schema: The JSON schema of its arguments, which `validator` checks.
        timeout: Seconds that a call may take, `inf` without limit.
        max_output: Characters (of bytes: bytes) that may come back.
        approve: Who is asked before each call; True: it must be somebody.
        safe_to_repeat: Whether a second call with the same arguments does no harm.
        convert: Makes checked arguments what the signature declares.
        injected: The parameters that the caller fills, not the model.
    """

    name: str
    description: str
    fn: Callable[..., Any]
    schema: Mapping[str, Any]
    timeout: float
    max_output: float
    approve: Approve | bool
    safe_to_repeat: bool
    quota: Quota
    validator: Draft202012Validator
    convert: Convert
    injected: frozenset[str]
    is_async: bool

    def check(self, arguments: Any) -> dict[str, Any]:
        """The arguments, a mapping or JSON text, as the function wants them.

        Raises:
            ToolArgumentsError: With every problem.
        """
        try:
            given = _parsed(arguments)
            with _NATIVE:
                problems = _problems(self.validator, given)
            if not problems:
                return cast("dict[str, Any]", self.convert(given, ""))
        except Mismatch as error:
            problems = error.args
        except (ValueError, RecursionError) as error:  # no JSON, or not of JSON
            problems = (("", f"is not JSON: {error}"),)
        raise _refusal(self.name, problems)


def _refusal(tool: str, problems: Iterable[_Problem]) -> ToolArgumentsError:
    told = [(p[:300] or "arguments", t[:300]) for p, t in islice(problems, _MOST)]
    count = "a problem" if len(told) == 1 else f"{len(told)} problems"
    text = "; ".join(f"{path}: {text}" for path, text in told)
    return ToolArgumentsError(f"{tool}: {count}: {text}", tool=tool, problems=told)


def _parsed(arguments: Any) -> Any:
    if isinstance(arguments, str):
        return _JSON.decode(arguments) if arguments else {}
    if isinstance(arguments, Mapping):
        return dict(cast("Mapping[str, Any]", arguments))
    return {} if arguments is None else arguments


def _number(text: str) -> float:
    if not isfinite(number := float(text)):  # also 1e999, and what is no JSON: NaN
        raise ValueError(f"{text[:50]} is no number that can be told")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):  # who reads the text otherwise may see the other one
        raise ValueError("a key is given twice")
    return made


_JSON = json.JSONDecoder(
    parse_float=_number, parse_constant=_number, object_pairs_hook=_object
)


def _fewer(value: Any, most: int) -> bool:
    """Whether arguments have fewer parts, on all levels together."""
    waiting: list[Any] = [value]
    while waiting and most:
        part, most = waiting.pop(), most - 1
        if isinstance(part, Mapping):
            waiting += cast("Mapping[str, Any]", part).values()
        elif isinstance(part, list | tuple):
            waiting += cast("list[Any]", part)
    return not waiting


def _problems(validator: Draft202012Validator, value: Any) -> tuple[_Problem, ...]:
    if validator.is_valid(value):
        return ()
    if not _fewer(value, _MOST_PARTS):
        return (("", "do not fit, and are too many to say where"),)
    told = (one for error in validator.iter_errors(value) for one in _told(error))
    return tuple(islice(told, _MOST))


def _told(error: ValidationError) -> Iterator[_Problem]:
    """The path and text of an error, or of those in the alternative that was meant."""
    path, text = [*error.instance_path], error.message
    if error.kind.name == "required":
        path, text = [*path, error.kind.value], "is required"
    inner = _meant(error, path) if error.kind.name == "anyOf" else []
    for one in inner:
        yield from _told(one)
    if not inner:
        told = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
        yield told.removeprefix("."), text


def _meant(error: ValidationError, path: list[str | int]) -> list[ValidationError]:
    """The errors of the first alternative that is of the value's type."""
    alternatives: list[list[ValidationError]] = error.kind.value
    for errors in alternatives:
        if all(e.kind.name != "type" or e.instance_path != path for e in errors):
            return errors
    return []


def checked_name(name: str) -> str:
    """The name, if every vendor takes it."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a name is 1 to 64 letters, digits, _ and -, not {name!r}")
    return name


def function_of(fn: Any) -> Callable[..., Any]:
    """The plain function in a partial, a decorated function or a callable object."""
    while isinstance(fn, partial):
        fn = cast("Any", fn).func
    fn = inspect.unwrap(fn)
    return fn if hasattr(fn, "__name__") else type(fn).__call__


def is_async(fn: Any) -> bool:
    """Whether calling it gives something to await."""
    called = type(fn).__call__ if callable(fn) else None
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(called)


def declared(
    fn: Callable[..., Any], schema: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any], Convert, frozenset[str]]:
    """The schema, what converts arguments, and the names that the caller injects.

    Raises:
        TypeError: A parameter has a type that JSON cannot express.
    """
    signature = inspect.signature(fn)
    bound = frozenset[str](cast("Any", fn).keywords if isinstance(fn, partial) else ())
    plain = function_of(fn)
    hints = _hints_of(plain)
    names = signature.parameters.keys() - bound
    injected = frozenset(n for n in names if _is_injected(n, hints.get(n, Any)))
    hidden = injected | bound
    if schema is not None:
        whole = deepcopy({"type": "object", **schema})
        return whole, partial(_bound, signature, hidden), injected
    reader, about = Reader(), described(plain.__doc__)[1]
    derived, convert = reader.record(_parts(signature, hidden, hints), about)
    defs = {"$defs": reader.defs} if reader.defs else {}
    return {**derived, **defs}, convert, injected


def _hints_of(plain: Callable[..., Any]) -> dict[str, Any]:
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise TypeError(f"{plain!r} yields: a tool returns one value, such as a list")
    try:
        hinted = cast("Any", plain).__init__ if isinstance(plain, type) else plain
        return get_type_hints(hinted, include_extras=True)
    except NameError as error:
        raise TypeError(f"cannot read the type hints of {plain!r}: {error}") from error


def _is_injected(name: str, hint: Any) -> bool:
    """Whether the caller fills it: the key, and a deadline that is not plain data."""
    kinds = [hint, *getattr(hint, "__args__", ())]
    timed = hint is Any or any(hasattr(kind, "remaining") for kind in kinds)
    return name == "idempotency_key" or (name == "deadline" and timed)


def _parts(
    signature: inspect.Signature, hidden: frozenset[str], hints: Mapping[str, Any]
) -> Iterable[Part]:
    for name, parameter in signature.parameters.items():
        if name in hidden:
            continue
        by_name = parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY
        if parameter.kind not in by_name:
            raise TypeError(f"{parameter} cannot be given by name; give schema=")
        needed = parameter.default is parameter.empty
        default = MISSING if needed else parameter.default
        yield Part(name, hints.get(name, Any), needed, default)


def _bound(
    signature: inspect.Signature, hidden: frozenset[str], value: Any, path: str
) -> Any:
    """Arguments of an explicit schema as they are, if the function takes them."""
    try:
        signature.bind(**value, **dict.fromkeys(hidden))
    except TypeError as error:
        raise Mismatch((path, str(error))) from error
    return value


def validator_of(name: str, schema: Mapping[str, Any]) -> Draft202012Validator:
    """What checks arguments; a `ValueError` if the schema is none of an object."""
    if schema["type"] != "object":
        raise ValueError(f"the schema of {name} needs type 'object'")
    try:
        with _NATIVE:
            return Draft202012Validator(dict(schema), retriever=_retrieve)
    except ValidationError as error:
        raise ValueError(f"the schema of {name} is wrong: {error.message}") from error


def _retrieve(uri: str) -> NoReturn:
    raise ValueError(f"a schema may not refer to {uri}: nothing is fetched")
