"""Secrets, taken out before anything is stored."""

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from waybell_snap._values import dumps, within


_Some: TypeAlias = str | re.Pattern[str]
Redact: TypeAlias = Callable[[str], str] | Iterable[_Some] | _Some | bool

HIDDEN = "[redacted]"
_NAMES = (
    r"(?:[\w-]{0,40}(?:[_-]|(?-i:(?<=[a-z0-9])(?=[A-Z]))))?"  # some_token, someToken
    r"(?:api[_-]?keys?|(?:access|account|private|secret)[_-]?key(?:[_-]?id)?|pwd|"
    r"secrets?|passwd|passwords?|passphrase|token|credentials?|cookies?|authorization)"
)
_NAME = re.compile(_NAMES, re.IGNORECASE)
_VARIABLE = re.compile(rf"(?i)\w*?(?:{_NAMES}|_KEY|PASS|_PAT|_AUTH)(?:_?\d{{1,3}})?")
_SECRETS = [
    re.compile(pattern)
    for pattern in (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*KEY-----|\Z)",
        r"\b(?:sk[-_]|[pr]k[-_](?=[\w-]*\d))[\w-]{8,}",
        r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[a-z]-|npm_|pypi-)[A-Za-z0-9_-]{10,}",
        r"\b(?:gsk_|xai-|pplx-|tvly-|r8_|nvapi-|SG\.|ya29\.|xapp-|shpat_|dop_v1_)[\w.-]{12,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[A-Za-z0-9_-]{30,}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"(?i)(?<=\bbearer )[\w.~+/-]{8,}=*|(?<=\bbasic )[\w+/]{12,}=*",
        r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)",
        # The rest of a header; of parts of addresses, what has a digit.
        r"(?i)(?<![\w-])(?:set-)?cookie:\s*(?P<value>[^\s=;\[]+=[^\r\n\"'\\]+)",
        r"(?i)authorization[\"'\\]*\s*[:=,]\s*[\"'\\]*[\w-]+ +(?P<value>(?=\S*\d)[^\s\"'\\,\[]{6,})",
        r"(?i)(?<=[?&])(?:[\w.-]{0,40}(?:signature|key)|sig|code|auth)=(?P<value>(?=[^\s&]*\d)[^\s&#\"'\\<>\[]{6,})",
        # Between quotes, of JSON in a text as well, all of it.
        rf"(?i:(?<![A-Za-z0-9]){_NAMES})(?:\\*[\"'])\s*:\s*(?P<quote>\\*[\"'])(?P<value>(?!\[redacted)[^\n]{{1,4000}}?)(?=(?<!\\)(?P=quote))",
        # In prose, what follows a colon is a secret only if it has a digit.
        rf"(?i:(?<![A-Za-z0-9]){_NAMES})(?:[\\\"']{{0,4}}\s*=\s*[\\\"']{{0,4}}|[\\\"']{{1,4}}\s*:\s*[\\\"']{{1,4}}|\s*:\s*(?=\S*\d))(?P<value>(?!\[redacted)[^\s\"'\\,;&}}\])]{{6,}})",
    )
]


class Redactor:
    """Replaces secrets in JSON: by the names of keys, by their look, by the environment.

    Args:
        more: Patterns, or a function of a text that returns it without its secrets; False
            for storing everything as it is.
        environ: Values of its variables that are named like secrets are secrets too.
    """

    __slots__ = ("_known", "_more", "_off", "_patterns")

    def __init__(self, more: Redact = True, environ: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self._off = more is False
        self._more = more if callable(more) else None
        self._patterns = [*_SECRETS, *_compiled(more)]
        given = os.environ if environ is None else environ
        named = {v for k, v in given.items() if _VARIABLE.fullmatch(k) and k != "PWD"}
        found = {v for v in named if len(v) >= 8 and not v.startswith("/")}
        found |= {dumps(v)[1:-1] for v in found}  # as it stands in JSON
        self._known = sorted(found, key=len, reverse=True)

    def __call__(self, data: Any) -> Any:
        """The JSON without secrets."""
        if self._off:
            return data
        if isinstance(data, str):
            return self.text(data)
        named: Any = data
        if isinstance(data, dict):
            return self._mapping(named)
        if isinstance(data, list) and len(named) == 2 and _is_secret(*named):
            data = [named[0], HIDDEN]
        return within(data, self._item)

    def _mapping(self, data: dict[str, Any]) -> Any:
        if "$bytes" in data:
            return self._bytes(data)
        if "$map" in data:
            pairs = [[k, HIDDEN if v and _is_name(k) else v] for k, v in data["$map"]]
            data = {"$map": pairs}
        cleaned = {self.text(name): item for name, item in _named(data)}
        return within(cleaned, self._item)

    def _bytes(self, data: dict[str, str]) -> dict[str, str]:
        text = _plain(data)
        clean = self.text(text)
        return data if clean == text else {"$bytes": b64encode(clean.encode()).decode()}

    def _item(self, item: Any, name: str | int) -> Any:
        secret = _is_name(name) and item and item is not True
        return HIDDEN if secret else self(item)

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


def _named(data: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """The items, the value hidden of what is told as a name and its value."""
    name = data.get("name", data.get("key"))
    secret = "value" in data and _is_name(name)
    return {**data, "value": HIDDEN}.items() if secret else data.items()


def _plain(data: Any) -> Any:
    """The text of bytes; what else there is as it is."""
    named: Any = data
    found = isinstance(data, dict) and "$bytes" in data
    return b64decode(named["$bytes"]).decode("latin-1") if found else named


def _is_name(data: Any) -> bool:
    """Whether secrets are called so."""
    name = _plain(data)
    return isinstance(name, str) and bool(_NAME.fullmatch(name))


def _is_secret(name: Any, value: Any) -> bool:
    """Whether two items of a list are a secret's name and what looks like it."""
    text = _plain(value)
    return _is_name(name) and isinstance(text, str) and bool(re.search(r"\d", text))


def _hidden(found: re.Match[str]) -> str:
    if "value" not in found.re.groupindex:
        return HIDDEN
    return found[0].removesuffix(found["value"]) + HIDDEN


def _compiled(more: Redact) -> list[re.Pattern[str]]:
    if isinstance(more, bool) or callable(more):
        return []
    several = [more] if isinstance(more, str | re.Pattern) else more
    return [re.compile(pattern) for pattern in several]
