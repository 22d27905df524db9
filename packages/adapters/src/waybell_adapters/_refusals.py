"""What servers say when they refuse, in either vendor's words, and whether to ask again."""

import re
from collections.abc import Mapping
from typing import Any, cast

from waybell_adapters._errors import (
    AdapterError,
    ContextTooLong,
    ModelRefused,
    ModelUnavailable,
    RateLimited,
)
from waybell_adapters._events import objects


AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
# Errors inside a stream have no status: these are the vendors' words for one.
_STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402,
    "permission_error": 403, "not_found_error": 404, "request_too_large": 413,
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "insufficient_quota": 429,
    "api_error": 500, "server_error": 500, "timeout_error": 504, "overloaded_error": 529,
}  # fmt: skip
_LENGTH = (400, 413, 422, 500)
_MONEY = (402, 403, 429)
_QUOTA = re.compile(
    r"insufficient[_ ]quota|billing|credit balance|exceeded your current quota|"
    r"insufficient[_ ](funds|credits|balance)|quota_exceeded",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|prompt is too long|"
    r"maximum context length|exceeds? the (available )?context|context (window|size|limit)|"
    r"input (is|length).{0,40}too (long|large)|request_too_large",
    re.IGNORECASE,
)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhd])?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}


class Refusal(Exception):
    """One failed attempt, as its owner needs to know it; raised until it is owned.

    Args:
        error: What to raise if it is the last one.
        again: It may be tried again.
        delay: Seconds the server asked to wait.
        paid: The server may have done the work.
    """

    def __init__(
        self,
        error: AdapterError,
        *,
        again: bool,
        delay: float | None = None,
        paid: bool = False,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.again = again
        self.delay = delay
        self.paid = paid


def refusal(
    status: int | None, headers: Mapping[str, str], body: str, now: float
) -> Refusal:
    """Read an answer that is not a reply.

    Args:
        status: Of HTTP; None for an error inside a stream.
        headers: The answer's.
        body: The answer's, as far as it was read.
        now: The epoch.
    """
    kind, message = _words(body)
    status = status or _STATUS.get(kind) or _code(kind) or 500
    delay = retry_after(headers, now, limits=status == 429)
    error, again = _kind(status, f"{kind} {message or body}")
    text = message or f"the server answered {status}"
    found = error(text, status=status, retry_after=delay, body=body)
    return Refusal(found, again=again, delay=delay)


def _kind(status: int, said: str) -> tuple[type[AdapterError], bool]:
    if status in _LENGTH and _TOO_LONG.search(said):
        return ContextTooLong, False
    # A quota does not come back by waiting, whatever its status says.
    if status not in AGAIN or (status in _MONEY and _QUOTA.search(said)):
        return ModelRefused, False
    kinds: dict[int, type[AdapterError]] = {429: RateLimited, 409: ModelRefused}
    return kinds.get(status, ModelUnavailable), True


def retry_after(
    headers: Mapping[str, str], now: float, *, limits: bool = False
) -> float | None:
    """Seconds to wait, in whatever form a server says it; None when it does not.

    Args:
        headers: With names in any case.
        now: The epoch, for servers that give a time and not their own clock's.
        limits: Whether to read when rate limits are reset, where nothing else is said.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    now = _time(lower.get("date", "")) or now
    milliseconds = _PART.fullmatch(lower.get("retry-after-ms", ""))
    if milliseconds:
        return float(milliseconds[1]) / 1000
    if "retry-after" in lower:
        return _wait(lower["retry-after"], now)
    return _reset(lower, now) if limits else None


def _reset(lower: Mapping[str, str], now: float) -> float | None:
    """Seconds until the limits that are used up are reset."""
    resets = [name for name in lower if "ratelimit" in name and "reset" in name]
    # Where it is not said which are used up, the longest.
    spent = [n for n in resets if lower.get(n.replace("reset", "remaining")) == "0"]
    waits = [_wait(lower[name], now) for name in spent or resets]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(text: str, now: float) -> float | None:
    parts = _PART.findall(text)
    if parts and not _PART.sub("", text).strip():
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        return max(seconds - now, 0.0) if seconds > 1e9 else seconds  # an epoch
    when = _time(text)
    return None if when is None else max(when - now, 0.0)


def _time(text: str) -> float | None:
    # Loaded only now: few servers write dates, and these modules are slow to load.
    from datetime import UTC, datetime  # noqa: PLC0415
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            continue
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return None


def _words(body: str) -> tuple[str, str]:
    """The kind and the message of an error body, "" where it does not say.

    Vendors write {"error": {"type", "code", "message"}}, the same in a list, {"type":
    "error", "error": ...}, {"error": "text"}, {"detail": ...} and {"message": ...}.
    """
    try:
        found = objects(body.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        return "", " ".join(body.split())[:300]
    said: dict[str, Any] = {} if not found else found[0]
    error: Any = said.get("error", said.get("detail", said))
    if not isinstance(error, dict):
        return "", str(error)[:1000]
    fields = cast(dict[str, Any], error)
    kinds = [str(fields.get(name, "")) for name in ("code", "type", "status")]
    # The most telling word: one that has a status, one that is a status, any.
    kinds.sort(key=lambda kind: (kind not in _STATUS, not _code(kind), not kind))
    return kinds[0], str(fields.get("message") or "")[:1000]


def _code(text: str) -> int:
    return int(text) if text.isdecimal() and 400 <= int(text) < 600 else 0
