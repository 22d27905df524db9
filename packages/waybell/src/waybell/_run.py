"""`waybell run`: what can be said to it, and the exit codes."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from waybell._guard import OUT, guarded, late, seconds


_ABOUT = """\
A team of agents does the tasks of a file, each as soon as the tasks it depends on are
done. The model is that of the agent, else --model, else the file's, else that of the
variable WAYBELL_MODEL; there is no other, since models cost money.
"""
_MORE = """\
examples:
  waybell run tasks.toml --model offline
  waybell run tasks.toml --model anthropic:... --budget 0.50 --deadline 120
  waybell run tasks.toml --model openai:... --rates rates.toml --budget 0.50
  waybell run tasks.toml --journal run.jsonl          the same again goes on after a crash
  waybell run tasks.toml --journal run.jsonl --decide "send=yes"

tasks.toml (or the same as JSON):
  model = "offline"
  [limits]
  usd = 0.50                       # also tokens, seconds, max_concurrent
  [[agents]]
  name = "writer"
  system_prompt = "Be brief."      # also model, max_steps, output_schema, options
  tools = [{ use = "read_file", root = "notes" }, { use = "http_get", approve = true }]
  [[tasks]]
  id = "draft"
  description = "Summarise notes/bells.md."
  agent = "writer"                 # also depends_on, priority, retries, timeout, usd,
                                   # tokens, run_if, partial, safe_to_repeat

Where dollars are limited, a call whose price nobody knows is refused before it is sent:
say --rates (its file is that of waybell demo), or install waybell[prices].

With --journal a tool that needs approval, and a tool call that a crash has left without
a known outcome, suspend their task; the run ends, says what it waits for, and goes on
with --decide: yes, no, repeat, fail, or what is to be taken as the tool's result.

OUT gets traces.jsonl, traces.starts.jsonl, decisions.jsonl, results.json and results.md.
Those of an earlier run are moved into OUT/earlier-1, OUT/earlier-2 and so on.

exit codes: 0 all tasks are done, 1 not, 2 the words or the file were off, 3 suspended,
130 interrupted, 141 nobody read on.
"""


# fmt: off
def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = argparse.ArgumentParser(
        prog="waybell run",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = words.add_argument
    add("file", metavar="FILE", type=Path, help="a team and its tasks, as TOML or JSON")
    add("--model", metavar="SPEC", help="provider:model of agents that name none")
    add("--budget", metavar="USD", help="most to spend [the file's limit]")
    add("--rates", metavar="FILE", type=Path, action="append", default=[],
        help="what a model costs; may be given again, for another")
    add("--deadline", metavar="SECONDS", type=seconds, help="most to wait [the file's limit]")
    add("--journal", metavar="FILE", type=Path,
        help="keep what is done there, so that the run can go on")
    add("--decide", metavar="KEY=VALUE", action="append", default=[], type=_decision,
        help="answer what the journal's run waits for; KEY is as it was printed, or the "
        "task's id if it waits for one thing only")
    add("--retry-failed", action="store_true",
        help="do again what failed in the journal's run, and what that skipped")
    add("--out", metavar="DIR", type=Path, default=OUT,
        help="where the files go [waybell-out]")
    return words
# fmt: on


def _decision(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{word!r} is not KEY=VALUE")
    return key, value


def command(argv: Sequence[str], *, build: Callable[[str], Any] | None = None) -> int:
    """Run a team of agents over the tasks of a file.

    Args:
        argv: The words after `waybell run`.
        build: Makes a model of the words of `--model`; by default
            `waybell_adapters.adapter`.

    Returns:
        The exit code, as `--help` lists them.
    """
    return guarded(parser(), argv, late("waybell._team._run", build))
