"""`waybell stats`: calls, failures, latency, tokens and cost, by name."""

import argparse
from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from waybell_report._inputs import ReportError
from waybell_report._tally import Sums, tallies
from waybell_report._terminal import (
    Words,
    console,
    count,
    dollars,
    emit,
    opened,
    run,
    seconds,
    visible,
    warn,
    watched,
)  # fmt: skip


_MORE = """\
examples:
  waybell stats
  waybell stats runs/7 --by agents
  waybell stats big.jsonl --json | jq '.agents.writer.p99'

Percentiles are exact up to 4,096 calls of one name, and within half a hundredth beyond.
The file is streamed: its length is no matter.

exit codes: 0 counted, 2 there is nothing to read.
"""
_KINDS = ("agents", "topics", "models", "tools")
_HEADS = ("calls", "failed", "open", "p50", "p90", "p99", "in", "out", "cost")


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = Words("stats", "Calls, failures, latency, tokens and cost by name.", _MORE)
    add = words.add_argument
    add("--by", choices=_KINDS, help="only these")
    add("--limit", metavar="N", type=count, default=50, help="names of a kind [50]")
    return words


def command(argv: Sequence[str]) -> int:
    """Count calls, failures, latency, tokens and cost by agent, topic, model and tool."""
    return run(parser(), argv, _stats)


def _stats(options: argparse.Namespace) -> int:
    inputs = opened(options.path)
    kinds, every = tallies(watched(inputs.spans(), "spans read:"))
    warn("waybell stats", inputs)
    if not every.calls:
        raise ReportError(
            "no span in " + ", ".join(map(str, inputs.traces or inputs.decisions))
        )
    found = {kind: kinds[kind] for kind in ([options.by] if options.by else _KINDS)}
    if options.json:
        by_name = {k: {n: _plain(s) for n, s in v.items()} for k, v in found.items()}
        emit({"spans": _plain(every), **by_name})
    else:
        _print(found, every, options.limit)
    return 0


def _print(found: dict[str, dict[str, Sums]], every: Sums, limit: int) -> None:
    out = console()
    for kind, groups in found.items():
        if any(sums.calls for sums in groups.values()):
            out.print(_table(kind, dict(islice(groups.items(), limit))))
            if (more := len(groups) - limit) > 0:
                out.print(f"... and {more:,} more {kind} (--limit {len(groups)})")
    out.print(Text(
        f"{every.calls:,} span{'s' * (every.calls != 1)}, {every.failed:,} failed, {every.unfinished:,} unfinished, "
        f"{every.usage.tokens:,} tokens, {dollars(every.usage.nano_usd)}", style="bold",
    ))  # fmt: skip


def _table(kind: str, groups: dict[str, Sums]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column(kind, no_wrap=True)
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for name, sums in groups.items():
        shown = visible(name, 60) or f"(in no {kind[:-1]})"
        table.add_row(Text(shown, style="red" if sums.failed else ""), *_cells(sums))
    return table


def _cells(sums: Sums) -> list[str]:
    return [
        str(sums.calls), str(sums.failed), str(sums.unfinished),
        *(seconds(sums.latencies.percentile(p)) for p in (50, 90, 99)),
        *("-" if n is None else f"{n:,}" for n in sums.usage[:2]),
        dollars(sums.usage.nano_usd),
    ]  # fmt: skip


def _plain(sums: Sums) -> dict[str, Any]:
    usage, latencies = sums.usage, sums.latencies
    return {
        "calls": sums.calls,
        "failed": sums.failed,
        "unfinished": sums.unfinished,
        **{f"p{p}": latencies.percentile(p) for p in (50, 90, 99)},
        "seconds": latencies.total,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "usd": None if usage.usd is None else str(usage.usd),
    }
