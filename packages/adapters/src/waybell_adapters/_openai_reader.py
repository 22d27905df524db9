"""Reads the chunks of Chat Completions, as the many servers write them."""

from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any

from waybell_adapters._blocks import arguments_of
from waybell_adapters._dialect import Reader, count, joined, outcome, unique
from waybell_adapters._reply import ToolCall, Usage


_STOP = {
    "stop": "end", "length": "max_tokens", "tool_calls": "tool_use",
    "function_call": "tool_use", "content_filter": "refusal",
}  # fmt: skip
_NO: Mapping[str, Any] = {}


class OpenAIReader(Reader):
    """Reads the chunks of a chat completion."""

    __slots__ = ("_calls", "_extra", "_model", "_usage")

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[_Call] = []
        self._extra: dict[str, list[Any]] = {}
        self._model: str | None = None
        self._usage: Mapping[str, Any] | None = None

    def read(self, event: dict[str, Any]) -> str:
        """Take a chunk, or a whole completion, and give its text."""
        get = event.get
        self._usage = get("usage") or self._usage
        self._model = get("model") or self._model
        choices: Any = get("choices")
        if not choices or choices[0].get("index"):
            return ""  # of several answers the first is the reply
        return self._choice(choices[0])

    def usage(self) -> Usage | None:
        """Tokens by kind: the vendor counts cached input as input too."""
        said = self._usage
        if said is None:
            return None
        details: Any = said.get("prompt_tokens_details") or _NO
        read = count(details, "cached_tokens") or count(said, "prompt_cache_hit_tokens")
        written = count(details, "cache_write_tokens", "cache_creation_tokens")
        given = count(said, "prompt_tokens", "input_tokens")
        wrote = count(said, "completion_tokens", "output_tokens")
        more: Any = said.get("completion_tokens_details") or _NO
        thought = count(more, "reasoning_tokens")
        if thought and count(said, "total_tokens") == given + wrote + thought:
            wrote += thought  # some servers count thinking beside the rest
        return Usage(max(given - read - written, 0), wrote, read, written)

    def hidden(self) -> str:
        """Thinking and arguments, for an estimate."""
        extra = list(self._extra.values())
        thought = [str(part) for parts in extra for part in list(parts)]
        return "".join([*thought, *(call.text() for call in list(self._calls))])

    def facts(self, text: str, *, cut: bool) -> dict[str, Any]:
        """The reply's fields, from what has come."""
        half = cut or self.stop == "length"
        found = [one for call in list(self._calls) for one in call.calls(half=half)]
        made = unique([call for call, _ in found])
        extra = self._beside()
        message: dict[str, Any] = {"role": "assistant", "content": text, **extra}
        if made:
            message |= _asked(text, made, [beside for _, beside in found])
        reason = "content_filter" if "refusal" in extra else self.stop
        return outcome(_STOP, reason, made, message, self._model)

    def _beside(self) -> dict[str, Any]:
        return {name: joined(list(parts)) for name, parts in [*self._extra.items()]}

    def _choice(self, choice: Mapping[str, Any]) -> str:
        self.stop = choice.get("finish_reason") or self.stop
        delta: Any = choice.get("delta", choice.get("message")) or _NO
        text = delta.get("content") or ""
        if not isinstance(text, str):
            text = _joined(text)
        if len(delta) > 1 or not text:
            text += self._others(delta)
        if text:
            self.begun = True
        return str(text)

    def _others(self, delta: Mapping[str, Any]) -> str:
        """What is beside the text; a refusal is text too."""
        for name, value in delta.items():
            if value and name not in ("content", "role"):
                self.begun = True
                self._other(name, value)
        return str(delta.get("refusal") or "")

    def _other(self, name: str, value: Any) -> None:
        if name == "tool_calls":
            for item in value:
                self._called(item)
        elif name == "function_call":
            self._called({"index": 0, "function": value})
        else:
            self._extra.setdefault(name, []).append(value)

    def _called(self, item: Mapping[str, Any]) -> None:
        """A part of a tool call, which servers tie to its call in different ways."""
        fields: Mapping[str, Any] = item.get("function") or {}
        index, name = item.get("index"), item.get("id")
        mine = self._calls
        if index is not None:
            mine = [call for call in mine if call.index == index]
        elif name or "name" in fields:
            mine = []  # without an index, whoever says its name begins
        if not mine or not mine[-1].may_be(name):
            mine = [_Call(index)]
            self._calls += mine
        mine[-1].add(item, fields)


class _Call:
    """A tool call as it comes in parts."""

    __slots__ = ("_extra", "_name", "_parts", "id", "index")

    def __init__(self, index: Any) -> None:
        self.index = index
        self.id: str | None = None
        self._name = ""
        self._parts: list[str] = []
        self._extra: dict[str, Any] = {}

    def may_be(self, name: str | None) -> bool:
        """Whether a part with this id belongs to it; another id is another call."""
        return not name or self.id in (None, name)

    def add(self, item: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        self.id = item.get("id") or self.id
        name = fields.get("name")
        if name and name != self._name:
            self._name += name
        part: Any = fields.get("arguments")
        if part:
            self._parts.append(part if isinstance(part, str) else dumps(part))
        for key in item.keys() - {"index", "id", "type", "function"}:
            self._extra[key] = item[key]

    def text(self) -> str:
        return "".join(list(self._parts))

    def calls(self, *, half: bool) -> list[tuple[ToolCall, dict[str, Any]]]:
        found = readable(self._name, self.text(), half=half)
        extra = dict(self._extra)
        name = str(self.id or "")
        return [(ToolCall(name, self._name, one), extra) for one in found]


def readable(name: str, text: str, *, half: bool) -> list[dict[str, Any]]:
    """The arguments of a call; none of one whose end may be missing.

    Raises:
        ValueError: They cannot be read, or the call names no tool.
    """
    try:
        found = arguments_of(text)
    except ValueError as error:
        if half:
            return []
        raise ValueError(f"arguments of {name!r}: {error}: {text[:200]}") from None
    if not name and not half:
        raise ValueError("a tool call names no tool")
    return found if name else []


def _joined(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(str(part.get("text") or "") for part in parts)


def _asked(
    text: str, calls: tuple[ToolCall, ...], extras: list[dict[str, Any]]
) -> dict[str, Any]:
    pairs = zip(calls, extras, strict=True)
    made = [asked(call) | extra for call, extra in pairs]
    return {"content": text or None, "tool_calls": made}


def asked(call: ToolCall) -> dict[str, Any]:
    """A tool call as OpenAI has it in a message."""
    arguments = dumps(dict(call.arguments), ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
