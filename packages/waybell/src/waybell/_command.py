"""The `waybell` command: subcommands come from the packages that are installed."""

import ast
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from waybell._guard import ended


GROUP = "waybell.commands"
_REPORTS = {"chrome", "decisions", "report", "show", "stats", "tail"}  # not always here


def _summary(point: EntryPoint) -> str:
    """The first line of a command's docstring, without loading it and what it needs."""
    package, _, rest = point.module.partition(".")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return f"(needs {package.replace('_', '-')})"
    source = Path(spec.origin)
    if rest:
        source = source.parent.joinpath(*rest.split(".")).with_suffix(".py")
    try:
        body = ast.parse(source.read_bytes()).body
    except (OSError, SyntaxError):
        return ""
    text = next(
        (
            ast.get_docstring(node) or ""
            for node in body
            if isinstance(node, ast.FunctionDef) and node.name == point.attr
        ),
        "",
    )
    return text.partition("\n")[0]


def _usage(commands: dict[str, EntryPoint]) -> str:
    width = max(map(len, commands), default=0)
    lines = [f"  {name:<{width}}  {_summary(p)}" for name, p in commands.items()]
    return "\n".join(
        [
            "usage: waybell COMMAND [ARGUMENT ...]",
            "",
            *lines,
            "",
            "waybell COMMAND --help tells more; waybell --version prints the version.",
        ]
    )


def _unknown(name: str, commands: dict[str, EntryPoint]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only on this path

    near = get_close_matches(name.lower(), commands, n=1)
    if name in _REPORTS:
        return f"waybell {name} needs waybell-report: pip install waybell-report"
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"waybell: no command {name!r}{hint} There are: {', '.join(commands)}."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: The words after `waybell`; those of the process by default.

    Returns:
        The exit code: 0 when it worked, 2 when the words or a file were off, 130 when it was
        interrupted, 141 when the reader of its output has gone; else what the
        subcommand returned.
    """
    _ready()
    words = list(sys.argv[1:] if argv is None else argv)
    return ended("waybell", lambda: _main(words))


def _ready() -> None:
    """Let the output be closed, or have no letters but those of ASCII."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
            setattr(sys, name, stream)
        strict = getattr(stream, "errors", "") in ("strict", "surrogateescape")
        if isinstance(stream, io.TextIOWrapper) and strict:
            stream.reconfigure(errors="replace")


def _main(words: list[str]) -> int:
    commands = {point.name: point for point in sorted(entry_points(group=GROUP))}
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage(commands))
        return 0
    if words[0] in ("-V", "--version", "version"):
        from waybell import __version__  # noqa: PLC0415 - only on this path

        print(f"waybell {__version__}")
        return 0
    point = commands.get(words[0])
    if point is None:
        print(_unknown(words[0], commands), file=sys.stderr)
        return 2
    try:
        command = point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "a package").partition(".")[0].replace("_", "-")
        why = f"waybell {words[0]} needs {missing}: pip install {missing}"
        print(why, file=sys.stderr)
        return 2
    return int(command(words[1:]))
