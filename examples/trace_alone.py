"""The tracer alone: spans on disk when they end, read back as trees and totals.

Prints:
    workflow desk
      agent researcher
        llm small-model
    researcher: 1 call, 120 tokens, $0.0012
"""

import tempfile
from pathlib import Path

from waybell_trace import Tracer, read_traces


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "traces.jsonl"
    with (
        Tracer(export_path=path) as tracer,
        tracer.workflow("desk"),
        tracer.agent("researcher"),
        tracer.llm("small-model", "nobody") as span,
    ):
        span.record_usage(input_tokens=100, output_tokens=20, usd="0.0012")

    traces = read_traces(path)
    for depth, kind in enumerate(["workflow", "agent", "llm"]):
        name = traces.spans[depth].name.split()[-1]
        print("  " * depth + f"{kind} {name}")
    stats = traces.agents()["researcher"]
    print(
        f"researcher: {stats.calls} call, {stats.usage.tokens} tokens, "
        f"${stats.usage.usd}"
    )
