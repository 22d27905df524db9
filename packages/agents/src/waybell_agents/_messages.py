"""The messages that a run exchanges with its model."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast


def opening(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return [said(str(prompt))]
    if isinstance(prompt, Sequence) and prompt:
        return [*prompt]  # pyright: ignore[reportUnknownVariableType]
    form = "{'role': 'user', 'content': 'Hi'}"
    raise TypeError(
        f"a prompt is text, or messages such as {form}, not {prompt!r:.200}"
    )


def said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def told(result: Mapping[str, Any]) -> dict[str, Any]:
    message = {"role": "tool", "tool_call_id": result["id"], "content": result["text"]}
    return message | ({"is_error": True} if "error" in result else {})


def result(call: Any, outcome: Any) -> Mapping[str, Any]:
    """What a call came to; what must end the run is raised."""
    if isinstance(outcome, Mapping):
        return cast("Mapping[str, Any]", outcome)
    if isinstance(outcome, asyncio.CancelledError):
        return failed(call, "CancelledError", "the tool was cancelled by itself")
    raise outcome


def failed(call: Any, kind: str, message: str) -> dict[str, Any]:
    error = {"type": kind, "message": message}
    text = f"{kind}: {message}"
    return {"id": call.id, "name": call.name, "error": error, "text": text}
