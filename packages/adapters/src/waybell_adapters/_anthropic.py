"""Anthropic's Messages."""

import re
from collections.abc import Mapping
from typing import Any

from waybell_adapters._blocks import Tool, blocks, calls, image, results
from waybell_adapters._dialect import (
    Ask,
    Dialect,
    Reader,
    body_of,
    common,
    count,
    joined,
    outcome,
    unique,
)
from waybell_adapters._events import mended
from waybell_adapters._openai_reader import readable
from waybell_adapters._reply import ToolCall, Usage
from waybell_adapters._vendor import VendorAdapter


_STOP = {"end_turn": "end"}
_COUNTS = (
    "input_tokens", "output_tokens", "cache_read_input_tokens",
    "cache_creation_input_tokens",
)  # fmt: skip
# Which field of its block a delta is a part of, for those that come in many parts.
_LONG = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}


class _Reader(Reader):
    """Reads the events of a message."""

    __slots__ = ("_blocks", "_model", "_parts", "_usage")

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, dict[str, Any]] = {}
        self._parts: dict[int, list[str]] = {}
        self._usage: dict[str, int] = {}
        self._model: str | None = None

    def read(self, event: dict[str, Any]) -> str:
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._delta(event.get("index"), event["delta"])
        if kind == "content_block_start":
            return self._start(event.get("index"), event["content_block"])
        if kind in ("message_start", "message"):
            return self._message(event.get("message", event))
        if kind == "message_delta":
            self._end(event)
        self.done = kind == "message_stop"
        return ""

    def usage(self) -> Usage | None:
        """Tokens by kind; each count is of all so far, so the highest is the truth."""
        if not self._usage:
            return None
        fresh, wrote, read, written = (self._usage.get(name, 0) for name in _COUNTS)
        return Usage(fresh, wrote, read, written)

    def hidden(self) -> str:
        blocks = list(self._blocks.items())
        return "".join(self._text(n) for n, b in blocks if b.get("type") != "text")

    def facts(self, text: str, *, cut: bool) -> dict[str, Any]:  # noqa: ARG002 - it is in the blocks
        half = cut or self.stop == "max_tokens"
        blocks = sorted(self._blocks.copy().items())
        content = [one for at, b in blocks for one in self._whole(at, b, half=half)]
        uses = [block for block in content if block.get("type") == "tool_use"]
        made = unique([ToolCall(b.get("id", ""), b["name"], b["input"]) for b in uses])
        for call, block in zip(made, uses, strict=True):
            block["id"] = call.id
        message = {"role": "assistant", "content": content}
        return outcome(_STOP, self.stop, made, message, self._model)

    def _end(self, event: Mapping[str, Any]) -> None:
        delta: Mapping[str, Any] = event.get("delta") or event
        self.stop = delta.get("stop_reason") or self.stop
        used: Mapping[str, Any] = event.get("usage") or {}
        for name in _COUNTS:
            self._usage[name] = max(self._usage.get(name, 0), count(used, name))

    def _message(self, message: Mapping[str, Any]) -> str:
        self._model = message.get("model")
        content: Any = message.get("content") or ()
        text = "".join(self._start(n, block) for n, block in enumerate(content))
        self._end(message)
        return text

    def _start(self, index: int | None, block: Mapping[str, Any]) -> str:
        at = len(self._blocks) if index is None else index
        self._parts[at] = []
        self._blocks[at] = kept = dict(block)
        if kept.get("type") != "text":
            self.begun = True
            return ""
        return self._say(at, str(kept.pop("text", None) or ""))

    def _delta(self, index: int | None, delta: Mapping[str, Any]) -> str:
        at = index if index is not None else max(self._blocks, default=0)
        kind = str(delta.get("type"))
        if at not in self._blocks:
            begun = {"input_json_delta": "tool_use"}.get(kind, kind[: -len("_delta")])
            self._start(at, {"type": begun})
        if kind not in _LONG:
            return self._other(self._blocks[at], kind, delta)
        text = self._say(at, delta.get(_LONG[kind]) or "")
        return text if kind == "text_delta" else ""

    def _other(self, block: dict[str, Any], kind: str, delta: Mapping[str, Any]) -> str:
        self.begun = True
        parts = {name: delta[name] for name in delta.keys() - {"type"}}
        if kind == "citations_delta":
            parts = {"citations": [delta.get("citation")]}
        for name, part in parts.items():
            block[name] = joined([block[name], part]) if name in block else part
        return ""

    def _say(self, at: int, text: str) -> str:
        if text:
            self.begun = True
            self._parts[at].append(text)
        return text

    def _text(self, at: int) -> str:
        return mended("".join(list(self._parts[at])))

    def _whole(
        self, at: int, block: dict[str, Any], *, half: bool
    ) -> list[dict[str, Any]]:
        """A block as it is sent back; nothing if it is empty or its end is missing."""
        text, kind = self._text(at), block.get("type")
        if kind == "text":
            return [{**block, "text": text}] if text else []
        if kind == "thinking":
            whole = {**block, "thinking": block.get("thinking", "") + text}
            return [whole] if block.get("signature") or not half else []
        if "input" in block or kind == "tool_use":
            return self._call(block, text, half=half)
        return [dict(block)]

    def _call(
        self, block: dict[str, Any], text: str, *, half: bool
    ) -> list[dict[str, Any]]:
        # What the start had already, where nothing followed, is all of it.
        given = [block["input"]] if not text and block.get("input") else None
        found = given or readable(str(block.get("name", "")), text, half=half)
        return [{**block, "input": one} for one in found]


class _Anthropic(Dialect):
    """How Messages are asked and read."""

    __slots__ = ()
    provider = "anthropic"
    home = "https://api.anthropic.com"
    path = "/v1/messages"
    key = "ANTHROPIC_API_KEY"
    url = "ANTHROPIC_BASE_URL"
    reader = _Reader

    @staticmethod
    def address(text: str) -> str:
        return text.strip().rstrip("/").removesuffix("/v1")

    @staticmethod
    def headers(key: str | None) -> dict[str, str]:
        version = {"anthropic-version": "2023-06-01"}
        return version | ({"x-api-key": key} if key else {})

    def body(self, ask: Ask) -> dict[str, Any]:
        system, turns = _turns(ask.messages)
        body: dict[str, Any] = {"model": ask.model, "messages": turns, "stream": True}
        if system:
            body["system"] = system
        if ask.tools:
            body["tools"] = [_tool(tool) for tool in ask.tools]
        names = {"stop": "stop_sequences", "output_schema": "output_config"}
        made = {"tool_choice": _choice, "output_schema": _format}
        return body_of(ask, body | common(ask, names, made))


def _turns(messages: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The system prompt, and the messages as Anthropic has them."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        role, content = message["role"], _content(message)
        if role in ("system", "developer"):
            system += content
        elif content:
            _append(turns, "assistant" if role == "assistant" else "user", content)
    if len(system) == 1 and set(system[0]) == {"type", "text"}:
        return system[0]["text"], turns
    return system, turns


def _append(turns: list[dict[str, Any]], role: str, content: list[Any]) -> None:
    """Add a turn; all results of one turn's calls go in one message."""
    if role == "user" and turns and turns[-1]["role"] == "user":
        turns[-1]["content"] += content
    else:
        turns.append({"role": role, "content": content})


def _content(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [_result(result) for result in results(message)]
    found: list[dict[str, Any]] = [_block(b) for b in blocks(message.get("content"))]
    if message.get("tool_calls"):
        for call in calls({**message, "content": None}):
            use = {"type": "tool_use", "id": _safe(call.id), "name": call.name}
            found.append({**use, "input": dict(call.arguments)})
    return found


def _block(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "tool_result":
        return _result(block)
    picture = image(block)
    if picture is None or "source" in block:
        return block
    if picture.url:
        return {"type": "image", "source": {"type": "url", "url": picture.url}}
    source = {"type": "base64", "media_type": picture.media_type, "data": picture.data}
    return {"type": "image", "source": source}


def _result(result: dict[str, Any]) -> dict[str, Any]:
    content = result.get("content") or ""
    if not isinstance(content, str):
        content = [_block(dict(block)) for block in content]
    return {**result, "tool_use_id": _safe(result["tool_use_id"]), "content": content}


def _safe(name: str) -> str:
    """An id in the letters that Anthropic takes, for calls of other vendors."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)


def _tool(tool: Tool | dict[str, Any]) -> dict[str, Any]:
    if isinstance(tool, dict):
        return tool
    named = {"name": tool.name, "description": tool.description}
    return {**named, "input_schema": tool.schema}


def _format(schema: Any) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": schema}}


def _choice(choice: Any) -> Any:
    if not isinstance(choice, str):
        return choice
    if choice in ("auto", "none"):
        return {"type": choice}
    return {"type": "any"} if choice == "required" else {"type": "tool", "name": choice}


class AnthropicAdapter(VendorAdapter):
    """A model behind Anthropic's Messages or any server that speaks them.

    `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL` are read at the first call; to whom the
    key goes is said at `OpenAIAdapter`, like the options. Where `max_tokens` is not
    given, 4,096 are asked for, as the vendor wants a limit. Thinking and its signatures
    are in `Reply.message`, to be sent back as it is.

    Args:
        model: Its name there.
        options: See `OpenAIAdapter`; `base_url` is without the `/v1`.
    """

    __slots__ = ()
    _dialect = _Anthropic
    _max_tokens = 4096
