"""Leave out of the reference what says nothing to whoever reads it."""

import dataclasses
import inspect
from typing import Any


def shorten(
    _app: Any, what: str, _name: str, _it: Any, _options: Any, lines: list[str]
) -> None:
    """Drop the text that named tuples give to fields without one, and mend a property's.

    Its first line is a sentence; napoleon takes what is before a colon for a type.
    """
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    if lines and what in ("property", "attribute"):
        lines[0] = lines[0].replace(": ", "; ")


def unmade(
    _app: Any,
    what: str,
    _name: str,
    it: Any,
    _options: Any,
    signature: str,
    returns: str,
) -> tuple[str, str] | None:
    """Show no constructor of a class that is met, not made: no argument is explained."""
    if what not in ("class", "exception") or signature is None:
        return None
    made = dataclasses.is_dataclass(it) or issubclass(it, tuple)
    return None if made or "Args:" in (inspect.getdoc(it) or "") else ("", returns)
