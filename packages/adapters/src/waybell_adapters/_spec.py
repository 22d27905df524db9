"""One line names a model: `adapter("provider:model")`."""

from importlib import import_module
from typing import Any, cast

from waybell_adapters._protocol import LLMAdapter


# Where each provider is built; loaded when asked for, so that none costs the others.
_PROVIDERS = {
    "anthropic": ("_anthropic", "AnthropicAdapter"),
    "ollama": ("_ollama", "OllamaAdapter"),
    "offline": ("_offline", "OfflineAdapter"),
    "openai": ("_openai", "OpenAIAdapter"),
    "scripted": ("_scripted", "ScriptedAdapter"),
}


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
    if name not in _PROVIDERS:
        raise ValueError(_unknown(provider))
    module, kind = _PROVIDERS[name]
    build: Any = getattr(import_module(f"waybell_adapters.{module}"), kind)
    if name == "offline":
        options = {"model": model or "offline"} | options
    elif name == "scripted":
        options = {"replies": [model], "repeat": True} | options
    else:
        options["model"] = model
    return cast("LLMAdapter", build(**options))


def _unknown(provider: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for this error

    near = get_close_matches(provider.lower(), _PROVIDERS, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    known = ", ".join(sorted(_PROVIDERS))
    return f"no provider {provider!r}: a spec is provider:model, of {known}{guess}"
