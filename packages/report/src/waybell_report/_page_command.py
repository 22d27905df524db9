"""`waybell report`: the page of a run, from the command line."""

import argparse
import sys
import webbrowser
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
from rich.console import Console

from waybell_report._report import Report, report
from waybell_report._terminal import USUAL, count, run, say, visible


_ABOUT = """\
One HTML file about a run: what failed, what it was given and returned, what it cost and
what the run waited for. It opens in any browser and asks the network for nothing.
"""
_MORE = """\
examples:
  waybell report                         the run in waybell-out, or in this folder
  waybell report runs/7 -o seven.html
  waybell report runs/7 --open
  waybell report traces.jsonl decisions.jsonl --title "nightly"
  waybell report runs/7 -o - | ssh host 'cat > report.html'

PATH is the folder of a run, with traces.jsonl and decisions.jsonl in it, or files of
either kind; spans may be any OTLP/JSON. The page is readable for you only: it holds what
the run's files hold.

exit codes: 0 written, 1 written but nothing was recorded, 2 the words were off, there is
nothing to read, or the page cannot be written.
"""


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = argparse.ArgumentParser(
        prog="waybell report", description=_ABOUT, epilog=_MORE, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = words.add_argument
    add("paths", metavar="PATH", nargs="*", type=Path, help="what to read")
    add("-o", "--output", metavar="FILE", default="report.html",
        help="where the page goes, - for standard output [report.html]")  # fmt: skip
    add("--title", metavar="TEXT", help="what the page is called [the folder's name]")
    add("--limit", metavar="N", type=count, default=100_000,
        help="spans to show: the newest, and failed ones before them [100000]")  # fmt: skip
    add("--open", action="store_true", help="show the page in the browser")
    add("--json", action="store_true", help="tell what was written as one JSON object")
    return words


def command(
    argv: Sequence[str], *, browse: Callable[[str], object] = webbrowser.open
) -> int:
    """Write a run as one HTML page that needs no network.

    Args:
        argv: The words after `waybell report`.
        browse: Shows the page of an address.

    Returns:
        The exit code, as `--help` lists them.
    """
    return run(parser(), argv, lambda options: _write(options, browse))


def _write(options: argparse.Namespace, browse: Callable[[str], object]) -> int:
    paths = options.paths or [USUAL if USUAL.is_dir() else Path()]
    path = None if options.output == "-" else Path(options.output)
    with _progress() as told:
        settings = {"title": options.title, "limit": min(options.limit, 300_000)}
        made = report(paths, path, **settings, progress=told)
    if path is None:
        sys.stdout.write(made.html)
    else:
        _tell(made, path, as_json=options.json)
        if options.open:
            browse(path.resolve().as_uri())
    empty = not (made.spans or made.decisions)
    notes = [*made.notes, *["nothing was recorded in these files yet"] * empty]
    for note in notes:
        say(f"waybell report: {note}")
    return int(empty)


def _tell(made: Report, path: Path, *, as_json: bool) -> None:
    if as_json:
        told = {
            "path": str(path), "bytes": path.stat().st_size, "spans": made.spans,
            "decisions": made.decisions, "verdict": made.verdict, "notes": made.notes,
        }  # fmt: skip
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    size = path.stat().st_size / 1e6
    sys.stdout.write(
        f"{path}  {size:.1f} MB, {made.spans:,} spans, {made.decisions:,} decisions\n"
        f"{visible(made.verdict, 500)}\n"
    )


@contextmanager
def _progress() -> Generator[Callable[[int], object] | None]:
    """Shows how many spans were read, on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status("reading") as status:
        yield lambda number: status.update(f"read {number:,} spans")
