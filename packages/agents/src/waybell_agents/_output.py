"""An answer as a value of a declared type: its schema, and how text becomes one."""

import json
import re
from collections.abc import Mapping
from typing import Any, Generic, NoReturn, cast

from waybell_agents._keys import unique
from waybell_agents._settings import T_co
from waybell_tools import ToolArgumentsError, ToolRegistry


_KEYS = "$defs", "definitions"  # what references point into: it stays at the top
_OBJECT, _EITHER = re.compile(r"\{"), re.compile(r"[{\[]")
_WORK = 500_000  # characters that are tried in vain
_MOST = 20  # values of one answer that are tried


class Output(Generic[T_co]):
    """What an agent's answer must be.

    The tools' own reading of types and their validator do the work: an answer is the
    one argument of a function.

    Args:
        kind: A dataclass, a `TypedDict`, any type that has a JSON schema, or a schema;
            pydantic's classes too. Of `str`, any text is one.

    Raises:
        TypeError: The type has no JSON schema.
        ValueError: The schema is wrong.
    """

    __slots__ = ("_checker", "_made", "_text", "schema", "wrapped")

    def __init__(self, kind: Any) -> None:
        own = getattr(kind, "model_json_schema", None)  # as pydantic's classes have it
        self._made, self._text = (kind.model_validate if own else None), kind is str
        known = own() if own else kind
        self._checker = _checker(known)
        whole = dict(self._checker.schema)
        inner = {**whole["properties"]["value"]}
        inner.update((key, whole[key]) for key in _KEYS if key in whole)
        # Vendors take schemas of objects only, so that others are asked for in one.
        self.wrapped = not isinstance(known, Mapping) and inner.get("type") != "object"
        self.schema: dict[str, Any] = whole if self.wrapped else inner

    def instructions(self) -> str:
        """What the model is told."""
        schema = json.dumps(self.schema, ensure_ascii=False)
        return f"Answer with JSON only, an object that fits this JSON schema:\n{schema}"

    def read(self, text: str) -> T_co:
        """The value that an answer stands for: the last one in the text that fits.

        Raises:
            ToolArgumentsError: It is not JSON, or does not fit; with every problem.
        """
        wrong: ToolArgumentsError | None = None
        try:
            opener = _OBJECT if self.schema.get("type") == "object" else _EITHER
            for found in _candidates(text, opener):
                try:
                    return cast("T_co", self._fitting(found))
                except ToolArgumentsError as error:
                    wrong = wrong or error
        except (ValueError, RecursionError) as error:
            wrong = _wrong([("answer", f"is not JSON: {error}")])
        if self._text:
            return cast("T_co", text)
        raise wrong or _wrong([("answer", "is not JSON")])

    def _fitting(self, found: Any) -> Any:
        """One value, if it fits."""
        value = self._checked(found)
        try:
            return value if self._made is None else self._made(value)
        except ValueError as error:
            raise _wrong([("answer", str(error))]) from None

    def _checked(self, found: Any) -> Any:
        """What is asked for in an object may come without it."""
        asked = self.wrapped and isinstance(found, dict) and "value" in found
        try:
            return self._checker.check(found if asked else {"value": found})["value"]
        except ToolArgumentsError as error:
            cut = 0 if asked else len("value.")
            problems = [(p[cut:] or "answer", t) for p, t in error.problems]
            raise _wrong(problems) from None


def _checker(kind: Any) -> Any:
    """A tool that takes one value, of a type or of a JSON schema."""

    def answer(value: Any) -> None:
        """Never called: a registry reads its annotations."""

    schema: Any = None
    if isinstance(kind, Mapping):
        schema = _around(cast("Mapping[str, Any]", kind))
    else:
        answer.__annotations__ = {"value": kind}
    checker = ToolRegistry()
    try:
        checker.define_tool(fn=answer, schema=schema)
    except TypeError as error:
        told = re.sub("parameter (value: )?", "", str(error))
        remedy = told.replace("give schema=", "give a JSON schema instead")
        raise TypeError(f"output_type: {remedy}") from None
    return checker["answer"]


def _wrong(problems: list[tuple[str, str]]) -> ToolArgumentsError:
    told = "; ".join(f"{path}: {text}" for path, text in problems)
    return ToolArgumentsError(told, problems=problems)


def _around(schema: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key not in _KEYS}
    tops = {key: schema[key] for key in _KEYS if key in schema}
    return {"properties": {"value": inner}, "required": ["value"], **tops}


def _candidates(text: str, opener: re.Pattern[str]) -> list[Any]:
    """The JSON in a text: all of it, else what is in it, the last first.

    A model may think aloud, or repeat what it was asked for, before it answers.
    """
    try:
        return [_DECODER.decode(text.strip())]
    except (ValueError, RecursionError):
        found, end, left = list[Any](), 0, _WORK
        for match in opener.finditer(text):
            if (start := match.start()) < end or left <= 0:
                continue
            try:
                value, end = _DECODER.raw_decode(text, start)
            except json.JSONDecodeError as error:
                left -= error.pos - start + 100
            except (ValueError, RecursionError):
                left -= _WORK // 100
            else:
                found.append(value)
        if not found:
            raise
        return found[: -_MOST - 1 : -1]


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=unique)
