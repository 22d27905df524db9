"""`waybell chrome`: a run for chrome://tracing and ui.perfetto.dev."""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from waybell_report import _terminal as tty
from waybell_report._report import spare, written
from waybell_trace import Traces


_MORE = """\
examples:
  waybell chrome                          writes trace.chrome.json
  waybell chrome runs/7 -o seven.json     open it in chrome://tracing or Perfetto

The whole run is held in memory, at most --limit spans of it: the first ones.

exit codes: 0 written, 2 there is nothing to read or no place to write.
"""


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = tty.Words("chrome", "Write a run as a Chrome trace.", _MORE)
    add = words.add_argument
    add("-o", "--output", metavar="FILE", type=Path, default=Path("trace.chrome.json"),
        help="where it goes [trace.chrome.json]")  # fmt: skip
    add("--limit", metavar="N", type=tty.count, default=500_000, help="spans [500000]")
    return words


def command(argv: Sequence[str]) -> int:
    """Write a run for chrome://tracing and ui.perfetto.dev."""
    return tty.run(parser(), argv, _chrome)


def _chrome(options: argparse.Namespace) -> int:
    inputs = tty.opened(options.path)
    spare(inputs, options.output)
    found = tty.watched(inputs.spans(), "spans read:")
    spans = list(islice(found, options.limit))
    if next(found, None) is not None:
        tty.say(f"waybell chrome: the others are left out (--limit {options.limit})")
    tty.warn("waybell chrome", inputs)
    if not spans:
        raise inputs.without("span")
    with written(options.output) as part:
        Traces(spans).to_chrome(part)
    if options.json:
        tty.emit({"file": str(options.output), "spans": len(spans)})
    else:
        tty.say(f"{options.output}: {len(spans):,} spans; open it in ui.perfetto.dev")
    return 0
