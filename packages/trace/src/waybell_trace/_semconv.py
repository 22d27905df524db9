"""Attribute names, pinned to the conventions they come from.

GenAI: open-telemetry/semantic-conventions-genai, status "Development", at commit
002c8a6ea1c8a42b14a4527db83b3cabcded610a (docs/registry/attributes/gen-ai.md).
Errors and exceptions: open-telemetry/semantic-conventions v1.41.1, stable.
OpenInference: its spec/semantic_conventions.md, for viewers that go by span kinds.
What none of them names, cost above all, is under ``waybell.``.
"""

OPERATION = "gen_ai.operation.name"
CHAT = "chat"
INVOKE_AGENT = "invoke_agent"
INVOKE_WORKFLOW = "invoke_workflow"
EXECUTE_TOOL = "execute_tool"
AGENT = "gen_ai.agent.name"
WORKFLOW = "gen_ai.workflow.name"
TOOL = "gen_ai.tool.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"
EXCEPTION = "exception"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"
KIND = "openinference.span.kind"
# Whole nano-dollars, so that sums are exact.
COST = "waybell.cost.nano_usd"
CAPTURE = "waybell.capture"
PROMPT_LENGTH = "waybell.prompt.length"
PROMPT_SHA256 = "waybell.prompt.sha256"
REPLY_LENGTH = "waybell.reply.length"
REPLY_SHA256 = "waybell.reply.sha256"
TOPIC = "waybell.topic"
EVENT_ID = "waybell.event.id"
EVENT_PARENT = "waybell.event.parent"
EVENT_ROOT = "waybell.event.root"
HANDLER = "waybell.handler"
