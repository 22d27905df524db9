"""OpenTelemetry spans of agent runs as durable OTLP/JSON lines."""

from waybell_trace._span import Span
from waybell_trace._tracer import Tracer, carry


__all__ = ["Span", "Tracer", "carry"]
