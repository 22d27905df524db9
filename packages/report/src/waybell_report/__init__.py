"""One offline HTML page per run, and views of its traces and decisions in the terminal.

>>> import tempfile
>>> from waybell_trace import Tracer
>>> with tempfile.TemporaryDirectory() as folder, Tracer(folder + "/traces.jsonl") as tracer:
...     with tracer.agent("writer"), tracer.llm("small-1", provider="local") as span:
...         span.record_usage(input_tokens=12, output_tokens=3, usd="0.0004")
...     page = report(folder, folder + "/report.html")
>>> page.verdict, page.spans, page.html.startswith("<!doctype html>")
('finished; nothing failed', 2, True)
"""

from waybell_report._inputs import ReportError
from waybell_report._report import Report, report


__all__ = ["Report", "ReportError", "report"]
