"""`waybell tail`: spans and decisions as they are written."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from glob import escape
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeAlias

from rich.text import Text

from waybell_decisions import DecisionLog
from waybell_report import _terminal as tty
from waybell_report._decisions import listed
from waybell_report._facets import usage_of
from waybell_report._inputs import Inputs, ReportError
from waybell_report._verdict import bare
from waybell_trace import SpanReader, SpanRecord


Line: TypeAlias = tuple[float, dict[str, Any], Text]  # when, as JSON, as seen
_MORE = """\
examples:
  waybell tail                   the last 20 lines of the run in waybell-out, or here
  waybell tail runs/7 -f         and go on as they are written, until interrupted
  waybell tail -f --json | jq .

exit codes: 0 shown, 2 there is nothing to read, 130 interrupted.
"""
_EVERY: Final = 0.2  # seconds between two looks at the files
_CHUNK: Final = 1 << 22  # bytes taken at one look
_LINE: Final = 1 << 14  # bytes that a line has at most, mostly


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = tty.Words("tail", "Spans and decisions as they are written.", _MORE)
    add = words.add_argument
    add("-n", "--lines", metavar="N", type=tty.count, default=20, help="most [20]")
    add("-f", "--follow", action="store_true", help="go on with what is written")
    return words


def command(
    argv: Sequence[str], *, sleep: Callable[[float], object] = time.sleep
) -> int:
    """Print the last spans and decisions, and follow as they are written."""
    return tty.run(parser(), argv, lambda options: _tail(options, sleep))


def _tail(options: argparse.Namespace, sleep: Callable[[float], object]) -> int:
    inputs = _waited_for(options, sleep)
    files: dict[Path, Growing] = {}
    last = sorted(_news(inputs, files, options.lines * _LINE), key=itemgetter(0))
    if not options.follow:
        tty.warn("waybell tail", inputs)
        if not last:
            raise inputs.without("span and no decision")
    for line in last[-options.lines :]:
        _print(line, as_json=options.json)
    while options.follow:
        sys.stdout.flush()
        if not (news := sorted(_news(inputs, files), key=itemgetter(0))):
            sleep(_EVERY)
        for line in news:
            _print(line, as_json=options.json)
    return 0


def _news(
    inputs: Inputs, files: dict[Path, "Growing"], back: int = 0
) -> Iterator[Line]:
    """What was written since the last look, in files that are new as well."""
    for path in [*inputs.traces, *inputs.decisions]:
        parts = path.parent.glob(f"{escape(path.stem)}.[0-9]*{escape(path.suffix)}")
        kind = "traces" if path in inputs.traces else "decisions"
        for part in (path, *sorted(parts)):
            if part not in files:
                files[part] = Growing(part, kind, back)
            yield from files[part].lines(inputs)


def _waited_for(
    options: argparse.Namespace, sleep: Callable[[float], object]
) -> Inputs:
    """The files; with --follow they may be yet to come."""
    while True:
        try:
            return tty.opened(options.path)
        except ReportError:
            nowhere = options.path and not options.path.parent.exists()
            if not options.follow or nowhere:
                raise
        sleep(_EVERY)


def _print(line: Line, *, as_json: bool) -> None:
    if as_json:
        tty.emit(line[1])
    else:
        tty.put(line[2])


class Growing:
    """A file that somebody may be writing, read from where the last look ended.

    Args:
        path: The file.
        kind: "traces" or "decisions".
        back: How many bytes of what is there already to read at first, about; 0 for all.
    """

    __slots__ = ("_kind", "_offset", "_path")

    def __init__(self, path: Path, kind: str, back: int = 0) -> None:
        self._path, self._kind, self._offset = path, kind, 0
        if back and path.exists() and (size := path.stat().st_size) > back:
            with path.open("rb") as file:
                file.seek(size - back)
                self._offset = size - back + len(file.readline())

    def lines(self, inputs: Inputs) -> Iterator[Line]:
        """What was written since, whole lines only; `inputs` counts what is foreign."""
        text = self._fresh()
        if not text:
            return
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder, self._path.name)
            part.write_bytes(text)
            if self._kind == "traces":
                with SpanReader(part) as read:
                    yield from map(_span, read)
                inputs.foreign += read.foreign + read.torn
            else:
                records = DecisionLog.read(part)
                yield from map(_record, records)
                inputs.foreign += records.foreign + records.torn

    def _fresh(self) -> bytes:
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < self._offset:
            self._offset = 0  # a new file of this name
        if size == self._offset:
            return b""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read(_CHUNK)
            while text and b"\n" not in text and (more := file.read(_CHUNK)):
                text += more
        text = text[: text.rfind(b"\n") + 1]
        self._offset += len(text)
        return text


def _span(span: SpanRecord) -> Line:
    when = (span.end_ns or span.start_ns) / 1e9
    usage = usage_of(span)
    line = Text(tty.clock(when), style="dim")
    line.append("span          ", "dim")
    line.append(tty.visible(span.name, 60), "bold red" if span.failed else "bold")
    line.append(f"  {tty.seconds(span.seconds)}", "cyan")
    if usage.tokens:
        line.append(f"  {usage.tokens:,} tokens", "dim")
    if usage.nano_usd:
        line.append(f"  {tty.dollars(usage.nano_usd)}", "green")
    if span.failed:
        line.append(f"  {tty.visible(bare(span.error or 'failed'))}", "red")
    plain = {
        "span": span.name, "time": when, "trace_id": span.trace_id,
        "span_id": span.span_id, "parent_id": span.parent_id, "seconds": span.seconds,
        "failed": span.failed, "error": span.error,
        "attributes": span.attributes,
    }  # fmt: skip
    return when, plain, line


def _record(record: dict[str, Any]) -> Line:
    when = record.get("time")
    seconds_ = float(when) if isinstance(when, int | float) else 0.0
    return seconds_, record, listed(record)
