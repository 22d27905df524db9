"""Attribute names, pinned to the conventions they come from.

GenAI: open-telemetry/semantic-conventions-genai, status "Development", at commit
002c8a6ea1c8a42b14a4527db83b3cabcded610a (docs/registry/attributes/gen-ai.md).
Errors and exceptions: open-telemetry/semantic-conventions v1.41.1, stable.
OpenInference: its spec/semantic_conventions.md, for viewers that go by span kinds.
What none of them names, cost above all, is under ``waybell.``.
"""

OPERATION = "gen_ai.operation.name"
KIND = "openinference.span.kind"
AGENT = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
# By kind: the operation, which attribute is its name, and whether it leaves the process.
OPERATIONS = {
    "AGENT": ("invoke_agent", AGENT, False),
    "CHAIN": ("invoke_workflow", "gen_ai.workflow.name", False),
    "LLM": ("chat", REQUEST_MODEL, True),
    "TOOL": ("execute_tool", "gen_ai.tool.name", False),
}
PROVIDER = "gen_ai.provider.name"
RESPONSE_MODEL = "gen_ai.response.model"
USAGE = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "waybell.cost.nano_usd",  # whole nano-dollars, so that sums are exact
)
MESSAGES = {"prompt": "gen_ai.input.messages", "reply": "gen_ai.output.messages"}
ERROR_TYPE = "error.type"
EXCEPTION = "exception"
EXCEPTION_SHOWN = ("exception.type", "exception.message", "exception.stacktrace")
CAPTURE = "waybell.capture"
LENGTH = {"prompt": "waybell.prompt.length", "reply": "waybell.reply.length"}
SHA256 = {"prompt": "waybell.prompt.sha256", "reply": "waybell.reply.sha256"}
TOPIC = "waybell.topic"
EVENT_ID = "waybell.event.id"
EVENT_PARENT = "waybell.event.parent"
EVENT_ROOT = "waybell.event.root"
HANDLER = "waybell.handler"
