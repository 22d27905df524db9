"""Report alone: a run's files become one offline page.

Prints:
    failed: painter: ValueError: no colour
    4 spans and 1 decision, $0.002
    one file, that asks nobody for anything: True
"""

import contextlib
import tempfile
from pathlib import Path

from waybell_decisions import DecisionLog
from waybell_report import report
from waybell_trace import Tracer, read_traces


def run(folder: Path) -> None:
    """A desk of two agents, one of which fails."""
    with (
        Tracer(folder / "traces.jsonl") as tracer,
        DecisionLog(folder / "decisions.jsonl") as log,
        tracer.workflow("desk"),
    ):
        log.record(decision="route", to="writer", confidence=0.9)
        with tracer.agent("writer"), tracer.llm("small", provider="local") as span:
            span.record_usage(input_tokens=120, output_tokens=30, usd="0.002")
        with tracer.agent("painter"):
            raise ValueError("no colour")


def main(folder: Path) -> None:
    with contextlib.suppress(ValueError):
        run(folder)
    page = report(folder, folder / "report.html")
    print(page.verdict.replace("builtins.", ""))
    cost = read_traces(folder / "traces.jsonl").usage().usd
    print(f"{page.spans} spans and {page.decisions} decision, ${cost}")
    html = (folder / "report.html").read_text()
    alone = "connect-src 'none'" in html and "src=" not in html
    print("one file, that asks nobody for anything:", alone)


with tempfile.TemporaryDirectory() as home:
    main(Path(home))
