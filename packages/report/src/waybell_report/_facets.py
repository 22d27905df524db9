"""What a span is about, by our own names or those of other instrumentations.

GenAI conventions, their older spellings, and OpenInference's
(https://github.com/Arize-ai/openinference, spec/semantic_conventions.md).
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

from waybell_trace import SpanRecord, SpanUsage


KINDS: Final = ("other", "agent", "model", "tool", "topic", "flow")
_OTHER, _AGENT, _MODEL, _TOOL, _TOPIC, _FLOW = range(6)
_BY_OPERATION: Final = {
    "invoke_agent": _AGENT, "create_agent": _AGENT, "chat": _MODEL,
    "generate_content": _MODEL, "text_completion": _MODEL, "embeddings": _MODEL,
    "execute_tool": _TOOL, "invoke_workflow": _FLOW,
}  # fmt: skip
_BY_KIND: Final = {
    "AGENT": _AGENT, "LLM": _MODEL, "EMBEDDING": _MODEL, "TOOL": _TOOL,
    "RETRIEVER": _TOOL, "CHAIN": _FLOW,
}  # fmt: skip
_AGENTS: Final = ("gen_ai.agent.name", "agent.name")
_MODELS: Final = (
    "gen_ai.response.model", "gen_ai.request.model", "llm.model_name",
    "embedding.model_name",
)  # fmt: skip
_TOOLS: Final = ("gen_ai.tool.name", "tool.name")
_INPUT: Final = ("gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_OUTPUT: Final = ("gen_ai.usage.completion_tokens", "llm.token_count.completion")
_DOLLARS: Final = ("operation.cost", "llm.cost.total", "gen_ai.usage.cost")
_MOST: Final = 2**53 - 1  # what a page can count exactly


def kind_of(span: SpanRecord) -> int:
    """Its place in `KINDS`."""
    found = span.attributes
    if "waybell.topic" in found:
        return _TOPIC
    operation = _BY_OPERATION.get(str(found.get("gen_ai.operation.name")), _OTHER)
    return operation or _BY_KIND.get(str(found.get("openinference.span.kind")), _OTHER)


def agent_of(span: SpanRecord) -> str | None:
    """The agent whose turn it is, or the topic of a delivery."""
    return _text(span.attributes, (*_AGENTS, "waybell.topic"))


def model_of(span: SpanRecord) -> str | None:
    """The model that answered, or else the one asked."""
    return _text(span.attributes, _MODELS)


def tool_of(span: SpanRecord) -> str | None:
    """The tool that was called."""
    return _text(span.attributes, _TOOLS)


def usage_of(span: SpanRecord) -> SpanUsage:
    """What is recorded on this very span; numbers that make no sense are unknown."""
    own, found = span.usage, span.attributes
    read = own.input_tokens, *(found.get(name) for name in _INPUT)
    written = own.output_tokens, *(found.get(name) for name in _OUTPUT)
    cost = own.nano_usd, *(_nano(found.get(name)) for name in _DOLLARS)
    return SpanUsage(
        _first(*read),
        _first(*written),
        _first(own.cache_read_tokens),
        _first(own.cache_write_tokens),
        _first(*cost),
    )


def _text(found: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    value = next((found[name] for name in names if found.get(name)), None)
    return None if value is None else str(value)[:200]


def _first(*values: Any) -> int | None:
    for value in values:
        if type(value) is int and value >= 0:
            return min(value, _MOST)
    return None


def _nano(usd: Any) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, int | float | str):
        return None
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount < 9_000_000:
        return None
    return int((amount * 10**9).to_integral_value(ROUND_CEILING))
