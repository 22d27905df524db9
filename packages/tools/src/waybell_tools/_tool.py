"""A tool: a function, what a model is told of it, and what its arguments must be."""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from functools import partial
from itertools import islice
from typing import Any, NoReturn, TypeAlias, cast, get_type_hints

from jsonschema_rs import Draft202012Validator, ValidationError

from waybell_tools._docs import described
from waybell_tools._errors import ToolArgumentsError
from waybell_tools._hints import Part, Reader
from waybell_tools._limits import Quota
from waybell_tools._shapes import Convert, Mismatch


Approve: TypeAlias = Callable[[str, Mapping[str, Any]], Any | Awaitable[Any]]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what all vendors take
_MOST = 100  # problems that are told
_MOST_PARTS = 10_000  # of wrong arguments: a million problems take minutes to list


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call; `ToolRegistry.define_tool` makes it.

    Args:
        name: What the model calls it.
        description: What the model is told of it.
        fn: What runs.
        schema: The JSON schema of its arguments.
        timeout: Seconds that a call may take, `inf` without limit.
        max_output: Characters (of bytes: bytes) that may come back.
        approve: Who is asked before each call; True: it must be somebody.
        safe_to_repeat: Whether a second call with the same arguments does no harm.
        quota: How often it may be called.
        validator: Checks arguments against the schema.
        convert: Makes checked arguments what the signature declares.
        injected: The parameters that the caller fills, not the model.
        is_async: Whether `fn` is awaited.
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
        problems: tuple[tuple[str, str], ...]
        try:
            given = _parsed(arguments)
            if self.validator.is_valid(given):
                return cast("dict[str, Any]", self.convert(given, ""))
            problems = (("", "do not fit, and are too many to say where"),)
            if _fewer(given, _MOST_PARTS):
                problems = tuple(islice(_problems(self.validator, given), _MOST))
        except Mismatch as error:
            problems = error.args
        except (ValueError, RecursionError) as error:  # no JSON, or not of JSON
            problems = (("", f"is not JSON: {error}"),)
        raise _refusal(self.name, problems)


def _refusal(tool: str, problems: Iterable[tuple[str, str]]) -> ToolArgumentsError:
    told = [(path or "arguments", text[:300]) for path, text in problems]
    count = "a problem" if len(told) == 1 else f"{len(told)} problems"
    text = "; ".join(f"{path}: {text}" for path, text in told)
    return ToolArgumentsError(f"{tool}: {count}: {text}", tool=tool, problems=told)


def _parsed(arguments: Any) -> Any:
    if isinstance(arguments, str):
        return _JSON.decode(arguments) if arguments else {}
    if isinstance(arguments, Mapping):
        return dict(cast("Mapping[str, Any]", arguments))
    return {} if arguments is None else arguments


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):  # who reads the text otherwise may see the other one
        raise ValueError("a key is given twice")
    return made


_JSON = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object)


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


def _problems(validator: Draft202012Validator, value: Any) -> Iterator[tuple[str, str]]:
    for error in validator.iter_errors(value):
        yield from _told(error)


def _told(error: ValidationError) -> Iterator[tuple[str, str]]:
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
        raise ValueError(
            f"a tool's name is 1 to 64 letters, digits, _ and -, not {name!r}"
        )
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
    injected = frozenset(
        name
        for name in signature.parameters.keys() - bound
        if _is_injected(name, hints.get(name, Any))
    )
    if schema is not None:
        whole = {"type": "object", **schema}
        return whole, partial(_bound, signature, injected), injected
    reader = Reader()
    derived, convert = reader.record(
        _parts(signature, injected | bound, hints), described(plain.__doc__)[1]
    )
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
        if parameter.kind not in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        ):
            raise TypeError(f"{parameter} cannot be given by name; give schema=")
        needed = parameter.default is parameter.empty
        default = MISSING if needed else parameter.default
        yield Part(name, hints.get(name, Any), needed, default)


def _bound(
    signature: inspect.Signature, injected: frozenset[str], value: Any, path: str
) -> Any:
    """Arguments of an explicit schema as they are, if the function takes them."""
    try:
        signature.bind(**value, **dict.fromkeys(injected - value.keys()))
    except TypeError as error:
        raise Mismatch((path, str(error))) from error
    return value


def validator_of(name: str, schema: Mapping[str, Any]) -> Draft202012Validator:
    """What checks arguments; a `ValueError` if the schema is none of an object."""
    if schema["type"] != "object":
        raise ValueError(f"the schema of {name} needs type 'object'")
    try:
        return Draft202012Validator(dict(schema), retriever=_retrieve)
    except ValidationError as error:
        raise ValueError(f"the schema of {name} is wrong: {error.message}") from error


def _retrieve(uri: str) -> NoReturn:
    raise ValueError(f"a schema may not refer to {uri}: nothing is fetched")
