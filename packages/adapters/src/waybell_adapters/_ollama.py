"""Ollama's /api/chat."""

from collections.abc import Mapping
from json import dumps
from typing import Any
from urllib.parse import urlsplit

from waybell_adapters._blocks import (
    Image,
    as_function,
    blocks,
    calls,
    image,
    results,
    text_of,
)  # fmt: skip
from waybell_adapters._dialect import (
    Ask,
    Dialect,
    Reader,
    common,
    count,
    outcome,
    unique,
)
from waybell_adapters._openai_reader import readable
from waybell_adapters._reply import ToolCall, Usage
from waybell_adapters._vendor import VendorAdapter


_STOP = {"stop": "end", "length": "max_tokens"}
# Fields beside `options`; every other name is a setting of the model.
_TOP = (
    "format", "keep_alive", "think", "template", "logprobs", "top_logprobs", "options",
)  # fmt: skip
_SAID = ("content", "thinking", "tool_calls")
_KEPT = ("thinking", "images")  # fields of a message that go back as they are
_PORT = 11434


def address(text: str) -> str:
    """The address in a host as Ollama reads it."""
    text = text.strip()
    if "://" not in text:
        host, _, port = text.rpartition(":") if _has_port(text) else (text, "", "")
        text = f"http://{host or '127.0.0.1'}:{port or _PORT}"
    if urlsplit(text).hostname in ("0.0.0.0", "::"):  # noqa: S104 - where a server listens
        text = text.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104 - see above
    return text.rstrip("/").removesuffix("/api")


def _has_port(text: str) -> bool:
    """Whether `host:port`; an IPv6 address has colons too."""
    return text.rpartition(":")[2].isdecimal() and (
        text.count(":") == 1 or text.rpartition(":")[0].endswith("]")
    )


class _Reader(Reader):
    """Reads the lines of a chat."""

    __slots__ = ("_calls", "_counts", "_thinking")

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Mapping[str, Any]] = []
        self._counts: Mapping[str, Any] | None = None
        self._thinking: list[str] = []

    def read(self, event: dict[str, Any]) -> str:
        message: Mapping[str, Any] = event.get("message") or {}
        found = {name: message[name] for name in _SAID if message.get(name)}
        if found:
            self.begun = True
            self._thinking.append(found.get("thinking", ""))
            self._calls += found.get("tool_calls", ())
        if event.get("done"):
            self.done = True
            self.stop = event.get("done_reason") or "stop"
            self._counts = event
        return str(found.get("content", ""))

    def usage(self) -> Usage | None:
        if self._counts is None:
            return None
        read = count(self._counts, "prompt_eval_count")
        # The input is missing where it was all in its cache.
        return Usage(read, count(self._counts, "eval_count"))

    def hidden(self) -> str:
        return "".join(list(self._thinking)) + dumps(list(self._calls))[2:-2]

    def facts(self, text: str, *, cut: bool) -> dict[str, Any]:
        half = cut or self.stop == "length"
        calls = list(self._calls)
        made = unique([one for item in calls for one in _called(item, half=half)])
        message: dict[str, Any] = {"role": "assistant", "content": text}
        thinking = "".join(list(self._thinking))
        if thinking:
            message["thinking"] = thinking
        if made:
            message["tool_calls"] = [_asked(call) for call in made]
        return outcome(_STOP, self.stop, made, message, None)


class _Ollama(Dialect):
    """How a chat with Ollama is asked and read."""

    __slots__ = ()
    provider = "ollama"
    home = f"http://127.0.0.1:{_PORT}"
    path = "/api/chat"
    key = None
    url = "OLLAMA_HOST"
    lines = True
    reader = _Reader
    address = staticmethod(address)

    def body(self, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": ask.model,
            "messages": _turns(ask.messages),
            "stream": True,
        }
        if ask.tools and ask.tool_choice != "none":
            body["tools"] = [as_function(tool) for tool in ask.tools]
        settings = common(ask, {"max_tokens": "num_predict"}, {})
        settings.pop("tool_choice", None)  # it has none
        if "output_schema" in settings:
            body["format"] = settings.pop("output_schema")
        for name, value in ask.options.items():
            (body if name in _TOP else settings)[name] = value
        settings |= body.pop("options", {})
        return body | ({"options": settings} if settings else {})


def _called(item: Mapping[str, Any], *, half: bool) -> list[ToolCall]:
    fields: Mapping[str, Any] = item.get("function") or {}
    name = str(fields.get("name") or "")
    given: Any = fields.get("arguments") or {}
    text = given if isinstance(given, str) else dumps(given)
    found = readable(name, text, half=half)
    return [ToolCall(str(item.get("id") or ""), name, one) for one in found]


def _turns(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {call.id: call.name for message in messages for call in calls(message)}
    turns: list[dict[str, Any]] = []
    for message in messages:
        turns += [_result(result, names) for result in results(message)]
        said = {} if message["role"] == "tool" else _said(message)
        if said.get("content") or len(said) > 2:
            turns.append(said)
    return turns


def _result(result: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    at = result["tool_use_id"]
    known = {"tool_name": names[at]} if at in names else {}
    content = text_of(result.get("content"))
    return {"role": "tool", "content": content, "tool_call_id": at, **known}


def _said(message: dict[str, Any]) -> dict[str, Any]:
    role = "system" if message["role"] == "developer" else message["role"]
    parts = blocks(message.get("content"))
    texts = [str(part["text"]) for part in parts if part["type"] == "text"]
    said: dict[str, Any] = {"role": role, "content": "\n".join(texts)}
    said |= {name: message[name] for name in _KEPT if name in message}
    pictures = [_base64(found) for found in map(image, parts) if found is not None]
    made = [_asked(call) for call in calls(message)]
    more = {"images": pictures, "tool_calls": made}
    return said | {name: value for name, value in more.items() if value}


def _base64(picture: Image) -> str:
    if picture.url:
        raise ValueError("Ollama takes pictures as base64 data, not by url")
    return picture.data


def _asked(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": dict(call.arguments)}
    return {"id": call.id, "function": function}


class OllamaAdapter(VendorAdapter):
    """A model that Ollama runs.

    `OLLAMA_HOST` is read at the first call, in Ollama's own forms (a host, a port, both,
    a URL); without it the model runs on this machine. Settings like `num_ctx` and
    `top_k` are given by name. It needs no key; `api_key=` is sent if given.

    Args:
        model: Its name there.
        options: See `OpenAIAdapter`.
    """

    __slots__ = ()
    _dialect = _Ollama
