"""What the commands share: words, files, errors, exit codes, a console."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import orjson
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text

from waybell_report._inputs import Inputs, ReportError, find


T = TypeVar("T")
USUAL = Path("waybell-out")
_HIDDEN = re.compile(  # control characters, and marks that turn the direction of text
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


class Words(argparse.ArgumentParser):
    """A parser of one command's words: a folder or file, `--json`, and its own.

    Args:
        name: The command.
        about: What it does, in a paragraph.
        more: Examples and exit codes.
    """

    def __init__(self, name: str, about: str, more: str) -> None:
        super().__init__(
            prog=f"waybell {name}", description=about, epilog=more, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        self.add_argument(
            "path", metavar="PATH", nargs="?", type=Path,
            help="the folder of a run, or a file; waybell-out or this folder by default",
        )  # fmt: skip
        self.add_argument("--json", action="store_true", help="machine-readable lines")


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    body: Callable[[argparse.Namespace], int],
) -> int:
    """Parse the words and call the body; every foreseen trouble is a line and a code.

    Args:
        parser: Of the command.
        argv: Its words.
        body: Takes the options, returns the exit code.

    Returns:
        What the body returned; 2 for words that were off and files that cannot be read,
        130 when interrupted, 141 when the reader of the output has gone.
    """
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        code = body(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more, not even what the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ReportError, OSError, MemoryError) as error:
        say(f"{parser.prog}: {_told(error)}")
        return 2
    except KeyboardInterrupt:
        say("")
        return 130
    return code


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    told = str(getattr(error, "strerror", None) or error)
    return told or "there is not enough memory for it"


def opened(path: Path | None) -> Inputs:
    """The files of a run; without a path those of `waybell-out`, or of this folder.

    Raises:
        ReportError: There are none.
    """
    if path is None:
        path = USUAL if USUAL.is_dir() else Path()
    return find(path)


def say(text: str) -> None:
    """Tell the person, not the pipe."""
    sys.stderr.write(f"{text}\n")


def warn(prog: str, inputs: Inputs, more: Iterable[Any] = ()) -> None:
    """Say on standard error which lines were left out, of these and `more` files."""
    for each in more:
        inputs.torn += each.torn
        inputs.foreign += each.foreign
    for count, what in (
        (inputs.torn, "cut short, most likely by a crash"),
        (inputs.foreign, "neither span nor decision"),
    ):
        if count:
            say(f"{prog}: {count} {'line is' if count == 1 else 'lines are'} {what}")


class _Quiet(Console):
    """A console that leaves a reader who has gone to `run`."""

    def on_broken_pipe(self) -> None:
        """Raise the error again."""
        raise BrokenPipeError


@cache
def console() -> Console:
    """For standard output: in colour on a terminal, plain and unwrapped elsewhere."""
    shown = _Quiet(highlight=False, soft_wrap=True)
    if not shown.is_terminal:
        shown.width = 10_000  # nothing of a line is lost to a pipe
    return shown


def put(line: Text) -> None:
    """Print a line; to a pipe as it is, without the cost of a console."""
    if console().is_terminal:
        console().print(line)
    else:
        sys.stdout.write(f"{line.plain}\n")


def watched(items: Iterable[T], what: str) -> Iterator[T]:
    """The items, while a terminal's standard error shows how many there were."""
    shown = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed:,}")
    off = not shown.is_terminal
    with Progress(*columns, console=shown, transient=True, disable=off) as bar:
        task = bar.add_task(what, total=None)
        for number, item in enumerate(items, 1):
            if not number % 2_000:
                bar.update(task, completed=number)
            yield item


def count(text: str) -> int:
    """A number of things, for an option."""
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is no count above 0")
    return int(text)


def emit(value: Any) -> None:
    """Print one line of JSON."""
    line = orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE)
    sys.stdout.buffer.write(line)


def visible(text: object, most: int = 200) -> str:
    """Text of strangers on one line: control and direction marks shown, length bounded."""
    line = " ".join(str(text).split())
    line = _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it; a dash if it is unknown."""
    if value is None:
        return "-"
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"


def clock(when: float) -> str:
    """The time of day in UTC; one that no calendar has is its nearest end."""
    moment = datetime.fromtimestamp(min(max(when, 0.0), 2.0**37), UTC)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}  "


def dollars(nano: int | None) -> str:
    """A cost; a dash if it is unknown."""
    if nano is None:
        return "-"
    shown = f"{nano / 1e9:.6f}".rstrip("0")
    whole, _, part = shown.partition(".")
    return f"${whole}.{part:0<2}"
