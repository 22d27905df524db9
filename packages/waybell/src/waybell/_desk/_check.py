"""`waybell demo --check`: questions whose right passages are known."""

import json
from importlib.resources import files
from typing import NamedTuple

from rich.console import Console

from waybell._desk._desk import Answer, Desk
from waybell._desk._report import plain
from waybell_deadline import Deadline


_ENOUGH = 27


class Label(NamedTuple):
    """A question, the file with its answer, and what the right passage says."""

    question: str
    file: str
    phrase: str

    def met(self, answer: Answer) -> bool:
        """Whether the answer cites a passage of that file with that phrase."""
        return any(
            passage.path == self.file and self.phrase in " ".join(passage.text.split())
            for passage in answer.sources.values()
        )


def labels() -> list[Label]:
    """The questions that ship with the package."""
    text = files("waybell").joinpath("_desk/questions.json").read_text("utf-8")
    return [Label(**item) for item in json.loads(text)]


async def check(console: Console, desk: Desk, seconds: float) -> int:
    """Ask them all; the exit code is 0 when enough answers cite the right passage.

    Args:
        console: Where each miss and the count are printed.
        desk: What is asked.
        seconds: What each answer may take.
    """
    right, asked = 0, labels()
    for label in asked:
        try:
            answer = await desk.ask(label.question, Deadline(seconds=seconds))
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
        else:
            if label.met(answer):
                right += 1
                continue
            got = ", ".join(p.source for p in answer.sources.values()) or "nothing"
        console.print(plain(f"missed  {label.question}"))
        console.print(
            plain(f"        wanted {label.file}: {label.phrase!r}; cites {got}")
        )
    console.print(f"{right} of {len(asked)} answers cite the right passage")
    return 0 if right >= _ENOUGH else 1
