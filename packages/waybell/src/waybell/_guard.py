"""What the commands have in common: words that are checked, and ends that are clean."""

import argparse
import math
import os
import sys
from collections.abc import Callable


def seconds(word: str) -> float:
    """A number of seconds that can be waited."""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds above 0")
    return number


def guarded(command: str, run: Callable[[], int]) -> int:
    """Run a command; the exit code, also when it is refused or interrupted."""
    try:
        from waybell._out import Refused  # noqa: PLC0415 - --help is fast

        try:
            return run()
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
            return 0
        print(f"{command}: {error}", file=sys.stderr)
        return 1
