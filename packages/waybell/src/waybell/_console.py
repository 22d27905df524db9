"""Where the commands print."""

import logging

from rich.console import Console


class SafeConsole(Console):
    """A console that says when nobody reads it any more."""

    __slots__ = ()

    def on_broken_pipe(self) -> None:
        """Raise, where a plain one would exit with 1."""
        raise BrokenPipeError


def safe_console() -> SafeConsole:
    """For standard output; warnings that a report of the run repeats are silenced."""
    for twice in ("waybell_budget", "waybell_deadline"):
        logging.getLogger(twice).addHandler(logging.NullHandler())
    return SafeConsole(highlight=False, markup=False, emoji=False)
