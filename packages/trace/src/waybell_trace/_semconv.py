"""Attribute names, pinned to the conventions they come from.

GenAI names: open-telemetry/semantic-conventions-genai at commit
002c8a6ea1c8a42b14a4527db83b3cabcded610a (docs/registry/attributes/gen-ai.md and
docs/gen-ai/gen-ai-agent-spans.md; status "Development", hence the pin).
Span kinds of viewers: the OpenInference specification (spec/semantic_conventions.md).
What neither of them names, cost above all, is under ``waybell.``.
"""

from typing import Final


SOURCE: Final = (
    "open-telemetry/semantic-conventions-genai@002c8a6ea1c8a42b14a4527db83b3cabcded610a"
)

OPERATION: Final = "gen_ai.operation.name"
AGENT: Final = "gen_ai.agent.name"
WORKFLOW: Final = "gen_ai.workflow.name"
TOOL: Final = "gen_ai.tool.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

# Values of OPERATION.
CHAT: Final = "chat"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
EXECUTE_TOOL: Final = "execute_tool"

# Stable, from open-telemetry/semantic-conventions v1.41.1.
ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

OPENINFERENCE_KIND: Final = "openinference.span.kind"

# Ours. Money is whole nano-dollars, so that sums are exact.
COST: Final = "waybell.cost.nano_usd"
CAPTURE: Final = "waybell.capture"
PROMPT_LENGTH: Final = "waybell.prompt.length"
PROMPT_SHA256: Final = "waybell.prompt.sha256"
REPLY_LENGTH: Final = "waybell.reply.length"
REPLY_SHA256: Final = "waybell.reply.sha256"
TOPIC: Final = "waybell.topic"
EVENT_ID: Final = "waybell.event.id"
EVENT_PARENT: Final = "waybell.event.parent"
EVENT_ROOT: Final = "waybell.event.root"
HANDLER: Final = "waybell.handler"
