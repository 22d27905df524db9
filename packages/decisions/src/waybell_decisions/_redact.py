"""What must not be written, by name or by judgement; any doubt counts as yes."""

import re
from collections.abc import Callable, Iterable, MutableMapping
from fnmatch import translate
from itertools import repeat
from typing import Any

from waybell_decisions._encode import UNREADABLE, is_a, plain


Fields = MutableMapping[str, Any]
Judge = Callable[[str, Any], Any]
Rule = str | Iterable[str] | Judge
LINKS = ("trace_id", "span_id", "of")
_REDACTED, _FAILED = "[redacted]", "[redaction failed]"
_DROPPED = object()


class Redactor:
    """A structlog processor that replaces and removes values, at any depth."""

    __slots__ = ("_drop", "_redact")

    def __init__(self, redact: Rule, drop: Rule) -> None:
        self._drop = _rule(drop, lambda found, _value: found)
        self._redact = _rule(redact, lambda found, v: _REDACTED if found else v)

    def __call__(self, _logger: object, _name: str, fields: Fields) -> Fields:
        """Return a clean copy, made of what JSON knows; links stay as they are."""
        links = {key: fields.pop(key) for key in LINKS if key in fields}
        try:
            return {**links, **dict(self._kept(plain(fields).items()))}
        except Exception:  # the stack may end anywhere: nothing raw may leave
            return {**links, "redaction": _FAILED}

    def _kept(self, pairs: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
        cleaned = ((key, self._value(key, value)) for key, value in pairs)
        return ((key, value) for key, value in cleaned if value is not _DROPPED)

    def _value(self, key: str, value: Any) -> Any:
        try:
            if key.startswith(UNREADABLE):
                return _FAILED
            if self._drop(key, value):
                return _DROPPED
            found: Any = self._redact(key, value)
        except Exception:  # fail closed: better no value than the raw one
            return _FAILED
        if found is not value:
            return plain(found)
        if is_a(value, dict):
            return dict(self._kept(value.items()))
        if is_a(value, list):
            return [item for _, item in self._kept(zip(repeat(key), value))]
        return value


def _rule(given: Rule, verdict: Callable[[bool, Any], Any]) -> Judge:
    """Return a function as it is; turn key patterns, in any case, into one."""
    if callable(given):
        return given
    patterns = map(translate, [given] if isinstance(given, str) else given)
    match = re.compile("|".join(patterns) or "(?!)", re.IGNORECASE).match
    return lambda key, value: verdict(match(key) is not None, value)
