"""Puts each span on file when it starts and when it ends."""

import os
from pathlib import Path

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from waybell_trace._file import LineFile
from waybell_trace._otlp import Lines, encode_start


class FileProcessor(SpanProcessor):
    """Writes the line of a span in the very call that ends it, so that nothing waits.

    A provider's `shutdown` or `force_flush` has nothing to do here: nothing is buffered.

    Args:
        path: Where ended spans go; starts go to the file `starts_path` names.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.spans = LineFile(path, "span")
        self.starts = LineFile(starts_path(path), "start of a span")
        self._lines = Lines()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - its interface
        """Write that `span` has begun."""
        try:
            self.starts.write(encode_start(span))
        except Exception as error:
            self.starts.lose(error)

    def on_end(self, span: ReadableSpan) -> None:
        """Write the whole of `span`."""
        try:
            self.spans.write(self._lines.encode(span))
        except Exception as error:
            self.spans.lose(error)

    def close(self) -> None:
        """Close both files."""
        self.spans.close()
        self.starts.close()


def starts_path(path: str | os.PathLike[str]) -> str:
    """The side file of `path`: `traces.jsonl` has `traces.starts.jsonl`."""
    file = Path(path)
    return str(file.with_name(f"{file.stem}.starts{file.suffix}"))
