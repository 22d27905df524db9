"""A run as one page."""

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from waybell_report._details import Details
from waybell_report._forest import Forest
from waybell_report._groups import Groups
from waybell_report._html import page
from waybell_report._inputs import Inputs, ReportError, StrPath, find
from waybell_report._node import Decision, Node, decision, node
from waybell_report._pack import core, detail
from waybell_report._select import Newest
from waybell_report._verdict import lacking, sentence, verdict


_SPANS = 100_000
_MOST = 300_000  # rows that fit the tallest element browsers make
_FRAME = "width:100%;height:720px;border:1px solid #8884;border-radius:8px"


@dataclass(slots=True, eq=False, repr=False)
class Report:
    """A page about one run; a notebook shows it in a frame of its own.

    Args:
        html: The whole page.
        verdict: What became of the run, in a sentence.
        spans: How many spans the page shows.
        decisions: How many decisions.
        notes: What was left out, was cut, or could not be read.
    """

    html: str
    verdict: str
    spans: int
    decisions: int
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        held = f"{self.spans} spans, {self.decisions} decisions"
        return f"<Report {self.verdict}; {held}>"

    def save(self, path: StrPath) -> Path:
        """Write the page, whole or not at all, for its owner only; returns where.

        Raises:
            ReportError: It cannot be written there.
        """
        with written(path) as part:
            part.write_text(self.html, "utf-8", newline="\n")
        return Path(path)

    def _repr_html_(self) -> str:
        # No same-origin: the page can neither read the notebook nor run in its name.
        document = escape(self.html)
        return (
            f'<iframe title="Report of a run: {escape(self.verdict)}" style="{_FRAME}" '
            f'sandbox="allow-scripts" srcdoc="{document}"></iframe>'
        )


@contextmanager
def written(path: StrPath) -> Generator[Path]:
    """A file to write, which takes the place of another when it is whole."""
    from tempfile import mkstemp  # noqa: PLC0415 - slow to import

    file = Path(os.path.realpath(path))  # a link stays one
    try:
        if file.exists() and not file.is_file():
            yield file  # a pipe or a device: nothing may take its place
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, part = mkstemp(dir=file.parent, prefix=f".{file.name}.")
        os.close(handle)
        try:
            yield Path(part)
            Path(part).replace(file)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        why = error.strerror or str(error)
        raise ReportError(f"cannot write {path}: {why}", str(path)) from error


def report(
    source: StrPath | Iterable[StrPath],
    output: StrPath | None = None,
    *,
    title: str | None = None,
    limit: int = _SPANS,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """The report of a run: one HTML file that asks the network for nothing.

    Args:
        source: The folder of a run (its `traces.jsonl`, with `traces.starts.jsonl`
            beside it, and `decisions.jsonl`), or a file of either kind, or several;
            spans may be any OTLP/JSON.
        output: Where the page goes; without it nothing is written.
        title: What the page is called; the name of the folder by default.
        limit: How many spans the page shows: the newest, and a tenth as many that
            failed before. It says so when it leaves some out.
        progress: Called now and then with the number of spans read.

    Raises:
        ReportError: There is nothing to read, nothing in it is a span or a decision, or
            the page cannot be written.
        ValueError: `limit` is not from 1 to 300,000.
    """
    if isinstance(limit, bool) or not 1 <= limit <= _MOST:
        raise ValueError(f"limit must be from 1 to {_MOST:,} spans, not {limit!r}")
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    inputs = find(paths)
    if output is not None:
        spare(inputs, Path(output))
    try:
        run = _Run(inputs, limit, progress)
    except OSError as error:
        why = f"cannot read {error.filename}: {error.strerror}"
        raise ReportError(why, str(error.filename)) from error
    named = title or _named(Path(paths[0]))
    # A name that is no text, which file systems allow, is none in a page either.
    made = run.report(named.encode(errors="replace").decode())
    if output is not None:
        made.save(output)
    return made


def spare(inputs: Inputs, output: Path) -> None:
    """Refuse to write over what is read."""
    read = [*inputs.traces, *inputs.decisions]
    read += [path.with_name(f"{path.stem}.starts{path.suffix}") for path in read]
    if output.exists() and any(map(output.samefile, filter(Path.exists, read))):
        why = f"{output} is read from: name another output"
        raise ReportError(why, str(output))


def _named(path: Path) -> str:
    whole = path.resolve()
    return whole.name if whole.is_dir() else f"{whole.parent.name}/{whole.name}"


class _Run:
    """What was read, until it is a page."""

    __slots__ = ("details", "inputs", "log", "logged", "spans")

    def __init__(
        self, inputs: Inputs, limit: int, progress: Callable[[int], object] | None
    ) -> None:
        self.inputs, self.details = inputs, Details()
        self.spans, self.log, self.logged = Newest(limit), list[Decision](), 0
        for number, span in enumerate(inputs.spans(), 1):
            self._forget(self.spans.add(node(span, self.details)))
            if progress and not number % 5_000:
                progress(number)
        for self.logged, record in enumerate(inputs.records(), 1):
            self.log.append(decision(record, self.details))
            self._shorten(limit, spare=limit)
        self._shorten(limit)
        self.log.sort(key=lambda made: made.time)
        if inputs.torn + inputs.foreign and not self.spans.seen + self.logged:
            raise _nothing(inputs)

    def _forget(self, left_out: Node | Decision | None) -> None:
        if left_out is not None:
            self.details.forget(left_out.detail)

    def _shorten(self, limit: int, spare: int = 0) -> None:
        if len(self.log) > limit + spare:
            for left_out in self.log[:-limit]:
                self._forget(left_out)
            del self.log[:-limit]

    def report(self, title: str) -> Report:
        forest = Forest(self.spans.nodes(), (made.time for made in self.log))
        lacking(forest, self.log)
        groups = Groups(forest)
        found = verdict(forest, groups.owner)
        notes = tuple(self._notes(forest))
        given, written, *_ = groups.usage
        head: dict[str, Any] = {
            "title": title,
            "verdict": found,
            "notes": notes,
            "length": forest.last - forest.first,
            "spans": len(forest.nodes),
            "decisions": len(self.log),
            "agents": sum(1 for name in groups.agents if name),
            "usage": {"input": given, "output": written, "cost": groups.usage.nano_usd},
        }
        more = {"groups": groups.rows(), "edges": groups.edges()}
        data = core(forest, groups, self.log, more), detail(forest, groups, self.log)
        told = sentence(found)
        html = page(title, told, head, *data)
        return Report(html, told, len(forest.nodes), len(self.log), notes)

    def _notes(self, forest: Forest) -> Iterable[str]:
        seen, shown = self.spans.seen, len(forest.nodes) + forest.twice
        if seen > shown:
            yield (
                f"Of {seen:,} spans, {self.spans.failed:,} of them failed, the page shows "
                f"{shown:,}: the newest, and failed ones before them. Sums are of these."
            )
        if self.logged > len(self.log):
            yield f"Of {self.logged:,} decisions the page shows the last {len(self.log):,}."
        if forest.twice:
            yield f"Spans that have the id of a later one and are left out: {forest.twice:,}."
        if self.details.cut:
            yield f"Long texts that are cut: {self.details.cut:,}. Each says its length."
        if self.inputs.torn:
            yield f"Lines cut short, by a crash most likely: {self.inputs.torn:,}."
        if self.inputs.foreign:
            yield f"Lines that are neither spans nor decisions: {self.inputs.foreign:,}."


def _nothing(inputs: Inputs) -> ReportError:
    files = [*inputs.traces, *inputs.decisions]
    counts = [("of something else", inputs.foreign), ("cut short", inputs.torn)]
    why = ", ".join(f"{what}: {count:,}" for what, count in counts if count)
    names = ", ".join(map(str, files))
    said = f"no span and no decision in {names} (lines {why})"
    return ReportError(said, str(files[0]))
