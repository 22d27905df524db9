"""How much of a prompt and of a reply a span keeps."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import orjson

from waybell_trace import _semconv as names
from waybell_trace._otlp import dumps
from waybell_trace._values import PARTS, plain, text


Capture: TypeAlias = Literal["none", "digest", "text"]
Side: TypeAlias = Literal["prompt", "reply"]

_ROLE: Final = {"prompt": "user", "reply": "assistant"}
_JSON: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS


def captured(capture: Capture, side: Side, value: object) -> dict[str, Any]:
    """The attributes that keep `value`, a text or anything JSON can show."""
    if capture == "none":
        return {names.CAPTURE: capture}
    written = value if isinstance(value, str) else _as_text(value)
    digest = hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()
    kept: dict[str, Any] = {
        names.CAPTURE: capture,
        names.LENGTH[side]: len(written),
        names.SHA256[side]: digest[:32],  # 128 bits tell texts apart
    }
    if capture == "text":
        part = {"type": "text", "content": text(written)}
        message = {"role": _ROLE[side], "parts": [part]}
        if side == "reply":
            message["finish_reason"] = "stop"  # the convention asks for one
        # As a JSON string, which the convention allows and every SDK can keep.
        kept[names.MESSAGES[side]] = dumps([message]).decode()
    return kept


def _as_text(value: object) -> str:
    try:
        shown = plain(value) if _vast(value) else value
        return orjson.dumps(shown, default=_other, option=_JSON).decode()
    except Exception:
        return text(plain(value))


def _other(value: object) -> Any:
    return text(shown) if type(shown := plain(value)) is bytes else shown


def _vast(value: object) -> bool:
    """Whether JSON of it would not end: things that refer to each other, say."""
    level: list[Any] = [value]
    left = 100 * PARTS
    for _ in range(250):  # orjson goes four levels deeper
        inner: list[Any] = [x for x in level if isinstance(x, dict | list | tuple)]
        left -= sum(map(len, inner))
        if not inner or left < 0:
            return bool(inner)
        level = [y for x in inner for y in (x.values() if isinstance(x, dict) else x)]  # pyright: ignore[reportUnknownVariableType]
    return True


def restored(attributes: Mapping[str, Any], side: Side) -> str | None:
    """The text that was kept, if it was."""
    try:
        messages = orjson.loads(attributes[names.MESSAGES[side]])
        return "\n".join(part["content"] for m in messages for part in m["parts"])
    except (KeyError, TypeError, ValueError):
        return None
