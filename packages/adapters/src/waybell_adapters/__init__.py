"""One small protocol for every model, and models that run without a key.

>>> from waybell_adapters import ScriptedAdapter
>>> model = ScriptedAdapter(["Hello."])
>>> reply = model.generate("Greet me.")
>>> reply
Reply('Hello.', tokens=5, model='scripted')
>>> reply.upper(), reply.usage.output_tokens, reply.cost
('HELLO.', 2, Decimal('0'))
>>> model.calls[0].prompt
'Greet me.'
"""

from waybell_adapters._anthropic import AnthropicAdapter
from waybell_adapters._errors import (
    AdapterError,
    BadReply,
    ContextTooLong,
    ModelRefused,
    ModelUnavailable,
    RateLimited,
)
from waybell_adapters._offline import OfflineAdapter
from waybell_adapters._ollama import OllamaAdapter
from waybell_adapters._openai import OpenAIAdapter
from waybell_adapters._protocol import LLMAdapter, agenerate, astream
from waybell_adapters._reply import CallAttempt, Reply, ToolCall, Usage
from waybell_adapters._scripted import ScriptedAdapter
from waybell_adapters._spec import adapter
from waybell_adapters._stream import ReplyStream


__all__ = [
    "AdapterError",
    "AnthropicAdapter",
    "BadReply",
    "CallAttempt",
    "ContextTooLong",
    "LLMAdapter",
    "ModelRefused",
    "ModelUnavailable",
    "OfflineAdapter",
    "OllamaAdapter",
    "OpenAIAdapter",
    "RateLimited",
    "Reply",
    "ReplyStream",
    "ScriptedAdapter",
    "ToolCall",
    "Usage",
    "adapter",
    "agenerate",
    "astream",
]
