"""What a span or a decision says beside its time, cut to what a page can carry."""

from base64 import b64encode
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import orjson


_EXACT: Final = 2**53 - 1
# Characters that one text may have, by how many were kept before.
_TIERS: Final = ((4_000_000, 65_536), (12_000_000, 4_096))
_LEAST, _FAILED, _PARTS = 200, 8_192, 2_000
BRIEF: Final = 160  # characters of an error that lists always show
_PLAIN: Final = 800  # bytes of a record without long texts


class Details:
    """Turns attributes into compact JSON, and keeps the sum of all texts in bounds.

    A text that was cut is `{"s": its beginning, "n": its length}`, a list or mapping
    `{"j": its JSON}`; `am` and `em` say how many attributes and events were left out.
    `cut` counts the texts that were cut.
    """

    __slots__ = ("_errors", "_kept", "cut")

    def __init__(self) -> None:
        self._kept = self._errors = 0
        self.cut = 0

    def packed(self, value: Mapping[str, Any], *, failed: bool = False) -> bytes:
        """JSON of one record, whose texts have been cut.

        Args:
            value: Its fields; `a` and `e` are attributes and events, `n` and `s` texts.
            failed: Keep more of it, whatever else was kept.
        """
        limit = next((most for kept, most in _TIERS if self._kept < kept), _LEAST)
        limit = max(limit, _FAILED) if failed else limit
        attributes, events = value.get("a", {}), value.get("e", ())
        shown = {
            **value,
            "n": self._text(value.get("n", ""), limit),
            "s": self._text(value.get("s", ""), limit),
            "a": self._attributes(attributes, limit),
            "am": max(0, len(attributes) - _PARTS),
            "e": [
                [at, str(name)[:500], self._attributes(found, limit)]
                for at, name, found in events[:_PARTS]
            ],
            "em": max(0, len(events) - _PARTS),
        }
        packed = dumped({name: part for name, part in shown.items() if part})
        self._kept += max(0, len(packed) - _PLAIN)
        return packed

    def error(self, text: str) -> str:
        """An error as lists show it: whole for the first ones, then in brief."""
        self._errors += bool(text)
        most = 1_000 if self._errors <= 1_000 else BRIEF
        return text if len(text) <= most else f"{text[: most - 1]}\u2026"

    def forget(self, packed: bytes) -> None:
        """What `packed` has kept is not in the page after all."""
        self._kept -= max(0, len(packed) - _PLAIN)

    def _attributes(self, found: Mapping[str, Any], limit: int) -> dict[str, Any]:
        some = islice(found.items(), _PARTS)
        return {str(key)[:500]: self._value(value, limit) for key, value in some}

    def _value(self, value: Any, limit: int) -> Any:
        if isinstance(value, str):
            return self._text(value, limit)
        if isinstance(value, bytes):
            return self._text(f"base64: {b64encode(value).decode()}", limit)
        if isinstance(value, int | float):  # those that JSON or a browser would change
            return value if -_EXACT <= value <= _EXACT else str(value)
        return None if value is None else self._compound(value, limit)

    def _compound(self, value: Any, limit: int) -> Any:
        try:
            written = orjson.dumps(value, default=_other).decode()
        except TypeError:  # integers beyond 64 bits, very deep nesting
            written = repr(value)
        text = self._text(written, limit)
        return {"j": text} if isinstance(text, str) else {"j": text["s"], **text}

    def _text(self, text: str, limit: int) -> Any:
        if len(text) <= limit:
            return text
        self.cut += 1
        return {"s": text[:limit], "n": len(text)}


def dumped(value: object) -> bytes:
    """JSON to keep: a copy, as what orjson returns holds the kilobytes it was made in."""
    return bytes(memoryview(orjson.dumps(value)))


def _other(value: object) -> str:
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)
