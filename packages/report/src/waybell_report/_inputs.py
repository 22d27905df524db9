"""Finds the files of a run and reads them line by line, in bounded memory."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from waybell_decisions import DecisionLog
from waybell_trace import SpanReader, SpanRecord


StrPath: TypeAlias = str | os.PathLike[str]
_SAMPLE = 1 << 16  # bytes that tell what kind of file it is
_WHOLE = 1 << 28  # bytes of a file that is one JSON value over many lines


class ReportError(Exception):
    """There is nothing to report from; `path` says where that was found."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(slots=True)
class Inputs:
    """The files of one run, and what else than records they turned out to hold."""

    traces: list[Path] = field(default_factory=list[Path])
    decisions: list[Path] = field(default_factory=list[Path])
    torn: int = 0
    foreign: int = 0

    def without(self, what: str) -> ReportError:
        """The error that there is none of it."""
        named = ", ".join(map(str, [*self.traces, *self.decisions]))
        return ReportError(f"no {what} in {named}")

    def spans(self) -> Iterator[SpanRecord]:
        """Every span that ended; then, after each file, those that have not."""
        for path in self.traces:
            found, before = False, (self.torn, self.foreign)
            for span in self._spans(path):
                found = True
                yield span
            if not found and (whole := _whole(path)):
                self.torn, self.foreign = before  # its lines are no records, rightly
                yield from whole

    def records(self) -> Iterator[dict[str, Any]]:
        """Every decision, in the order of its file."""
        for path in self.decisions:
            records = DecisionLog.read(path)
            yield from records
            self.torn += records.torn
            self.foreign += records.foreign

    def _spans(self, path: Path) -> Iterator[SpanRecord]:
        beside = path.with_name(f"{path.stem}.starts{path.suffix}")
        with SpanReader(path if path.exists() else os.devnull) as ends:
            if beside.exists():
                with SpanReader(beside) as starts:
                    yield from merged(ends, starts)
                self._count(starts)
            else:
                yield from ends
        self._count(ends)

    def _count(self, reader: SpanReader) -> None:
        self.torn += reader.torn
        self.foreign += reader.foreign


def _whole(path: Path) -> list[SpanRecord]:
    """The spans of a file whose JSON is written over many lines, if it is one."""
    if not path.exists() or not 0 < path.stat().st_size < _WHOLE:
        return []
    try:
        found: Any = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return []
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - seldom needed, and slow

    with TemporaryDirectory() as folder:
        line = Path(folder, "line.jsonl")
        messages: list[Any] = [*found] if isinstance(found, list) else [found]
        line.write_bytes(b"\n".join(map(orjson.dumps, messages)))
        with SpanReader(line) as reader:
            return list(reader)


def merged(
    ends: Iterable[SpanRecord], starts: Iterator[SpanRecord]
) -> Iterator[SpanRecord]:
    """The spans of `ends`; then those of `starts` that are not among them.

    Both are nearly in order of time, so what is held is what runs at one moment.
    """
    begun = _Begun(starts)
    for end in ends:
        begun.end(end)
        yield end
    yield from begun.left()


class _Begun:
    """The spans that have begun and not ended, as far as both files were read."""

    __slots__ = ("_early", "_next", "_running", "_starts")

    def __init__(self, starts: Iterator[SpanRecord]) -> None:
        self._starts, self._next = starts, next(starts, None)
        self._running: dict[tuple[str, str], SpanRecord] = {}
        self._early: set[tuple[str, str]] = set()  # ended before their start was read

    def end(self, span: SpanRecord) -> None:
        """Read on to the end of `span`, which has ended."""
        while self._next is not None and self._next.start_ns <= (span.end_ns or 0):
            key = self._next.trace_id, self._next.span_id
            if key in self._early:
                self._early.discard(key)
            else:
                self._running[key] = self._next
            self._next = next(self._starts, None)
        key = span.trace_id, span.span_id
        if self._running.pop(key, None) is None:
            self._early.add(key)

    def left(self) -> Iterator[SpanRecord]:
        """Those that never ended."""
        yield from self._running.values()
        for span in chain([] if self._next is None else [self._next], self._starts):
            if (span.trace_id, span.span_id) not in self._early:
                yield span


_HINT = (
    "; give the folder of a run, which has traces.jsonl or decisions.jsonl, "
    "or files of OTLP/JSON lines"
)


def find(source: StrPath | Iterable[StrPath]) -> Inputs:
    """The files that `source` names, a folder of a run among them.

    Raises:
        ReportError: Something is not there, cannot be read, or has no records by its look.
    """
    names = [source] if isinstance(source, str | os.PathLike) else source
    inputs = Inputs()
    for path, kind in chain.from_iterable(map(_files, map(Path, names))):
        (inputs.decisions if kind == "decisions" else inputs.traces).append(path)
    if not inputs.traces and not inputs.decisions:
        raise ReportError(f"no file is named{_HINT}")
    return inputs


def _files(path: Path) -> list[tuple[Path, str]]:
    """A file, or those of a folder, each with its kind."""
    try:
        if not path.is_dir():
            return [(path, _kind(path))]
        names = sorted(inside for inside in path.iterdir() if inside.is_file())
        if found := _known(path, names) or _likely(names):
            return found
    except OSError as error:
        why = error.strerror or str(error)
        raise ReportError(f"cannot read {path}: {why}{_HINT}", str(path)) from error
    raise ReportError(f"{path} is no run: it holds {_some(names)}{_HINT}", str(path))


def _some(names: list[Path]) -> str:
    return ", ".join(path.name for path in names[:5]) or "nothing"


def _known(folder: Path, names: list[Path]) -> list[tuple[Path, str]]:
    found = {path.name.partition(".")[0] for path in names if path.name in _NAMES}
    return [(folder / f"{kind}.jsonl", kind) for kind in sorted(found, reverse=True)]


_NAMES = ("traces.jsonl", "traces.starts.jsonl", "decisions.jsonl")


def _likely(names: list[Path]) -> list[tuple[Path, str]]:
    likely = [path for path in names if path.suffix in (".jsonl", ".json", ".ndjson")]
    kinds = [(path, _kind(path)) for path in likely if ".starts." not in path.name]
    return [(path, kind) for path, kind in kinds if kind]


def _kind(path: Path) -> str:
    """What a file looks like by its beginning; "" for neither."""
    if path.exists() and not path.is_file():
        why = f"{path} is no ordinary file, and is read more than once"
        raise ReportError(why, str(path))
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    if re.search(rb'"resourceSpans"|"startTimeUnixNano"', sample):
        return "traces"
    if re.search(rb'\A\s*{"v":1|"decision":', sample):
        return "decisions"
    return "decisions" if not sample and "decision" in path.name else ""
