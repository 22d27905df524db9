"""What all results share, and how answers are read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, cast

from waybell_patterns._errors import IncompleteError


def text_of(value: object) -> str:
    """The text of an answer: its `text` if it has one, else its `str`."""
    text = getattr(value, "text", None)
    return text if isinstance(text, str) else str(value)


def fields_of(answer: object) -> Mapping[str, Any]:
    """A mapping, or the JSON object in a text, in a Markdown fence or not; else {}."""
    data: object = answer
    if not isinstance(answer, Mapping):
        body = text_of(answer).strip()
        if body.startswith("```"):
            body = body.strip("`").removeprefix("json")
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return {}
    return cast("Mapping[str, Any]", data) if isinstance(data, Mapping) else {}


def fault(error: BaseException) -> dict[str, str]:
    """An error as records have it."""
    return {"type": type(error).__name__, "message": str(error)}


# Fields that a record leaves out: figures, and answers, which have records of their own.
_UNTOLD = {"value", "draft", "reviews", "usd", "seconds", "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What all results share.

    Args:
        error: What ended the run early, or None.
        usd: US dollars spent.
        seconds: Time it took.
    """

    error: Exception | None = None
    usd: Decimal = Decimal(0)
    seconds: float = 0.0

    @property
    def lack(self) -> str | None:
        """What is missing, in words; None where nothing is."""
        return None

    @property
    def ok(self) -> bool:
        """Whether nothing is missing."""
        return self.lack is None

    def unwrap(self) -> Any:
        """The value.

        Raises:
            IncompleteError: Something is missing; the result is its `result`.
        """
        if self.lack is None:
            return getattr(self, "value")  # noqa: B009 - a field of the subclass
        raise IncompleteError(self.lack, self) from self.error

    def told(self) -> dict[str, Any]:
        """What a record of it says: who did what."""
        told: dict[str, Any] = {"outcome": "ok"}
        if self.lack is not None:
            told = {"outcome": "error" if self.error else "incomplete"}
            told["error"] = fault(self.error or IncompleteError(self.lack))
        for name in (each.name for each in fields(self) if each.name not in _UNTOLD):
            value: Any = getattr(self, name)
            told[name] = [*value] if isinstance(value, Mapping) else value
        return told

    def __str__(self) -> str:
        value = getattr(self, "value")  # noqa: B009 - a field of the subclass
        return text_of(self.lack if value is None and not self.ok else value)
