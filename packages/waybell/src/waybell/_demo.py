"""`waybell demo`: what can be said to it, and the exit codes."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from waybell._guard import OUT, guarded, late, seconds


_ABOUT = """\
A desk of agents answers a question from a folder of text and code. A router
classifies the question; a pipeline researches, drafts and reviews, each stage from
its own part of one budget; a broadcast asks three ways of retrieval, one of which
fails now and then on purpose; a supervisor has the draft revised until it keeps the
rules. No key and no network are needed.
"""
_MORE = """\
examples:
  waybell demo
  waybell demo --ask "Where is the bus plan compiled?"
  waybell demo ~/notes --ask "Which port does the server listen on?"
  waybell demo --rates rates.toml --budget 0.01
  waybell demo --check

rates.toml (or the same as JSON), US dollars per million tokens:
  model = "name"
  input = 3
  output = 15

OUT gets traces.jsonl, traces.starts.jsonl and decisions.jsonl. Those of an earlier run
are moved into OUT/earlier-1, OUT/earlier-2 and so on; nothing is overwritten.

exit codes: 0 answered and approved (--check: at least 27 right), 1 not, 2 the words
were off, or nothing can be read or written, 130 interrupted, 141 nobody read on.
"""


# fmt: off
def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = argparse.ArgumentParser(
        prog="waybell demo",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = words.add_argument
    add("path", metavar="PATH", nargs="?",
        help="a folder, or one file; by default the docs and sources of Waybell")
    what = words.add_mutually_exclusive_group()
    what.add_argument("--ask", metavar="TEXT", type=_text, help="the question")
    what.add_argument("--check", action="store_true",
        help="regression check: 30 questions the desk was developed on")
    add("--model", metavar="SPEC", default="offline", help="provider:model [offline]")
    add("--rates", metavar="FILE", type=Path, nargs=1, default=[],
        help="price the tokens as if another model had run")
    add("--budget", metavar="USD", default="0.50", help="most to spend [0.50]")
    add("--deadline", metavar="SECONDS", type=seconds, default=60.0,
        help="most to wait [60]")
    add("--out", metavar="DIR", type=Path, default=OUT,
        help="where the files go [waybell-out]")
    add("--seed", metavar="N", type=int, default=1, help="of the injected faults [1]")
    return words
# fmt: on


def _text(word: str) -> str:
    if not word.strip():
        raise argparse.ArgumentTypeError("the question is empty")
    return word


def command(argv: Sequence[str], *, build: Callable[[str], Any] | None = None) -> int:
    """Answer a question from a folder of text and code, with a desk of agents.

    Args:
        argv: The words after `waybell demo`.
        build: Makes a model of the words of `--model`; by default
            `waybell_adapters.adapter`.

    Returns:
        The exit code, as `--help` lists them.
    """
    return guarded(parser(), argv, late("waybell._desk._run", build))
