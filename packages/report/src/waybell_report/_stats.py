"""`waybell stats`: calls, failures, latency, tokens and cost, by name."""

import argparse
from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from waybell_report import _terminal as tty
from waybell_report._tally import Sums, tallies


_MORE = """\
examples:
  waybell stats
  waybell stats runs/7 --by agents
  waybell stats big.jsonl --json | jq '.agents.writer.p99'

Percentiles are exact up to 4,096 calls of a name, then within half a hundredth. The file
is streamed: its length is no matter.

exit codes: 0 counted, 2 there is nothing to read.
"""
_KINDS = ("agents", "topics", "models", "tools")
_HEADS = ("calls", "failed", "open", "p50", "p90", "p99", "in", "out", "cost")
_SPARE = ("p90", "open", "p50", "out", "in", "p99")  # left out first


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = tty.Words("stats", "Calls, failures, time, tokens, cost by name.", _MORE)
    add = words.add_argument
    add("--by", choices=_KINDS, help="only these")
    add("--limit", metavar="N", type=tty.count, default=50, help="names of a kind [50]")
    return words


def command(argv: Sequence[str]) -> int:
    """Count calls, failures, latency, tokens and cost by agent, topic, model and tool."""
    return tty.run(parser(), argv, _stats)


def _stats(options: argparse.Namespace) -> int:
    inputs = tty.opened(options.path)
    kinds, every = tallies(tty.watched(inputs.spans(), "spans read:"))
    tty.warn("waybell stats", inputs)
    if not every.calls:
        raise inputs.without("span")
    found = {kind: kinds[kind] for kind in ([options.by] if options.by else _KINDS)}
    if options.json:
        by_name = {k: {n: _plain(s) for n, s in v.items()} for k, v in found.items()}
        tty.emit({"spans": _plain(every), **by_name})
    else:
        _print(found, every, options.limit)
    return 0


def _print(found: dict[str, dict[str, Sums]], every: Sums, limit: int) -> None:
    out = tty.console()
    gone: set[str] = set()
    for kind, groups in found.items():
        if any(sums.calls for sums in groups.values()):
            some = dict(islice(groups.items(), limit))
            out.print(_table(kind, some, out.width, gone))
            if (more := len(groups) - limit) > 0:
                out.print(f"... and {more:,} more {kind} (--limit {len(groups)})")
    if gone:
        named = ", ".join(head for head in _SPARE if head in gone)
        out.print(f"{named} left out: no room", style="dim")
    out.print(Text(
        f"{every.calls:,} span{'s' * (every.calls != 1)}, {every.failed:,} failed, {every.unfinished:,} unfinished, "
        f"{every.usage.tokens:,} tokens, {tty.dollars(every.usage.nano_usd)}", style="bold",
    ))  # fmt: skip


def _table(kind: str, groups: dict[str, Sums], room: int, gone: set[str]) -> Table:
    """A table that fits; the columns for which there is no room go to `gone`."""
    rows = [_cells(sums) for sums in groups.values()]
    names = [tty.visible(name, 60) or f"(in no {kind[:-1]})" for name in groups]
    wide = _fitting(rows, room - 2 - min(20, max(map(cell_len, names))))
    gone.update(head for head in _HEADS if head not in wide)
    table = Table(box=SIMPLE, pad_edge=False)
    left = room - 2 - sum(wide.values())
    table.add_column(kind, no_wrap=True, max_width=max(8, left))
    for head in wide:
        table.add_column(head, justify="right", no_wrap=True)
    for name, row, sums in zip(names, rows, groups.values(), strict=True):
        shown = Text(name, style="red" if sums.failed else "")
        table.add_row(shown, *map(row.__getitem__, wide))
    return table


def _fitting(rows: list[dict[str, str]], room: int) -> dict[str, int]:
    """The columns for which there is room, and how wide each is with its margin."""
    wide = {h: 3 + max(len(row[h]) for row in [*rows, {h: h}]) for h in _HEADS}
    for head in _SPARE:
        if sum(wide.values()) > room:
            del wide[head]
    return wide


def _cells(sums: Sums) -> dict[str, str]:
    cells = (
        str(sums.calls), str(sums.failed), str(sums.unfinished),
        *(tty.seconds(sums.latencies.percentile(p)) for p in (50, 90, 99)),
        *("-" if n is None else f"{n:,}" for n in sums.usage[:2]),
        tty.dollars(sums.usage.nano_usd),
    )  # fmt: skip
    return dict(zip(_HEADS, cells, strict=True))


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
