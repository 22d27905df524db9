"""Where the commands print."""

import logging
import sys

from rich.console import Console


class SafeConsole(Console):
    """A console that says when nobody reads it any more."""

    __slots__ = ()

    def on_broken_pipe(self) -> None:
        """Raise, where a plain one would exit with 1."""
        raise BrokenPipeError


class Brief(logging.Handler):
    """Prints each kind of warning once, and of a disk's trouble no traceback."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning like none before."""
        if record.msg not in self._said:
            self._said.add(record.msg)
            error = record.exc_info and record.exc_info[1]
            short = f"{record.getMessage()}: {error}"
            text = short if isinstance(error, OSError) else self.format(record)
            print(f"waybell: {text}", file=sys.stderr)


def safe_console() -> SafeConsole:
    """For standard output; warnings that a report of the run repeats are silenced."""
    for twice in ("waybell_budget", "waybell_deadline"):
        logging.getLogger(twice).addHandler(logging.NullHandler())
    logging.lastResort = Brief()
    return SafeConsole(highlight=False, markup=False, emoji=False)
