"""What must not be written, by name or by judgement; any doubt counts as yes."""

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from typing import Any

from waybell_decisions._encode import is_a, plain


Rule = str | Iterable[str] | Callable[[str, Any], Any]
_REDACTED, _FAILED = "[redacted]", "[redaction failed]"
_DROPPED = object()


class Redactor:
    """Replaces and removes values before a record is encoded.

    Args:
        redact: Key patterns whose values are replaced, or a function of key and value
            that returns what to write.
        drop: Key patterns to leave out, or a function of key and value.
    """

    __slots__ = ("_drop", "_redact")

    def __init__(self, redact: Rule, drop: Rule) -> None:
        self._drop = _rule(drop, lambda found, _value: found)
        self._redact = _rule(redact, lambda found, v: _REDACTED if found else v)

    def __call__(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return a clean copy, made of what JSON knows; fields are seen at any depth."""
        try:
            return self._mapping(plain(fields))
        except Exception:  # the stack may end anywhere: nothing raw may leave
            return {"redaction": _FAILED}

    def _mapping(self, fields: Any) -> dict[str, object]:
        pairs = ((key, self._value(key, value)) for key, value in fields.items())
        return {key: value for key, value in pairs if value is not _DROPPED}

    def _value(self, key: str, value: Any) -> Any:
        try:
            if self._drop(key, value):
                return _DROPPED
            found: Any = self._redact(key, value)
        except Exception:  # fail closed: better no value than the raw one
            return _FAILED
        if found is not value:
            return plain(found)
        if is_a(value, dict):
            return self._mapping(value)
        if is_a(value, list):
            cleaned = [self._value(key, item) for item in value]
            return [item for item in cleaned if item is not _DROPPED]
        return value


def _rule(
    given: Rule, verdict: Callable[[bool, Any], object]
) -> Callable[[str, Any], object]:
    """Return a function as it is; turn key patterns, in any case, into one."""
    if callable(given):
        return given
    patterns = [given] if isinstance(given, str) else list(given)
    never = "(?!)"
    match = re.compile("|".join(map(translate, patterns)) or never, re.IGNORECASE).match
    return lambda key, value: verdict(match(key) is not None, value)
