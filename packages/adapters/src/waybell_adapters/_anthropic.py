"""Anthropic's Messages."""

import re
from typing import Any

from waybell_adapters._anthropic_reader import AnthropicReader
from waybell_adapters._blocks import Tool, blocks, calls, image, results
from waybell_adapters._dialect import Ask, Dialect, body_of, common
from waybell_adapters._vendor import VendorAdapter


class _Anthropic(Dialect):
    """How Messages are asked and read."""

    __slots__ = ()
    provider = "anthropic"
    home = "https://api.anthropic.com"
    path = "/v1/messages"
    key = "ANTHROPIC_API_KEY"
    url = "ANTHROPIC_BASE_URL"
    reader = AnthropicReader

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
