"""Secrets, taken out before anything is stored."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from waybell_snap._values import within


Redact: TypeAlias = (
    Callable[[str], str]
    | Iterable[str | re.Pattern[str]]
    | str
    | re.Pattern[str]
    | bool
)

HIDDEN = "[redacted]"
_NAMES = (
    r"(?:[\w-]{0,40}[_-])?(?:api[_-]?key|(?:access|private|secret)[_-]?key(?:[_-]?id)?|"
    r"secret|passwd|password|passphrase|token|credentials?|cookie|authorization)"
)
_NAME = re.compile(_NAMES, re.IGNORECASE)
_SECRETS = [
    re.compile(pattern)
    for pattern in (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*KEY-----|\Z)",
        r"\b(?:sk[-_]|[pr]k[-_](?=[\w-]*\d))[\w-]{8,}",
        r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[a-z]-|npm_|pypi-)[A-Za-z0-9_-]{10,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[A-Za-z0-9_-]{30,}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"(?i)(?<=\bbearer )[\w.~+/-]{8,}=*|(?<=\bbasic )[\w+/]{12,}=*",
        r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)",
        # In prose, what follows a colon is a secret only if it has a digit.
        (
            rf"(?i:(?<![A-Za-z0-9]){_NAMES})"
            r"(?:[\\\"']{0,4}\s*=\s*[\\\"']{0,4}|[\\\"']{1,4}\s*:\s*[\\\"']{1,4}|\s*:\s*(?=\S*\d))"
            r"(?P<value>(?!\[redacted)[^\s\"'\\,;&}\])]{6,})"
        ),
    )
]


class Redactor:
    """Replaces secrets in JSON: by the names of keys, by their look, by the environment.

    Args:
        more: Patterns, or a function of a text that returns it without its secrets; False
            for storing everything as it is.
        environ: Values of its variables that are named like secrets are secrets too.

    Raises:
        TypeError: `more` is neither.
    """

    __slots__ = ("_known", "_more", "_off", "_patterns")

    def __init__(
        self, more: Redact = True, environ: Mapping[str, str] | None = None
    ) -> None:
        self._off = more is False
        self._more = more if callable(more) else None
        self._patterns = [*_SECRETS, *_compiled(more)]
        given = os.environ if environ is None else environ
        values = {v for k, v in given.items() if _NAME.fullmatch(k) and len(v) >= 8}
        self._known = sorted(values, key=len, reverse=True)

    def __call__(self, data: Any) -> Any:
        """The JSON without secrets.

        Raises:
            TypeError: The function of the user gave something else than text.
        """
        if self._off:
            return data
        if isinstance(data, str):
            return self.text(data)
        named: Any = data
        if isinstance(data, dict):
            data = {self.text(name): item for name, item in named.items()}
        return within(data, self._item)

    def _item(self, item: Any, name: str | int) -> Any:
        secret = isinstance(name, str) and _NAME.fullmatch(name)
        return HIDDEN if secret and item and item is not True else self(item)

    def text(self, text: str) -> str:
        """The text without secrets."""
        for known in self._known:
            text = text.replace(known, HIDDEN)
        for pattern in self._patterns:
            text = pattern.sub(_hidden, text)
        if self._more is None:
            return text
        made: Any = self._more(text)
        if not isinstance(made, str):
            raise TypeError(f"redact returns a text, not {made!r}")
        return made


def _hidden(found: re.Match[str]) -> str:
    if "value" not in found.re.groupindex:
        return HIDDEN
    return found[0].removesuffix(found["value"]) + HIDDEN


def _compiled(more: Redact) -> list[re.Pattern[str]]:
    if isinstance(more, bool) or callable(more):
        return []
    several = [more] if isinstance(more, str | re.Pattern) else more
    return [re.compile(pattern) for pattern in several]
