"""Finds the files of a run and reads them line by line, in bounded memory."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
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
    with tempfile.TemporaryDirectory() as folder:
        line = Path(folder, "line.jsonl")
        messages = found if _several(found) else [found]
        line.write_bytes(b"\n".join(map(orjson.dumps, messages)))
        with SpanReader(line) as reader:
            return list(reader)


def _several(found: object) -> bool:
    return isinstance(found, list)


def merged(
    ends: Iterable[SpanRecord], starts: Iterator[SpanRecord]
) -> Iterator[SpanRecord]:
    """The spans of `ends`; then those of `starts` that are not among them.

    Both are nearly in order of time, so what is held is what runs at one moment.
    """
    running: dict[tuple[str, str], SpanRecord] = {}
    early: set[tuple[str, str]] = set()  # ended before their start was read
    start = next(starts, None)
    for end in ends:
        while start is not None and start.start_ns <= (end.end_ns or 0):
            _begin(start, running, early)
            start = next(starts, None)
        key = end.trace_id, end.span_id
        if running.pop(key, None) is None:
            early.add(key)
        yield end
    yield from running.values()
    for left in chain([] if start is None else [start], starts):
        if (left.trace_id, left.span_id) not in early:
            yield left


def _begin(
    start: SpanRecord,
    running: dict[tuple[str, str], SpanRecord],
    early: set[tuple[str, str]],
) -> None:
    key = start.trace_id, start.span_id
    if key in early:
        early.discard(key)
    else:
        running[key] = start


def find(source: StrPath | Iterable[StrPath]) -> Inputs:
    """The files that `source` names, a folder of a run among them.

    Raises:
        ReportError: Something is not there, cannot be read, or has no records by its look.
    """
    names = [source] if isinstance(source, str | os.PathLike) else source
    inputs = Inputs()
    for name in names:
        path = Path(name)
        try:
            found = _in_folder(path) if path.is_dir() else [(path, _kind(path))]
        except OSError as error:
            why = error.strerror or str(error)
            raise ReportError(f"cannot read {path}: {why}{_HINT}", str(path)) from error
        for file, kind in found:
            (inputs.decisions if kind == "decisions" else inputs.traces).append(file)
    if not inputs.traces and not inputs.decisions:
        raise ReportError(f"no file is named{_HINT}")
    return inputs


_HINT = (
    "; give the folder of a run, which has traces.jsonl or decisions.jsonl, "
    "or files of OTLP/JSON lines"
)


def _in_folder(folder: Path) -> list[tuple[Path, str]]:
    names = sorted(path for path in folder.iterdir() if path.is_file())
    known = {"traces.jsonl": "traces", "traces.starts.jsonl": "traces"}
    known["decisions.jsonl"] = "decisions"
    kinds = {known[path.name] for path in names if path.name in known}
    if kinds:
        return [
            (folder / f"{kind}.jsonl", kind) for kind in sorted(kinds, reverse=True)
        ]
    likely = [p for p in names if p.suffix in (".jsonl", ".json", ".ndjson")]
    looks = [(path, _kind(path)) for path in likely if ".starts." not in path.name]
    if found := [(path, kind) for path, kind in looks if kind]:
        return found
    shown = ", ".join(path.name for path in islice(names, 5)) or "nothing"
    raise ReportError(f"{folder} is no run: it holds {shown}{_HINT}", str(folder))


def _kind(path: Path) -> str:
    """What a file looks like by its beginning; "" for neither."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    if b'"resourceSpans"' in sample or b'"startTimeUnixNano"' in sample:
        return "traces"
    if sample.lstrip().startswith(b'{"v":1') or b'"decision":' in sample:
        return "decisions"
    return "decisions" if not sample and "decision" in path.name else ""
