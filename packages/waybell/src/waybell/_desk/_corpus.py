"""Read a folder of text and code into passages, and say what could not be read."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path


_SKIPPED = frozenset(
    {"__pycache__", "node_modules", "dist", "build", "_build", "venv", "site-packages"}
)
_CHECKOUT = (
    "*.md", "docs/**/*.md", "packages/*/README.md", "packages/*/src/**/*.py",
    "examples/**/*.py",
)  # fmt: skip
_INSTALLED = ("waybell/**/*.py", "waybell_*/**/*.py")
_MAX_BYTES = 1_000_000
_MAX_FILES = 5_000
_MAX_TOTAL = 20_000_000  # characters
_MAX_SIZE = 4_000  # characters of a passage
_MAX_LINES = 24
_PROSE = (".md", ".markdown", ".rst", ".txt")
_FEW_LINES = 8  # after so many, a docstring is a passage of its own
_ITEM_WORDS = 50  # after so many, a list may be cut at its items
_MAX_WORDS = 100
_FEW = 12  # words that are too few for a passage
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_SCOPE = re.compile(r"(\s*)(?:async\s+)?(?:def|class|func|fn|function)\s+(\w+)")
_LEADING = re.compile(r"\s*@\w|\s*#\s")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\S")


class CorpusError(Exception):
    """The folder cannot be used; the message says why and what to do."""


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


@dataclass(slots=True)
class Corpus:
    """All passages of a folder, and what was left out.

    Args:
        root: The folder.
        passages: In the order of their paths and lines.
        files: How many files they come from.
        skipped: Why each left-out file was left out, by path.
    """

    root: Path
    passages: list[Passage] = field(default_factory=list[Passage])
    files: int = 0
    skipped: dict[str, str] = field(default_factory=dict[str, str])


def read_corpus(
    root: Path, *, only: tuple[str, ...] = (), most: int = _MAX_FILES
) -> Corpus:
    """Read every text file below a folder, or one file.

    Args:
        root: The folder or file.
        only: Globs from the folder; a file must match one, if there are any.
        most: How many files to read.

    Raises:
        CorpusError: There is no such path, or no readable text in it.
    """
    try:
        kind = root.stat().st_mode
    except OSError as error:
        raise CorpusError(f"{root}: {error.strerror}") from None
    corpus = Corpus(root if stat.S_ISDIR(kind) else root.parent)
    left = _MAX_TOTAL
    for path in _files(root, only, corpus) if stat.S_ISDIR(kind) else [root]:
        name = path.relative_to(corpus.root).as_posix()
        if corpus.files >= most or left <= 0:
            corpus.skipped[name] = "and all after it: the folder is too large"
            break
        try:
            text = _text(path)
        except (OSError, ValueError) as error:
            corpus.skipped[name] = str(getattr(error, "strerror", None) or error)
            continue
        corpus.files += 1
        left -= len(text)
        corpus.passages.extend(_passages(name, text))
    if not corpus.passages:
        why = "; ".join(f"{n}: {why}" for n, why in list(corpus.skipped.items())[:3])
        raise CorpusError(f"{root}: no text to read ({why or 'it is empty'})")
    return corpus


def default_corpus() -> Corpus:
    """The docs and sources of Waybell: of the checkout, else as installed.

    A checkout is known by its pyproject.toml; the current folder's comes first.
    """
    here = Path(__file__).resolve()
    for folder in (Path.cwd() / "x", here):
        for parent in folder.parents:
            if _is_checkout(parent):
                return read_corpus(parent, only=_CHECKOUT)
    return read_corpus(here.parents[2], only=_INSTALLED)


def _is_checkout(folder: Path) -> bool:
    try:
        text = (folder / "pyproject.toml").read_text("utf-8")
    except (OSError, ValueError):
        return False
    return re.search(r'^name = "waybell-workspace"$', text, re.MULTILINE) is not None


def _files(root: Path, only: tuple[str, ...], corpus: Corpus) -> Iterator[Path]:
    if only:
        found = {path for pattern in only for path in root.glob(pattern)}
        yield from sorted(
            path for path in found
            if path.is_file() and _SKIPPED.isdisjoint(path.relative_to(root).parts)
        )  # fmt: skip
        return

    def unread(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        corpus.skipped[name] = error.strerror or "cannot be read"

    for folder, folders, names in os.walk(root, onerror=unread):
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and name[0] != "."
        )
        for name in sorted(names):
            if name[0] != ".":
                yield Path(folder, name)


def _text(path: Path) -> str:
    """The text of a file.

    Raises:
        ValueError: It is not text, or too large.
        OSError: It cannot be read.
    """
    if not path.is_file():
        raise ValueError("not a regular file")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        raise ValueError("binary")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None


def _passages(path: str, text: str) -> Iterator[Passage]:
    """Cut a file where something new begins, never inside a fence."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    begins = _heading if path.endswith(_PROSE) else _scope
    cuts = [(0, ""), *_cuts(lines, begins), (len(lines), "")]
    start: int | None = None
    for (begin, title), (end, _) in pairwise(cuts):
        start = begin if start is None else start
        words = len(re.findall(r"\w+", " ".join(lines[start:end])))
        if words < _FEW and end < len(lines):
            continue  # too little to stand alone: it goes with what follows
        yield from _cut(path, lines, start, end, title)
        start = None


def _cuts(
    lines: list[str], begins: Callable[[str], tuple[int, str] | None]
) -> Iterator[tuple[int, str]]:
    """Where passages begin, and under which headings, or class and function."""
    above: list[tuple[int, str]] = []  # depths and names
    last, fenced = 0, False
    for number, line in enumerate(lines):
        found = None if fenced else begins(line)
        if found:
            above = [each for each in above if each[0] < found[0]] + [found]
            while number > last + 1 and _LEADING.match(lines[number - 1]):
                number -= 1  # noqa: PLW2901 - decorators belong to what they decorate
        if found or _ripe(lines, last, number, fenced=fenced):
            last = number
            yield number, " > ".join(name for _, name in above)
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced


def _ripe(lines: list[str], last: int, number: int, *, fenced: bool) -> bool:
    """Whether a passage is long enough to be cut before this line."""
    size, line = number - last, lines[number]
    if size >= 3 * _MAX_LINES:
        return True
    if fenced or not size:
        return False
    told = lines[number - 1].strip() == '"""' and size >= _FEW_LINES
    words = sum(map(len, map(str.split, lines[last:number])))
    item = _ITEM.match(line) is not None and words >= _ITEM_WORDS
    return (
        told
        or item
        or (not line.strip() and (size >= _MAX_LINES or words >= _MAX_WORDS))
    )


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
