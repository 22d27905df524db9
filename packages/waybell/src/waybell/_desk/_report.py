"""What `waybell demo` prints: the answer, its sources, the agents, the files."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from shlex import quote
from textwrap import fill
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from waybell._desk._corpus import Corpus
from waybell._desk._desk import AGENTS, Answer, cited, renumbered
from waybell._desk._passages import Passage
from waybell._desk._prompts import REFUSAL
from waybell_budget import BudgetExceeded, BudgetPool
from waybell_deadline import DeadlineExceeded
from waybell_patterns import IncompleteError, PipelineResult
from waybell_sim import InjectedTimeout
from waybell_trace import SpanRecord, Stats, read_traces


_MARKS = re.compile(r"((?:\[\d+\] ?)+(?<! )) (?=\S)")
_CONTROL = re.compile(r"[\0-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_OF_ITS_PART = " of its part of the budget"
_FIRST = 3  # skipped files that are named


def plain(text: str) -> str:
    """A text without control characters: a file must not steer the terminal."""
    return _CONTROL.sub("\ufffd", text.expandtabs())


def seconds(value: float) -> str:
    """A duration as people read it."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def corpus(console: Console, read: Corpus) -> None:
    """Say what was read and what was not."""
    found = f"{_count(read.files, 'file')}, {_count(len(read.passages), 'passage')}"
    _line(console, "Read", f"{found}, in {read.root.resolve()}")
    if read.skipped:
        first = list(read.skipped.items())[:_FIRST]
        named = "; ".join(f"{path}: {why}" for path, why in first)
        more = len(read.skipped) - len(first)
        rest = f"; and {more} more" if more else ""
        all_of_them = _count(len(read.skipped), "file")
        _line(console, "Skipped", f"{all_of_them} ({named}{rest})")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def question(console: Console, text: str) -> None:
    """Say what is asked."""
    _line(console, "Question", text)
    console.print()


def answer(console: Console, made: Answer, read: int) -> None:
    """Print an answer from so many files, its sources, and how it came about."""
    if made.text == REFUSAL:
        of_them = "this file" if read == 1 else f"these {read:,} files"
        _titled(console, "Answer", f"Nothing in {of_them} answers it.")
    else:
        if made.verdict == "doubtful":
            they = "This file does" if read == 1 else f"These {read:,} files do"
            told = f"{they} not seem to answer it. What comes nearest:"
            console.print(_wrapped(console, told, 0), soft_wrap=True)
        _sourced(console, "Answer", made.text, made.sources)
    _line(console, "Question type", made.intent)
    _line(console, "Retrieval", _retrieval(made))
    rules = " (by the stated rules)" if made.verdict == "approved" else ""
    _line(console, "Review", "\n".join([made.verdict + rules, *made.problems]))
    console.print()


def _sourced(
    console: Console, title: str, text: str, sources: Mapping[int, Passage]
) -> None:
    """Print a text and what it cites, which is counted from 1."""
    _titled(console, title, _by_line(renumbered(text, sources)))
    console.print(Text("Sources", style="bold"))
    for mark, passage in enumerate(sources.values(), start=1):
        where = (f"  [{mark}] {plain(passage.source)}", "cyan")
        under = (f"  {plain(passage.title)}".rstrip(), "dim")
        console.print(Text.assemble(where, under), soft_wrap=True)
    if not sources:
        console.print("  none")
    console.print()


def _retrieval(made: Answer) -> str:
    text = f"{', '.join(made.strategies)} answered"
    for name, why in made.failures.items():
        text += f"; {name}: {why}, the quorum of 2 was reached"
    return text


def _titled(console: Console, title: str, text: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    for line in plain(text).split("\n"):
        console.print(_wrapped(console, line, 2), soft_wrap=True)
    console.print()


def _line(console: Console, title: str, text: str) -> None:
    first, *more = (_wrapped(console, part, 15) for part in plain(text).split("\n"))
    head = Text.assemble((f"{title:<15}", "bold"), first.lstrip())
    console.print(head, soft_wrap=True)
    for line in more:
        console.print(line, soft_wrap=True)


def _by_line(text: str) -> str:
    """A sentence a line: each stands for itself, beside its source."""
    return _MARKS.sub(r"\1\n", text)


def _wrapped(console: Console, text: str, indent: int) -> str:
    space = " " * indent
    width = max(40, min(console.width, 100))
    glued = text.replace(" [", "\xa0[")  # no line begins with a mark
    return fill(
        glued, width, initial_indent=space, subsequent_indent=space,
        break_long_words=False, break_on_hyphens=False,
    ).replace("\xa0[", " [")  # fmt: skip


def failure(
    console: Console, error: Exception, asked: Sequence[Mapping[str, Any]], limit: float
) -> None:
    """Print why there is no answer; `asked` is the log's record, innermost first."""
    result = error.result if isinstance(error, IncompleteError) else None
    if isinstance(result, PipelineResult):
        _stopped(console, result)
        return
    fine = (None, InjectedTimeout.__name__)
    ended = [r["agent"] for r in asked if _class(r.get("error")) not in fine]
    where = f" at {' of '.join(ended)}" if ended else ""
    why = f"{type(error).__name__}{where}: {error}"
    if isinstance(error, DeadlineExceeded):
        why = f"The deadline of {limit:g} s passed{where}."
    if isinstance(error, BudgetExceeded):
        why = f"Too expensive{where}: {error}{_OF_ITS_PART}."
    _titled(console, "Not answered", why)


def _class(error: Any) -> Any:
    """The class in a record's error, which is that or has it as its type."""
    return getattr(error, "get", {"type": error}.get)("type")


def _stopped(console: Console, result: PipelineResult) -> None:
    """Print which stage failed, and the draft if there is one."""
    part = _OF_ITS_PART if isinstance(result.error, BudgetExceeded) else ""
    lines = (
        f"The stage {result.failed} failed: {result.error}{part}.",
        f"Finished: {', '.join(result.results) or 'nothing'}.",
        f"Never ran: {', '.join(result.missing) or 'nothing'}.",
    )
    _titled(console, "Not answered", "\n".join(lines))
    paid = getattr(result.error, "reply", None) or result.results.get("draft")
    if paid is not None:
        sources = cited(str(paid), result.results["research"].passages)
        _sourced(console, "Draft, paid for but not reviewed", str(paid), sources)


def agents(console: Console, traces: str) -> None:
    """Print the table of agents, from the spans on file."""
    pad, most = ((0, 1), 6) if console.width >= 76 else ((0, 0), 4)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=pad, header_style="bold")
    table.add_column("Agent", no_wrap=True)
    for title in ("Calls", "Failed", "Tokens", "Cost", "p50", "Max")[:most]:
        table.add_column(title, justify="right")
    found = read_traces(traces).by(_agent)
    for name, stats in found.items():
        table.add_row(plain(name), *_cells(stats)[:most])
    console.print(table)


def budget(console: Console, pool: BudgetPool, priced_as: str | None) -> None:
    """Print how the pool stands."""
    now = pool.snapshot()
    cap = "no cap" if now.usd_cap is None else f"cap {dollars(now.usd_cap)}"
    over = f", {dollars(now.usd_overdrawn)} overdrawn" if now.usd_overdrawn else ""
    priced = (
        f"as if {priced_as} had run" if priced_as
        else "free: the model runs offline" if not (now.usd_spent or now.unreported)
        else "as the model reported"
    )  # fmt: skip
    if now.unreported:
        priced += f"; {_count(now.unreported, 'call')} of unknown cost"
    spent, held = dollars(now.usd_spent), dollars(now.usd_held)
    _line(console, "Budget", f"{spent} spent, {held} held, {cap}{over} ({priced})")


def dollars(usd: Decimal) -> str:
    """All digits, and cents in any case."""
    return "$" + max(f"{usd:.2f}", f"{usd:f}", key=len)


def _agent(span: SpanRecord) -> str | None:
    """The agent whose own span it is; retrievals have only the delivery to them."""
    name = span.agent or ""
    return name if name in AGENTS or name.startswith("retrieve:") else None


def _cells(stats: Stats) -> list[str]:
    usd = stats.usage.usd
    cost = "-" if usd is None else dollars(usd) if usd else "free"
    tokens = f"{stats.usage.tokens:,}" if usd is not None else "-"
    times = (stats.percentile(50), stats.percentile(100))
    shown = ("-" if time is None else seconds(time) for time in times)
    return [str(stats.calls), str(stats.failed), tokens, cost, *shown]


def files(console: Console, traces: str, decisions: Path) -> None:
    """Say where the record is."""
    _line(console, "Traces", traces)
    _line(console, "Decisions", str(decisions))
    folder = quote(str(decisions.parent))
    see = f"waybell show {folder}; waybell report {folder} --open"
    _line(console, "To see it", see)
