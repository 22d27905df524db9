"""OpenTelemetry spans of agent runs as durable OTLP/JSON lines.

>>> import tempfile
>>> from waybell_trace import Tracer, read_traces
>>> with tempfile.TemporaryDirectory() as folder, Tracer(folder + "/t.jsonl") as tracer:
...     with tracer.agent("writer"), tracer.llm("small-1", provider="local") as span:
...         span.record_usage(input_tokens=12, output_tokens=3, usd="0.0004")
...     print(read_traces(tracer.path).agents()["writer"].usage.usd)
0.0004
"""

from waybell_trace._reader import SpanReader
from waybell_trace._record import SpanRecord, SpanUsage
from waybell_trace._span import Span
from waybell_trace._tracer import Tracer, propagate
from waybell_trace._traces import Stats, Traces, read_traces


__all__ = [
    "Span", "SpanReader", "SpanRecord", "SpanUsage", "Stats", "Tracer", "Traces",
    "propagate", "read_traces",
]  # fmt: skip
