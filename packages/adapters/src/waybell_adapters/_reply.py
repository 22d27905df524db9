"""What a model answered: text that carries its usage, its cost and its tool calls."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import Any, NoReturn, Self, TypeVar, cast

from waybell_adapters._prompt import count_tokens


T = TypeVar("T")
_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Usage(Mapping[str, int]):
    """Tokens of one call in one normal form; a mapping of its four counts.

    Args:
        input_tokens: Fresh input, neither read from nor written to a cache.
        output_tokens: What the model wrote, its thinking included.
        cache_read_tokens: Input that came from the vendor's cache.
        cache_write_tokens: Input that was put into it.
        estimated: The vendor did not say, these are counted here.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    estimated: bool = False

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value: object = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} is a count, not {value!r}")

    @property
    def total(self) -> int:
        """All tokens, in and out."""
        return sum(self.values())

    def __getitem__(self, name: str) -> int:
        if name not in _COUNTS:
            raise KeyError(name)
        return int(getattr(self, name))

    def __iter__(self) -> Iterator[str]:
        return iter(_COUNTS)

    def __len__(self) -> int:
        return len(_COUNTS)

    def __add__(self, other: "Usage") -> "Usage":
        """Both together; estimated if either is."""
        counts = {name: self[name] + other[name] for name in _COUNTS}
        return Usage(**counts, estimated=self.estimated or other.estimated)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model wants called.

    Args:
        id: What the tool's result must name.
        name: The tool.
        arguments: What to call it with.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallAttempt:
    """One request that was sent for a reply.

    Args:
        status: The HTTP status, None when there was no answer.
        error: Why it failed, None when it did not.
        seconds: How long it took.
        usage: What it used, as far as known.
        request_id: The vendor's id.
    """

    status: int | None = None
    error: str | None = None
    seconds: float = 0.0
    usage: Usage | None = None
    request_id: str | None = None


class Reply(str):
    """A model's answer: a `str` that knows where it came from. Immutable.

    Args:
        text: The answer.
        usage: Tokens used; left out, they are estimated from the text.
        cost: US dollars, or None when unknown.
        model: The model that answered.
        tool_calls: The tools it wants called.
        stop_reason: "end", "max_tokens", "stop_sequence", "tool_use", "refusal",
            or the vendor's own word; left out, "tool_use" or "end".
        attempts: The requests it took, the last one included.
        request_id: The vendor's id.
        partial: The answer was cut short by a failure or by leaving the stream.
        message: What to append to the messages for the next turn, verbatim; left
            out, it is made from the text and the tool calls.
    """

    __slots__ = (
        "attempts", "cost", "message", "model", "partial", "request_id", "stop_reason",
        "tool_calls", "usage",
    )  # fmt: skip
    usage: Usage
    cost: Decimal | None
    model: str | None
    tool_calls: tuple[ToolCall, ...]
    stop_reason: str
    attempts: tuple[CallAttempt, ...]
    request_id: str | None
    partial: bool
    message: Mapping[str, Any]

    def __new__(
        cls,
        text: str = "",
        *,
        usage: Usage | None = None,
        cost: Decimal | str | float | None = None,
        model: str | None = None,
        tool_calls: Sequence[ToolCall] = (),
        stop_reason: str | None = None,
        attempts: Sequence[CallAttempt] = (),
        request_id: str | None = None,
        partial: bool = False,
        message: Mapping[str, Any] | None = None,
    ) -> Self:
        self = super().__new__(cls, text)
        calls = tuple(tool_calls)
        facts: dict[str, Any] = {
            "usage": usage or Usage(0, count_tokens(text), estimated=True),
            "cost": (
                None
                if cost is None
                else dollars(cost, "cost is an amount of dollars or None")
            ),
            "model": model,
            "tool_calls": calls,
            "stop_reason": stop_reason or ("tool_use" if calls else "end"),
            "attempts": tuple(attempts),
            "request_id": request_id,
            "partial": partial,
            "message": _message(str(self), calls) if message is None else message,
        }
        for name, value in facts.items():
            object.__setattr__(self, name, value)
        return self

    @property
    def text(self) -> str:
        """The answer as a plain `str`."""
        return str(self)

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.usage.total

    def to_dict(self) -> dict[str, Any]:
        """All of it in what JSON has, for `from_dict`."""
        facts = {name: getattr(self, name) for name in Reply.__slots__}
        return cast(dict[str, Any], plain({"text": str(self), **facts}))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The same reply again; fields that are missing or new change nothing.

        Raises:
            KeyError: There is no text.
            ValueError: A field makes no sense.
        """
        facts = {name: data[name] for name in Reply.__slots__ if name in data}
        facts["usage"] = built(Usage, facts.get("usage"))
        facts["tool_calls"] = [built(ToolCall, c) for c in facts.get("tool_calls", ())]
        facts["attempts"] = [attempt(a) for a in facts.get("attempts", ())]
        return cls(data["text"], **facts)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Reply is immutable, its {name} stays")

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        return (str(self),), {name: getattr(self, name) for name in Reply.__slots__}

    def __getstate__(self) -> None:
        """Nothing beyond the arguments."""

    def __repr__(self) -> str:
        shown = str(self) if len(self) <= 60 else f"{self[:60]}..."
        return f"Reply({shown!r}, tokens={self.tokens}, model={self.model!r})"


def dollars(value: Any, said: str) -> Decimal:
    """An exact amount.

    Raises:
        ValueError: It is none; `said` begins the text.
    """
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except (ArithmeticError, TypeError, ValueError):
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise ValueError(f"{said}, not {value!r}")
    return amount


def _message(text: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}
            for call in calls
        ]
    return message


def plain(value: Any) -> Any:
    """The value in what JSON has; what has no form there stays as it is."""
    if isinstance(value, str | Decimal):
        return str(value)
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    inner: Any = value
    if isinstance(value, Mapping):
        return {str(name): plain(inner[name]) for name in inner}
    return [plain(one) for one in inner] if isinstance(value, list | tuple) else value


def built(kind: type[T], data: Mapping[str, Any] | None) -> T | None:
    """What `plain` made of a dataclass, made back."""
    names = [f.name for f in fields(cast(Any, kind))]
    return None if data is None else kind(**{n: data[n] for n in names if n in data})


def attempt(data: Mapping[str, Any]) -> CallAttempt:
    """An attempt made back."""
    facts: dict[str, Any] = {**data, "usage": built(Usage, data.get("usage"))}
    return cast(CallAttempt, built(CallAttempt, facts))
