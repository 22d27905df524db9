"""What a vendor's adapter must know: how to ask, and how to read what comes back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from os import urandom
from typing import Any, ClassVar, Protocol

from waybell_adapters._blocks import Tool
from waybell_adapters._reply import ToolCall, Usage, dollars


_NANO = Decimal("1e-9")
_MILLION = Decimal(10**6)


@dataclass(slots=True)
class Ask:
    """One call's arguments, checked, in no vendor's form."""

    model: str
    messages: list[dict[str, Any]]
    tools: list[Tool | dict[str, Any]]
    max_tokens: int | None = None
    temperature: float | None = None
    stop: list[str] = field(default_factory=list[str])
    tool_choice: Any = None
    output_schema: Mapping[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    size: int = 0  # tokens it has, as counted here


class Reader(Protocol):
    """Takes the events of one reply in turn."""

    __slots__ = ("begun", "done", "stop")
    begun: bool  # the model has said anything
    done: bool  # nothing more can come
    stop: str | None  # why the model stopped, None until it did

    def __init__(self) -> None:
        self.begun = self.done = False
        self.stop = None

    def read(self, event: dict[str, Any]) -> str:
        """Take an event and give the text in it."""
        ...

    def usage(self) -> Usage | None:
        """What the server said so far that it used."""
        ...

    def hidden(self) -> str:
        """What was written beside the text, for an estimate: thinking, arguments."""
        ...

    def facts(self, text: str, *, cut: bool) -> dict[str, Any]:
        """Arguments for the `Reply`; of a cut one, what is whole.

        Raises:
            ValueError: What came cannot be understood.
        """
        ...


class Dialect(Protocol):
    """One vendor: where it is, and its way to ask and to answer."""

    provider: ClassVar[str]
    home: ClassVar[str]  # its own address
    path: ClassVar[str]  # what follows an address
    key: ClassVar[str | None]  # the environment's name of the key, if it needs one
    url: ClassVar[str]  # the environment's name of the address
    lines: ClassVar[bool] = False  # it streams JSON by lines, not server-sent events
    reader: ClassVar[type[Reader]]

    def __init__(self, url: str) -> None:
        """Speak to the server at this address."""

    @staticmethod
    def address(text: str) -> str:
        """The address as its users write it."""
        return text.strip()

    @staticmethod
    def headers(key: str | None) -> dict[str, str]:
        """What it wants beside the usual."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, ask: Ask) -> dict[str, Any]:
        """The request's JSON."""
        ...

    def adjust(self, body: Mapping[str, Any], message: str) -> bool:  # noqa: ARG002 - for those that can
        """Learn from the refusal of a body; True if it would now be another."""
        return False


class Price:
    """Dollars for a million tokens of each kind.

    Args:
        stated: "input" and "output", perhaps "cache_read" and "cache_write". Reading
            from a cache costs the input's price unless stated; writing to one is more
            than that, so it is unknown.

    Raises:
        ValueError: A price is not an amount, or one of the first two is missing.
    """

    __slots__ = ("_each", "stated")

    def __init__(self, stated: Mapping[str, Any]) -> None:
        kinds = ("input", "output", "cache_read", "cache_write")
        strange = [name for name in stated if name not in kinds]
        if strange or "input" not in stated or "output" not in stated:
            raise ValueError(f"price has {', '.join(kinds)}; not {dict(stated)!r}")
        self._each = {
            name: dollars(value, f"price of {name} is dollars for a million")
            for name, value in stated.items()
        }
        self.stated = dict(self._each)
        self._each.setdefault("cache_read", self._each["input"])

    def of(self, usage: Usage) -> Decimal | None:
        """What this much costs, rounded up to the nano-dollar; None if unknown."""
        total = Decimal(0)
        for name, count in usage.items():
            price = self._each.get(name.removesuffix("_tokens"))
            if count and price is None:
                return None
            total += count * (price or 0)
        return (total / _MILLION).quantize(_NANO, ROUND_CEILING).normalize() + 0


def unique(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """The same calls, each with an id of its own."""
    seen: set[str] = set()
    found: list[ToolCall] = []
    for call in calls:
        name, n = call.id or f"call_{urandom(12).hex()}", 2
        while name in seen:
            name, n = f"{call.id or 'call'}-{n}", n + 1
        seen.add(name)
        found.append(ToolCall(name, call.name, call.arguments))
    return tuple(found)


def common(
    ask: Ask, names: Mapping[str, str], made: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    """The common options that were given, as a vendor names and makes them."""
    found: dict[str, Any] = {}
    for name in ("max_tokens", "temperature", "stop", "tool_choice", "output_schema"):
        value = getattr(ask, name)
        if value is not None and value != []:
            found[names.get(name, name)] = made[name](value) if name in made else value
    return found


def outcome(
    words: Mapping[str, str],
    stop: str | None,
    calls: tuple[ToolCall, ...],
    message: dict[str, Any],
    model: str | None,
) -> dict[str, Any]:
    """The fields of a reply; who calls a tool stopped for it, whatever its server says."""
    reason = words.get(stop or "", stop)
    facts: dict[str, Any] = {"tool_calls": calls, "message": message}
    facts["stop_reason"] = "tool_use" if calls and reason == "end" else reason
    if model:
        facts["model"] = model
    return facts


def joined(parts: Sequence[Any]) -> Any:
    """A field that is not known, of its parts: texts and lists are joined."""
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)
    if all(isinstance(part, list) for part in parts):
        return [one for part in parts for one in part]
    return parts[-1]


def body_of(ask: Ask, made: dict[str, Any]) -> dict[str, Any]:
    """The body with the vendor's own options; mappings that are in both are joined."""
    for name, value in ask.options.items():
        had: Any = made.get(name)
        both = isinstance(had, dict) and isinstance(value, Mapping)
        made[name] = {**had, **value} if both else value
    return made


def count(usage: Mapping[str, Any], *names: str) -> int:
    """The first of these counts that is one."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and value > 0:
            return int(value)
    return 0
