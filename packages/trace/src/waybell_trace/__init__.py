"""OpenTelemetry spans of agent runs as durable OTLP/JSON lines.

>>> import tempfile
>>> from waybell_trace import Tracer, read_traces
>>> folder = tempfile.TemporaryDirectory()
>>> with Tracer(folder.name + "/traces.jsonl") as tracer:
...     with tracer.agent("writer"), tracer.llm("small-1", provider="local") as span:
...         span.record_usage(input_tokens=12, output_tokens=3, usd="0.0004")
>>> traces = read_traces(tracer.path)
>>> [span.name for span in traces.spans]
['invoke_agent writer', 'chat small-1']
>>> traces.agents()["writer"].usage.usd
Decimal('0.0004')
>>> folder.cleanup()
"""

from waybell_trace._reader import SpanReader
from waybell_trace._record import SpanRecord, Usage
from waybell_trace._span import Span
from waybell_trace._tracer import Tracer, carry
from waybell_trace._traces import Stats, Traces, read_traces


__all__ = [
    "Span",
    "SpanReader",
    "SpanRecord",
    "Stats",
    "Tracer",
    "Traces",
    "Usage",
    "carry",
    "read_traces",
]
