"""Messages in whatever shape they come, read in one."""

from collections.abc import Iterable, Mapping, Sequence
from json import dumps
from typing import Any, NamedTuple, cast

from waybell_adapters._events import objects
from waybell_adapters._reply import ToolCall


_PICTURE = ("media_type", "data", "url")


class Image(NamedTuple):
    """A picture: a web address, or a media type and base64."""

    media_type: str
    data: str
    url: str = ""

    @property
    def href(self) -> str:
        """As an address of one kind or the other."""
        return self.url or f"data:{self.media_type};base64,{self.data}"


class Tool(NamedTuple):
    """A tool that the model may call."""

    name: str
    description: str
    schema: Mapping[str, Any]


def blocks(content: Any) -> list[dict[str, Any]]:
    """A message's content as blocks, empty text left out."""
    if not content:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        dict(block) for block in content if block["type"] != "text" or block.get("text")
    ]


def text_of(content: Any) -> str:
    """The text of a content, what is not text as JSON."""
    parts = blocks(content)
    return "\n".join(
        str(part["text"]) if part["type"] == "text" else dumps(part) for part in parts
    )


def image(block: Mapping[str, Any]) -> Image | None:
    """The picture in a block of either vendor's form, None if it holds none.

    Raises:
        ValueError: It says that it is one and has no data or address.
    """
    if block["type"] not in ("image", "image_url"):
        return None
    at: Any = block.get("source", block.get("image_url", ""))
    fields: Mapping[str, Any] = {"url": at} if isinstance(at, str) else at
    media, data, url = (str(fields.get(name, "")) for name in _PICTURE)
    if url.startswith("data:"):
        media, _, data = url[5:].partition(";base64,")
        url = ""
    if not url + data:
        raise ValueError("a block with a picture needs a source with data or a url")
    return Image(media, data, url)


def calls(message: Mapping[str, Any]) -> list[ToolCall]:
    """The tool calls of an assistant's message of any vendor's form."""
    uses = _of_kind(message.get("content"), "tool_use")
    found = [ToolCall(str(b.get("id", "")), str(b["name"]), b["input"]) for b in uses]
    given = cast(Iterable[Mapping[str, Any]], message.get("tool_calls") or ())
    return found + [_call(item) for item in given]


def _call(item: Mapping[str, Any]) -> ToolCall:
    inner: Mapping[str, Any] = item.get("function") or item
    given: Any = inner.get("arguments") or {}
    arguments = arguments_of(given)[-1] if isinstance(given, str) else given
    return ToolCall(str(item.get("id", "")), str(inner["name"]), arguments)


def results(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tool results in a message: `tool_use_id`, `content`, perhaps `is_error`."""
    if message["role"] != "tool":
        return _of_kind(message.get("content"), "tool_result")
    found = {
        "type": "tool_result",
        "tool_use_id": message.get("tool_call_id") or message.get("id") or "",
        "content": message.get("content") or "",
    }
    return [found | ({"is_error": True} if message.get("is_error") else {})]


def arguments_of(text: str) -> list[dict[str, Any]]:
    """The arguments a model wrote: one object, or several that were glued together.

    Empty ones, which some servers send first, count only if there is no other; a text
    of JSON inside a JSON text is unpacked.

    Raises:
        ValueError: It is not JSON objects.
    """
    if text.lstrip().startswith('"'):
        from json import loads  # noqa: PLC0415 - only servers that quote twice need it

        inner: Any = loads(text)
        text = inner if isinstance(inner, str) else text
    found = [] if text.strip() == "null" else objects(text)
    full = [one for one in found if one]
    return [one for n, one in enumerate(full) if one not in full[:n]] or [{}]


def tools(given: Sequence[Any] | None) -> list[Tool | dict[str, Any]]:
    """Each tool: a neutral one read, a vendor's own as it is.

    Raises:
        TypeError: It is neither.
    """
    return [_tool(item, f"tools[{n}]") for n, item in enumerate(given or ())]


def _tool(item: Any, where: str) -> Tool | dict[str, Any]:
    if isinstance(item, Mapping):
        fields = dict(cast(Mapping[str, Any], item))
        if "type" in fields and "input_schema" not in fields:
            return fields
    else:
        names = ("name", "description", "input_schema", "schema")
        fields = {n: v for n in names if (v := getattr(item, n, None)) is not None}
    schema = fields.get("input_schema", fields.get("schema"))
    if not isinstance(fields.get("name"), str) or not isinstance(schema, Mapping):
        raise TypeError(f"{where} has a name, a description and an input_schema")
    return Tool(fields["name"], str(fields.get("description") or ""), schema)


def as_function(tool: Tool | dict[str, Any]) -> dict[str, Any]:
    """A tool as OpenAI and Ollama have it."""
    if isinstance(tool, dict):
        return tool
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": tool.schema}}


def _of_kind(content: Any, kind: str) -> list[dict[str, Any]]:
    if not content or isinstance(content, str):
        return []
    return [dict(block) for block in content if block["type"] == kind]
