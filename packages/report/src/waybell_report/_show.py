"""`waybell show`: a run as a tree, its failures first."""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from rich.text import Text

from waybell_report import _terminal as tty
from waybell_report._details import Details
from waybell_report._forest import Forest
from waybell_report._groups import Groups
from waybell_report._node import (
    CRITICAL,
    INCOMPLETE,
    ORPHAN,
    UNFINISHED,
    Node,
    decision,
    node,
)
from waybell_report._select import Newest
from waybell_report._verdict import bare, lacking, sentence, verdict
from waybell_trace import SpanUsage


_MORE = """\
examples:
  waybell show                          the newest run in waybell-out, or here
  waybell show runs/7 --failed          what failed, and what led there
  waybell show traces.jsonl --agent writer
  waybell show --json | jq 'select(.failed)'

exit codes: 0 shown, 1 nothing matches, 2 there is nothing to read.
"""
_COLOURS = {
    "failed": "red",
    "unfinished": "yellow",
    "incomplete": "yellow",
    "ok": "green",
}
_SPANS = 100_000  # that are read, at most: the newest, and those that failed before


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = tty.Words("show", "A run as a tree: who called whom, what failed.", _MORE)
    add = words.add_argument
    add("--failed", action="store_true", help="only what failed, and what led there")
    add("--agent", metavar="NAME", help="only this agent's, and what is above them")
    add("--trace", metavar="ID", default="", help="only the trace whose id begins so")
    add("--limit", metavar="N", type=tty.count, default=200, help="most lines [200]")
    return words


def command(argv: Sequence[str]) -> int:
    """Show a run as a tree, what failed first."""
    return tty.run(parser(), argv, _show)


def _show(options: argparse.Namespace) -> int:
    inputs = tty.opened(options.path)
    kept, details = Newest(_SPANS), Details()
    for span in tty.watched(inputs.spans(), "spans read:"):
        kept.add(node(span, details))
    forest = Forest(kept.nodes())
    lacking(forest, (decision(record, details) for record in inputs.records()))
    tty.warn("waybell show", inputs)
    if not forest.nodes:
        raise inputs.without("span")
    wanted = _wanted(forest, options)
    shown = [each for each in forest.nodes if each.key in wanted]
    groups = Groups(forest)
    if options.json:
        for each in shown:
            tty.emit(_plain(each, groups.used[each.key]))
    else:
        _as_tree(forest, groups, shown, options.limit, kept.seen)
    return 0 if shown else 1


def _wanted(forest: Forest, options: argparse.Namespace) -> set[tuple[str, str]]:
    """The keys of the spans that were asked for and of those above them."""
    found: set[tuple[str, str]] = set()
    for each in filter(partial(_asked, options), forest.nodes):
        above: Node | None = each
        while above is not None and above.key not in found:
            found.add(above.key)
            above = forest.known.get(above.parent) if above.parent else None
    return found


def _asked(options: argparse.Namespace, each: Node) -> bool:
    bad = each.failed or bool(each.flags & UNFINISHED)
    mine = options.agent in (None, each.agent)
    traced = each.key[0].startswith(options.trace.lower())
    return mine and traced and (bad or not options.failed)


def _plain(each: Node, spent: SpanUsage) -> dict[str, Any]:
    return {
        "name": each.name,
        "trace_id": each.key[0],
        "span_id": each.key[1],
        "parent_id": each.parent and each.parent[1],
        "depth": each.depth,
        "start": each.start / 1e9,
        "seconds": None if each.end is None else (each.over(0) - each.start) / 1e9,
        "failed": each.failed,
        "unfinished": bool(each.flags & UNFINISHED),
        "incomplete": bool(each.flags & INCOMPLETE),
        "error": each.error or None,
        "agent": each.agent,
        "model": each.model,
        "tool": each.tool,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "usd": None if spent.nano_usd is None else str(spent.usd),
    }


def _as_tree(
    forest: Forest, groups: Groups, shown: list[Node], limit: int, seen: int
) -> None:
    found = verdict(forest, groups.owner)
    colour = _COLOURS.get(found["state"], "")
    tty.put(Text(tty.visible(sentence(found), 500), style=f"bold {colour}".strip()))
    tty.put(Text(_totals(forest, groups, seen), style="dim"))
    for each, stem in islice(_stems(shown), limit):
        tty.put(_line(each, stem, groups.used[each.key]))
    if (more := len(shown) - limit) > 0:
        tty.put(Text(f"... and {more:,} more (--limit {len(shown)})", "dim"))


def _totals(forest: Forest, groups: Groups, seen: int) -> str:
    """Traces, spans, failures, time, tokens, cost."""
    traces = len({each.key[0] for each in forest.nodes})
    number = len(forest.nodes)
    parts = [
        f"{traces} trace" + "s" * (traces != 1),
        f"{number:,} span" + "s" * (number != 1) + f" of {seen:,}" * (seen > number),
        f"{sum(each.failed for each in forest.nodes)} failed",
        tty.seconds((forest.last - forest.first) / 1e9),
        f"{groups.usage.tokens:,} tokens",
        tty.dollars(groups.usage.nano_usd),
    ]
    return " · ".join(parts)


def _stems(shown: list[Node]) -> Iterator[tuple[Node, str]]:
    """Each span with the branch it hangs on; spans come parents first."""
    last = {_branch(each): each.key for each in shown}
    open_: list[bool] = []  # by depth: whether more come on that branch
    for each in shown:
        more = last[_branch(each)] != each.key
        del open_[each.depth :]
        bars = "".join(["   ", "│  "][on] for on in open_[1:41])
        open_.append(more)
        yield each, bars + ["└─ ", "├─ "][more] if each.depth else ""


def _branch(each: Node) -> tuple[str, str] | None:
    return each.parent if each.depth else None


def _line(each: Node, stem: str, spent: SpanUsage) -> Text:
    line = Text(stem, style="dim")
    mark, colour = "", ""
    if each.failed:
        mark, colour = "✗ ", "red"
    elif each.flags & UNFINISHED:
        mark, colour = "… ", "yellow"
    elif each.flags & INCOMPLETE:
        mark, colour = "! ", "yellow"
    bold = " bold" * bool(each.flags & CRITICAL)
    line.append(mark + tty.visible(each.name, 80), style=(colour + bold).strip())
    took = "never ended"
    if each.end is not None:
        took = tty.seconds((each.over(0) - each.start) / 1e9)
    line.append(f"  {took}", style="cyan")
    for shown, text, style in (
        (spent.tokens, f"{spent.tokens:,} tokens", "dim"),
        (spent.nano_usd, tty.dollars(spent.nano_usd), "green"),
        (each.flags & ORPHAN, "(its parent is missing)", "dim"),
        (each.error, tty.visible(bare(each.error)), colour),
    ):
        if shown:
            line.append(f"  {text}", style=style)
    return line
