"""`waybell completion`: the words of every command, for a shell to complete."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import shtab

from waybell._guard import guarded


_MORE = """\
examples:
  waybell completion bash > ~/.local/share/bash-completion/completions/waybell
  waybell completion zsh  > "${fpath[1]}/_waybell"
  waybell completion fish > ~/.config/fish/completions/waybell.fish
"""


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = argparse.ArgumentParser(
        prog="waybell completion", epilog=_MORE,
        description="Print what makes a shell complete the words of waybell.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    words.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
    return words


def command(argv: Sequence[str]) -> int:
    """Print what makes a shell complete the words of waybell."""
    return guarded(parser(), argv, _complete)


def _complete(options: argparse.Namespace) -> int:
    print(shtab.complete(everything(), shell=options.shell))
    return 0


def everything() -> argparse.ArgumentParser:
    """One parser of all commands that are installed and can be loaded.

    A command's module says its words by a function `parser`; one without it is
    completed by its name only.
    """
    whole = argparse.ArgumentParser(prog="waybell")
    whole.add_argument("--version", action="store_true", help="print the version")
    below = whole.add_subparsers()
    for point in sorted(entry_points(group="waybell.commands")):
        try:
            found: Any = point.load()
        except ModuleNotFoundError:
            continue  # its package is not installed
        summary = (found.__doc__ or "").strip().partition("\n")[0]
        own = getattr(sys.modules[found.__module__], "parser", None)
        words: list[argparse.ArgumentParser] = [] if own is None else [own()]
        for action in words[0]._actions if words else ():  # noqa: SLF001 - shtab's own way
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        below.add_parser(point.name, parents=words, add_help=not words, help=summary)
    return whole
