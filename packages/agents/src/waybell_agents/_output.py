"""An answer as a value of a declared type: its schema, and how text becomes one."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn, cast

from waybell_tools import ToolArgumentsError, ToolRegistry


_KEYS = "$defs", "definitions"  # what references point into: it stays at the top


class Output:
    """What an agent's answer must be.

    The tools' own reading of types and their validator do the work: an answer is the
    one argument of a function.

    Args:
        kind: A dataclass, a `TypedDict`, any type that has a JSON schema, or a schema.

    Raises:
        TypeError: The type has no JSON schema.
        ValueError: The schema is wrong.
    """

    __slots__ = ("_checker", "schema", "wrapped")

    def __init__(self, kind: Any) -> None:
        def answer(value: Any) -> None:
            """Never called: a registry reads its annotations."""

        given = cast("Mapping[str, Any]", kind) if isinstance(kind, Mapping) else None
        if given is None:
            answer.__annotations__ = {"value": kind}
        checker = ToolRegistry()
        checker.define_tool(fn=answer, schema=None if given is None else _around(given))
        self._checker = checker["answer"]
        whole = dict(self._checker.schema)
        inner = {**whole["properties"]["value"]}
        inner.update((key, whole[key]) for key in _KEYS if key in whole)
        # Vendors take schemas of objects only, so that others are asked for in one.
        self.wrapped = given is None and inner.get("type") != "object"
        self.schema: dict[str, Any] = whole if self.wrapped else inner

    def instructions(self) -> str:
        """What the model is told."""
        schema = json.dumps(self.schema, ensure_ascii=False)
        return f"Answer with JSON only, an object that fits this JSON schema:\n{schema}"

    def read(self, text: str) -> Any:
        """The value that an answer stands for.

        Raises:
            ToolArgumentsError: It is not JSON, or does not fit; with every problem.
        """
        try:
            found = _parsed(text)
        except (ValueError, RecursionError) as error:
            raise ToolArgumentsError(
                problems=[("answer", f"is not JSON: {error}")]
            ) from None
        try:
            whole = found if self.wrapped else {"value": found}
            return self._checker.check(whole)["value"]
        except ToolArgumentsError as error:
            if not self.wrapped:
                told = ((path[6:] or "answer", text) for path, text in error.problems)
                error.problems = tuple(told)
            raise


def _around(schema: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key not in _KEYS}
    tops = {key: schema[key] for key in _KEYS if key in schema}
    return {"properties": {"value": inner}, "required": ["value"], **tops}


def _parsed(text: str) -> Any:
    """The JSON in a text: all of it, else the first object or list within it."""
    try:
        return _DECODER.decode(text.strip())
    except ValueError:
        for start in [*_places(text, "{"), *_places(text, "[")]:
            try:
                return _DECODER.raw_decode(text, start)[0]
            except ValueError:
                continue
        raise


def _places(text: str, opener: str) -> Iterator[int]:
    return islice((n for n, letter in enumerate(text) if letter == opener), 50)


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
