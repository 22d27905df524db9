"""What the commands have in common: words that are checked, and ends that are clean."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias


OUT = Path("waybell-out")  # where files go, if nothing else is said
Run: TypeAlias = Callable[[argparse.Namespace], int]


class Refused(Exception):
    """The run cannot begin; the message says why."""


def seconds(word: str) -> float:
    """A number of seconds that can be waited."""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds above 0")
    return number


def guarded(
    words: argparse.ArgumentParser,
    argv: Sequence[str],
    run: Run,
) -> int:
    """Parse the words of a command, and run it; the exit code.

    Args:
        words: Its parser.
        argv: What was said.
        run: Takes the options, returns the exit code.
    """

    def parsed() -> int:
        try:
            options = words.parse_args(argv)
        except SystemExit as stop:
            return int(stop.code or 0)
        return run(options)

    return ended(words.prog, parsed)


def late(module: str, build: Callable[[str], Any] | None) -> Run:
    """The `run` of a module that is loaded only when it runs: --help is fast."""

    def run(options: argparse.Namespace) -> int:
        return int(import_module(module).run(options, build))

    return run


def ended(command: str, run: Callable[[], int]) -> int:
    """Run; the exit code, also when it is refused, interrupted, or read by nobody."""
    try:
        code = run()
        sys.stdout.flush()
    except Refused as refused:
        print(f"{command}: {refused}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        where = f" {stop}" if str(stop) else ""
        print(f"\nInterrupted.{where}", file=sys.stderr)
        return 130
    except OSError as error:
        # Nothing can be printed any more; nor shall the interpreter try it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # who read it has gone
            return 141
        where = f"{error.filename}: " if error.filename else ""
        print(f"{command}: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return code
