"""Read a folder of text and code into passages, and say what could not be read."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
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
_MAX_LINES = 24
_HEADING = re.compile(r"#{1,6}\s+(.*)")
_SCOPE = re.compile(r"\s*(?:async\s+)?(?:def|class|func|fn|function)\s+(\w+)")


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
    passages: list[Passage] = field(default_factory=list)
    files: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def read_corpus(root: Path, *, only: tuple[str, ...] = ()) -> Corpus:
    """Read every text file below a folder, or one file.

    Args:
        root: The folder or file.
        only: Globs from the folder; a file must match one, if there are any.

    Raises:
        CorpusError: There is no such path, or no readable text in it.
    """
    if not root.exists():
        raise CorpusError(f"{root}: no such file or folder")
    corpus = Corpus(root if root.is_dir() else root.parent)
    for path in [root] if root.is_file() else _files(root, only):
        name = path.relative_to(corpus.root).as_posix()
        if corpus.files >= _MAX_FILES:
            corpus.skipped[name] = f"only the first {_MAX_FILES} files are read"
            continue
        try:
            text = _text(path)
        except (OSError, ValueError) as error:
            corpus.skipped[name] = str(getattr(error, "strerror", None) or error)
            continue
        corpus.files += 1
        corpus.passages.extend(_passages(name, text))
    if not corpus.passages:
        left = "; ".join(f"{n}: {why}" for n, why in list(corpus.skipped.items())[:3])
        raise CorpusError(
            f"{root}: no text to read" + (f" ({left})" if left else ": it is empty")
        )
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


def _files(root: Path, only: tuple[str, ...]) -> Iterator[Path]:
    if only:
        found = {path for pattern in only for path in root.glob(pattern)}
        yield from sorted(path for path in found if path.is_file())
        return
    for folder, folders, names in os.walk(root):
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
    """Cut a file at its headings, functions and blank lines, never inside a fence."""
    lines = text.splitlines()
    start, title, fenced = 0, "", False
    last = ""
    for number, line in enumerate(lines):
        new = None if fenced else _title(line)
        full = number - start >= _MAX_LINES and not line.strip() and not fenced
        if new is not None or full or number - start >= 3 * _MAX_LINES:
            yield from _cut(path, lines, start, number, last)
            start, last = number, new if new is not None else last
        if line.lstrip().startswith("```"):
            fenced = not fenced
    yield from _cut(path, lines, start, len(lines), last or title)


def _title(line: str) -> str | None:
    match = _HEADING.match(line) or _SCOPE.match(line)
    return match[1].strip() if match else None


def _cut(
    path: str, lines: list[str], start: int, end: int, title: str
) -> Iterator[Passage]:
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    text = "\n".join(lines[start:end])
    if re.search(r"\w", text):
        yield Passage(path, start + 1, end, title, text)
