"""Cut a text into passages where something new begins."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise


_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_SCOPE = re.compile(r"(\s*)(?:async\s+)?(?:def|class|func|fn|function)\s+(\w+)")
_LEADING = re.compile(r"\s*@\w|\s*#\s")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\S")
_PROSE = (".md", ".markdown", ".rst", ".txt")
_FEW = 12  # words that are too few for a passage
_MANY = 100  # words after which a blank line ends it
_ITEM_WORDS = 50  # words after which the next item of a list ends it
_DOC_LINES = 8  # lines of a docstring that is a passage of its own
_LINES = 24  # lines after which a blank one ends it
_MAX_LINES = 72
_MAX_SIZE = 4_000  # characters


@dataclass(frozen=True, slots=True)
class Passage:
    """A few lines of one file.

    Args:
        path: The file, from the folder.
        start: Its first line, counted from 1.
        end: Its last line.
        title: The heading, class or function it stands under.
        text: Its lines.
    """

    path: str
    start: int
    end: int
    title: str
    text: str

    @property
    def source(self) -> str:
        """`path:first-last`, as the answer cites it."""
        return f"{self.path}:{self.start}-{self.end}"

    @property
    def is_prose(self) -> bool:
        """Whether it is written for readers, not for a machine."""
        return self.path.endswith(_PROSE)


def passages(path: str, text: str) -> Iterator[Passage]:
    """Cut a file where something new begins, never inside a fence."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    begins = _heading if path.endswith(_PROSE) else _scope
    cuts = [(0, ""), *_cuts(lines, begins), (len(lines), "")]
    start, under = None, ""
    for (begin, title), (end, _) in pairwise(cuts):
        if start is None:
            start, under = begin, title
        elif not under or title.startswith(f"{under} > "):
            under = title  # a part of what it begins under
        words = len(re.findall(r"\w+", " ".join(lines[start:end])))
        if words < _FEW and end < len(lines):
            continue  # too little to stand alone: it goes with what follows
        yield from _cut(path, lines, start, end, under)
        start = None


def _cuts(
    lines: list[str], begins: Callable[[str], tuple[int, str] | None]
) -> Iterator[tuple[int, str]]:
    """Where passages begin, and under which headings, or class and function."""
    above: list[tuple[int, str]] = []  # depths and names
    last = 0
    for number, (line, fenced) in enumerate(zip(lines, _fenced(lines), strict=True)):
        found = None if fenced else begins(line)
        if found:
            above = [*(each for each in above if each[0] < found[0]), found]
            last = _before_leading(lines, last, number)
        elif _ripe(lines[last:number], line, fenced=fenced):
            last = number
        else:
            continue
        yield last, " > ".join(name for _, name in above)


def _fenced(lines: list[str]) -> Iterator[bool]:
    """Whether each line stands in a fence that was opened before it."""
    inside = False
    for line in lines:
        yield inside
        inside ^= line.lstrip().startswith(("```", "~~~"))


def _before_leading(lines: list[str], last: int, number: int) -> int:
    """Decorators and comments belong to what they stand before."""
    while number > last + 1 and _LEADING.match(lines[number - 1]):
        number -= 1
    return number


def _ripe(before: list[str], line: str, *, fenced: bool) -> bool:
    """Whether what stands before a line is long enough to be cut there."""
    size, words = len(before), len(" ".join(before).split())
    if fenced or size >= _MAX_LINES:
        return size >= _MAX_LINES
    told = size >= _DOC_LINES and before[-1].strip() == '"""'
    blank = not line.strip() and max(size / _LINES, words / _MANY) >= 1
    return told or blank or bool(words >= _ITEM_WORDS and _ITEM.match(line))


def _heading(line: str) -> tuple[int, str] | None:
    match = _HEADING.match(line)
    return match and (len(match[1]), match[2].strip())


def _scope(line: str) -> tuple[int, str] | None:
    match = _SCOPE.match(line)
    return match and (len(match[1].expandtabs()), match[2])


def _cut(
    path: str, lines: list[str], start: int, end: int, title: str
) -> Iterator[Passage]:
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    text = "\n".join(lines[start:end])
    for at in range(0, len(text), _MAX_SIZE):
        part = text[at : at + _MAX_SIZE]
        first = start + 1 + text.count("\n", 0, at)
        if re.search(r"\w", part):
            yield Passage(path, first, first + part.count("\n"), title, part)
