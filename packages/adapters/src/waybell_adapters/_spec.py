"""One line names a model: `adapter("provider:model")`."""

from typing import Any

from waybell_adapters._anthropic import AnthropicAdapter
from waybell_adapters._offline import OfflineAdapter
from waybell_adapters._ollama import OllamaAdapter
from waybell_adapters._openai import OpenAIAdapter
from waybell_adapters._protocol import LLMAdapter
from waybell_adapters._scripted import ScriptedAdapter


_VENDORS = {
    "anthropic": AnthropicAdapter, "ollama": OllamaAdapter, "openai": OpenAIAdapter
}  # fmt: skip


def adapter(spec: str, **options: Any) -> LLMAdapter:
    """Build the model that a spec names.

    Args:
        spec: "provider:model"; "offline" needs no model, and "scripted:text" answers
            each call with the text.
        **options: For the adapter's constructor.

    Raises:
        ValueError: There is no such provider.
    """
    provider, _, model = spec.partition(":")
    name = provider.strip().lower()
    if name == "offline":
        options.setdefault("model", model or "offline")
        return OfflineAdapter(**options)
    if name == "scripted":
        options = {"replies": [model], "repeat": True, **options}
        return ScriptedAdapter(**options)
    if name not in _VENDORS:
        raise ValueError(_unknown(provider))
    if not model.strip():
        raise ValueError(f"{spec!r} names no model: write {name}:MODEL")
    options["model"] = model
    return _VENDORS[name](**options)


def _unknown(provider: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for this error

    names = sorted([*_VENDORS, "offline", "scripted"])
    near = get_close_matches(provider.lower(), names, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return f"no provider {provider!r}: a spec is provider:model, of {', '.join(names)}{guess}"
