"""How much of a prompt and of a reply a span keeps."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import orjson

from waybell_trace import _semconv as names
from waybell_trace._otlp import dumps
from waybell_trace._values import Value, text


Capture: TypeAlias = Literal["none", "digest", "text"]
CAPTURES: Final = ("none", "digest", "text")
Side: TypeAlias = Literal["prompt", "reply"]

_LENGTH: Final = {"prompt": names.PROMPT_LENGTH, "reply": names.REPLY_LENGTH}
_SHA256: Final = {"prompt": names.PROMPT_SHA256, "reply": names.REPLY_SHA256}
_MESSAGES: Final = {"prompt": names.INPUT_MESSAGES, "reply": names.OUTPUT_MESSAGES}
_ROLE: Final = {"prompt": "user", "reply": "assistant"}
# 128 bits of the hash: enough to tell texts apart, and readable.
_HEX: Final = 32


def captured(capture: Capture, side: Side, value: object) -> dict[str, Value]:
    """The attributes that keep `value`, a text or anything JSON can show."""
    kept: dict[str, Value] = {names.CAPTURE: capture}
    if capture == "none":
        return kept
    written = as_text(value)
    kept[_LENGTH[side]] = len(written)
    kept[_SHA256[side]] = digest(written)
    if capture == "text":
        kept[_MESSAGES[side]] = _messages(side, written)
    return kept


def digest(written: str) -> str:
    """The first half of the SHA-256 of a text, in hex."""
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:_HEX]


def as_text(value: object) -> str:
    """A text as it is; anything else as JSON, or else as `str` shows it."""
    if isinstance(value, str):
        return text(value)
    try:
        options = orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
        return orjson.dumps(value, default=text, option=options).decode()
    except Exception:
        return text(value)


def _messages(side: Side, written: str) -> str:
    part = {"type": "text", "content": written}
    message = {"role": _ROLE[side], "parts": [part]}
    if side == "reply":
        message["finish_reason"] = "stop"  # the convention asks for one
    # As a JSON string, which the convention allows and every SDK can keep.
    return dumps([message]).decode()


def restored(attributes: Mapping[str, Any], side: Side) -> str | None:
    """The text that was kept, if it was."""
    messages = attributes.get(_MESSAGES[side])
    try:
        if isinstance(messages, str | bytes):
            messages = orjson.loads(messages)
        return "\n".join(part["content"] for m in messages for part in m["parts"])  # type: ignore[union-attr]  # else: TypeError
    except (KeyError, TypeError, ValueError):
        return None
