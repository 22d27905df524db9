"""OpenTelemetry spans of agent runs as durable OTLP/JSON lines."""
