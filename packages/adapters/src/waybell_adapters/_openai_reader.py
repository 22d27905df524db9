"""Reads the chunks of Chat Completions, as the many servers write them."""

from collections.abc import Mapping
from json import dumps
from typing import Any

from waybell_adapters._blocks import arguments_of
from waybell_adapters._dialect import count, merge, unique
from waybell_adapters._reply import ToolCall, Usage


_STOP = {
    "stop": "end", "length": "max_tokens", "tool_calls": "tool_use",
    "function_call": "tool_use", "content_filter": "refusal",
}  # fmt: skip
_NOTHING: Mapping[str, Any] = {}


class OpenAIReader:
    """Reads the chunks of a chat completion."""

    __slots__ = ("_calls", "_extra", "_model", "_usage", "begun", "done", "stop")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._extra: dict[str, Any] = {}
        self._model: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self.begun = False
        self.done = False
        self.stop: str | None = None

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
        details: Any = said.get("prompt_tokens_details") or _NOTHING
        read = count(details, "cached_tokens") or count(said, "prompt_cache_hit_tokens")
        written = count(details, "cache_write_tokens", "cache_creation_tokens")
        given = count(said, "prompt_tokens", "input_tokens")
        wrote = count(said, "completion_tokens", "output_tokens")
        more: Any = said.get("completion_tokens_details") or _NOTHING
        thought = count(more, "reasoning_tokens")
        if thought and count(said, "total_tokens") == given + wrote + thought:
            wrote += thought  # some servers count thinking beside the rest
        return Usage(max(given - read - written, 0), wrote, read, written)

    def hidden(self) -> str:
        """Thinking and arguments, for an estimate."""
        thought = [str(value) for value in list(self._extra.values())]
        return "".join([*thought, *(call.text() for call in list(self._calls))])

    def facts(self, text: str, *, cut: bool) -> dict[str, Any]:
        """The reply's fields, from what has come."""
        half = cut or self.stop == "length"
        found = [one for call in list(self._calls) for one in call.calls(half=half)]
        made = unique([call for call, _ in found])
        message: dict[str, Any] = {"role": "assistant", "content": text, **self._extra}
        if made:
            message["content"] = text or None
            pairs = zip(made, found, strict=True)
            message["tool_calls"] = [asked(call) | more for call, (_, more) in pairs]
        said = "content_filter" if "refusal" in self._extra else self.stop
        stop = _STOP.get(said or "", said)
        facts: dict[str, Any] = {"tool_calls": made, "message": message}
        facts["stop_reason"] = "tool_use" if made and stop == "end" else stop
        return facts | ({"model": self._model} if self._model else {})

    def _choice(self, choice: Mapping[str, Any]) -> str:
        self.stop = choice.get("finish_reason") or self.stop
        delta: Mapping[str, Any] = choice.get("delta") or choice.get("message") or {}
        text: Any = delta.get("content") or ""
        if not isinstance(text, str):
            text = "".join(str(part.get("text") or "") for part in text)
        if len(delta) > 1 or "content" not in delta:
            text += self._others(delta)
        if text:
            self.begun = True
        return str(text)

    def _others(self, delta: Mapping[str, Any]) -> str:
        """What is beside the text; a refusal is text too."""
        for name, value in delta.items():
            if not value or name in ("content", "role"):
                continue
            self.begun = True
            if name == "tool_calls":
                for item in value:
                    self._called(item)
            elif name == "function_call":
                self._called({"index": 0, "function": value})
            else:
                merge(self._extra, name, value)
        return str(delta.get("refusal") or "")

    def _called(self, item: Mapping[str, Any]) -> None:
        """A part of a tool call, which servers tie to its call in different ways."""
        fields: Mapping[str, Any] = item.get("function") or {}
        index, name = item.get("index"), item.get("id")
        mine = [call for call in self._calls if index is None or call.index == index]
        last = mine[-1] if mine else None
        if index is None and (name or fields.get("name")):
            last = None  # without an index, whoever says its name begins
        if last is None or (name and last.id not in (None, name)):
            last = _Call(index)  # and so does another id under the same index
            self._calls.append(last)
        last.add(item, fields)


class _Call:
    """A tool call as it comes in parts."""

    __slots__ = ("_extra", "_name", "_parts", "id", "index")

    def __init__(self, index: Any) -> None:
        self.index = index
        self.id: str | None = None
        self._name = ""
        self._parts: list[str] = []
        self._extra: dict[str, Any] = {}

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
        return [(ToolCall(self.id or "", self._name, one), extra) for one in found]


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


def asked(call: ToolCall) -> dict[str, Any]:
    """A tool call as OpenAI has it in a message."""
    arguments = dumps(dict(call.arguments), ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
