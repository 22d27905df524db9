"""OpenAI's Chat Completions, and the many servers that speak them more or less."""

import re
from collections.abc import Mapping
from typing import Any, cast

from waybell_adapters._blocks import as_function, blocks, calls, image, text_of
from waybell_adapters._blocks import results as results_of
from waybell_adapters._dialect import Ask, Dialect, body_of, common
from waybell_adapters._openai_reader import OpenAIReader, asked
from waybell_adapters._vendor import VendorAdapter


_REFUSED_LIMIT = re.compile(
    r"max_(completion_)?tokens.*(unsupported|not supported|unknown|unrecogni[sz]ed|"
    r"extra|not permitted|instead|unexpected)|(unsupported|unknown|unrecogni[sz]ed|"
    r"extra|unexpected).*max_(completion_)?tokens",
    re.IGNORECASE | re.DOTALL,
)


class _OpenAI(Dialect):
    """How Chat Completions are asked and read.

    Args:
        url: The server; OpenAI's own knows the newest names.
    """

    __slots__ = ("_limit", "_no_usage", "_switched")
    provider = "openai"
    home = "https://api.openai.com/v1"
    path = "/chat/completions"
    key = "OPENAI_API_KEY"
    url = "OPENAI_BASE_URL"
    reader = OpenAIReader

    def __init__(self, url: str) -> None:
        official = "//api.openai.com/" in url
        self._limit = "max_completion_tokens" if official else "max_tokens"
        self._switched = False
        self._no_usage = False

    def body(self, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": ask.model,
            "messages": [said for message in ask.messages for said in _turns(message)],
            "stream": True,
        }
        if not self._no_usage:
            body["stream_options"] = {"include_usage": True}
        names = {"max_tokens": self._limit, "output_schema": "response_format"}
        made = {"tool_choice": _choice, "output_schema": _format}
        if ask.tools:
            body["tools"] = [as_function(tool) for tool in ask.tools]
        return body_of(ask, body | common(ask, names, made))

    def adjust(self, body: Mapping[str, Any], message: str) -> bool:
        """Do without what this server does not know."""
        if "stream_options" in body and "stream_options" in message:
            self._no_usage = True
            return True
        other = {"max_tokens": "max_completion_tokens"}.get(self._limit, "max_tokens")
        if _REFUSED_LIMIT.search(message) is None:
            return False
        if not self._switched and self._limit in body:
            self._switched = True
            self._limit = other
            return True
        return other in body  # another call has learned it meanwhile


def _turns(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message in OpenAI's form; tool results are messages of their own there."""
    answers = [_answer(result) for result in results_of(message)]
    if message["role"] == "tool":
        return answers
    said = _said(message)
    return (
        [*answers, said] if len(said) > 2 or said["content"] or not answers else answers
    )


def _said(message: dict[str, Any]) -> dict[str, Any]:
    said = {"content": None, **message}
    if isinstance(said["content"], list | tuple):
        said["content"] = _content(message["role"], blocks(said["content"]))
    made = calls(message)
    if made:
        said["tool_calls"] = _own(message) or [asked(call) for call in made]
    return said


def _answer(result: dict[str, Any]) -> dict[str, Any]:
    content = text_of(result.get("content"))
    return {"role": "tool", "tool_call_id": result["tool_use_id"], "content": content}


def _own(message: dict[str, Any]) -> list[Any]:
    """Calls in OpenAI's form already, with whatever a server put beside them."""
    was: list[dict[str, Any]] = message.get("tool_calls") or []
    return was if was and "function" in was[0] else []


def _content(role: str, parts: list[dict[str, Any]]) -> Any:
    found = [_part(part) for part in parts if part["type"] not in _FOREIGN]
    plain = all(part["type"] == "text" for part in found)
    if plain and (role != "user" or len(found) < 2):
        return "\n".join(part["text"] for part in found) or None
    return found


def _part(part: dict[str, Any]) -> dict[str, Any]:
    picture = image(part)
    if picture is not None:
        return {"type": "image_url", "image_url": {"url": picture.href}}
    return {"type": "text", "text": part["text"]} if part["type"] == "text" else part


# Blocks of other vendors' messages that are sent otherwise, or mean nothing here.
_FOREIGN = ("tool_use", "tool_result", "thinking", "redacted_thinking")


def _choice(choice: Any) -> Any:
    if choice in ("auto", "none", "required") or not isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {"name": "output", "schema": schema}
    if _strict(schema):
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}


def _strict(schema: Any) -> bool:
    """Whether OpenAI would take it as strict: all named, all required, no others."""
    if isinstance(schema, list):
        return all(map(_strict, cast(list[object], schema)))
    if not isinstance(schema, Mapping):
        return True
    fields = cast(Mapping[str, Any], schema)
    if fields.get("type") == "object" and (
        fields.get("additionalProperties") is not False
        or set(fields.get("required") or ()) != set(fields.get("properties") or ())
    ):
        return False
    return all(map(_strict, fields.values()))


class OpenAIAdapter(VendorAdapter):
    """A model behind OpenAI's Chat Completions or any compatible server.

    `OPENAI_API_KEY` and `OPENAI_BASE_URL` are read at the first call. The key of the
    environment goes to OpenAI or to the URL of the environment only: a server given as
    `base_url` gets `api_key`, or none.

    Args:
        model: Its name there.
        options: `api_key`, `base_url` (with the `/v1`), `price` (dollars for a million
            tokens: `{"input": 3, "output": 15, "cache_read": 0.3}`), `attempts`,
            `timeout` (seconds of silence), `headers`, `session` (a `requests.Session`
            with proxies and certificates), `connections` (calls at once), `backoff` and
            `max_wait` (seconds between attempts: the first pause, the longest).
    """

    __slots__ = ()
    _dialect = _OpenAI
