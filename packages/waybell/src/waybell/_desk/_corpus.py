"""Read a folder of text and code into passages, and say what could not be read."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from waybell._desk._passages import Passage, passages


_CHECKOUT = (
    "*.md", "docs/**/*.md", "packages/*/README.md", "packages/*/src/**/*.py",
    "examples/**/*.py",
)  # fmt: skip
_INSTALLED = ("waybell/**/*.py", "waybell_*/**/*.py")
_SKIPPED = frozenset({
    "__pycache__", "node_modules", "dist", "build", "_build", "venv", "site-packages",
    "waybell-out",
})  # fmt: skip
# How spans, decisions and journals of a run begin; and what the head of its page has.
_OURS = re.compile(
    r'\{"(?:resourceSpans|traceId|waybell_journal)":|\{"v":1, "id":'
    r"|(?s:<!doctype html>.{0,900}trusted-types 'none')"
)
_MAX_BYTES = 1_000_000  # of a file
_MAX_FILES = 5_000
_MAX_SIZE = 10_000_000  # characters of all files


class CorpusError(Exception):
    """The folder cannot be used; the message says why."""


@dataclass(slots=True)
class Corpus:
    """All passages of a folder, and what was left out.

    Args:
        root: The folder.
        passages: In the order of their paths and lines.
        files: How many files they come from.
        skipped: Why each left-out file was left out, by path.
        size: Characters read.
    """

    root: Path
    passages: list[Passage] = field(default_factory=list[Passage])
    files: int = 0
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0

    def add(self, path: Path) -> None:
        """Read one file, or note why not."""
        name = path.relative_to(self.root).as_posix()
        try:
            text = _text(path)
        except (OSError, ValueError) as error:
            self.skipped[name] = str(getattr(error, "strerror", None) or error)
        else:
            self.files += 1
            self.size += len(text)
            self.passages += passages(name, text)

    def fill(self, paths: Iterable[Path], most: int) -> None:
        """Read files until there are too many."""
        for path in paths:
            if self.files >= most or self.size >= _MAX_SIZE:
                name = path.relative_to(self.root).as_posix()
                self.skipped[name] = "and all after it: the folder is too large"
                return
            self.add(path)

    def walk(self) -> Iterator[Path]:
        """The files below the folder, in order; what cannot be listed is noted."""

        def unread(error: OSError) -> None:
            name = os.path.relpath(error.filename, self.root)
            self.skipped[name] = error.strerror or "cannot be read"

        for folder, folders, names in os.walk(self.root, onerror=unread):
            folders[:] = sorted(n for n in folders if n not in _SKIPPED and n[0] != ".")
            yield from (Path(folder, name) for name in sorted(names) if name[0] != ".")

    def match(self, globs: tuple[str, ...]) -> list[Path]:
        """The files that match one of the globs, in order."""
        found = {path for glob in globs for path in self.root.glob(glob)}
        return sorted(
            path for path in found
            if path.is_file() and _SKIPPED.isdisjoint(path.relative_to(self.root).parts)
        )  # fmt: skip


def read_corpus(
    path: Path | str, *, only: tuple[str, ...] = (), most: int = _MAX_FILES
) -> Corpus:
    """Read every text file below a folder, or one file.

    Args:
        path: The folder or file.
        only: Globs from the folder; a file must match one, if there are any.
        most: How many files to read.

    Raises:
        CorpusError: There is no such path, or no readable text in it.
    """
    root = Path(path)
    try:
        root.stat()
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from None
    corpus = Corpus(root if root.is_dir() else root.parent)
    if root.is_dir():
        corpus.fill(corpus.match(only) if only else corpus.walk(), most)
    else:
        corpus.add(root)
    if not corpus.passages:
        why = "; ".join(f"{n}: {why}" for n, why in list(corpus.skipped.items())[:3])
        raise CorpusError(f"{path}: no text to read ({why or 'it is empty'})")
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
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    if path.suffix in (".jsonl", ".html") and _OURS.match(text):
        raise ValueError("written by a run of Waybell")
    return text
