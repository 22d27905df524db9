"""`waybell demo --check`: questions whose right passages are known."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from rich.console import Console

from waybell._desk._desk import Desk
from waybell._desk._passages import Passage
from waybell._desk._report import plain
from waybell_deadline import Deadline


_ENOUGH = 27


class Label(NamedTuple):
    """A question, and where its answer stands: files, each with a phrase of it."""

    question: str
    places: Sequence[tuple[str, str]]

    def right(self, passage: Passage) -> bool:
        """Whether a passage is of such a file and says such a phrase."""
        said = " ".join(passage.text.split())
        return any(passage.path == path and text in said for path, text in self.places)


@cache
def labels() -> list[Label]:
    """The questions that ship with the package."""
    text = files("waybell").joinpath("_desk/questions.json").read_text("utf-8")
    return [Label(**item) for item in json.loads(text)]


def known(passage: Passage) -> bool:
    """Whether a passage is of a file that any question is about."""
    return any(passage.path == path for each in labels() for path, _ in each.places)


async def check(console: Console, desk: Desk, seconds: float) -> int:
    """Ask them all; the exit code is 0 when enough answers cite the right passage."""
    right, asked = 0, labels()
    for label in asked:
        try:
            answer = await desk.ask(label.question, Deadline(seconds=seconds))
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
        else:
            if any(map(label.right, answer.sources.values())):
                right += 1
                continue
            got = ", ".join(p.source for p in answer.sources.values()) or "nothing"
        wanted = "\n      or ".join(f"{path} ({text!r})" for path, text in label.places)
        missed = f"missed  {label.question}\n  wanted {wanted}\n  cites {got}"
        console.print(plain(missed), soft_wrap=True)
    console.print(f"{right} of {len(asked)} answers cite the right passage")
    return 0 if right >= _ENOUGH else 1
