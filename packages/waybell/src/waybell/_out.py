"""The files of a run, which lose nothing."""

import contextlib
import itertools
import os
from collections.abc import Generator, Iterable
from pathlib import Path

from waybell._guard import Refused
from waybell_decisions import DecisionLog
from waybell_trace import Tracer


FILES = ("traces.jsonl", "traces.starts.jsonl", "decisions.jsonl")


def refuse_unwritable(out: Path) -> None:
    """Say early what is known to fail later, before anything is read."""
    place = out.absolute()
    while not os.path.exists(place):  # noqa: PTH110 - the one that never raises
        place = place.parent
    if not place.is_dir():
        raise Refused(f"--out: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise Refused(f"--out: {place}: Permission denied")


@contextlib.contextmanager
def files(out: Path, more: Iterable[str] = ()) -> Generator[tuple[Tracer, DecisionLog]]:
    """Fresh files in the output folder; earlier ones are moved aside, never lost.

    If nothing has happened when the block is left because the run was refused, all is
    as it was before.

    Args:
        out: The folder.
        more: Names of other files that the run will write.
    """
    aside = None
    try:
        with contextlib.ExitStack() as stack:
            try:
                out.mkdir(parents=True, exist_ok=True)
                names = [*FILES, *more]
                old = [path for name in names if (path := out / name).exists()]
                aside = _put_aside(old)
                tracer = stack.enter_context(Tracer(out / FILES[0]))
                log = stack.enter_context(DecisionLog(out / FILES[2]))
            except OSError as error:
                raise Refused(f"--out: {out}: {error.strerror or error}") from None
            yield tracer, log
    except Refused:
        _put_back(out, aside)
        raise


def _put_aside(old: list[Path]) -> Path | None:
    """Move files to a new folder beside them, if there are any."""
    numbers = itertools.count(1)
    while old:
        aside = old[0].with_name(f"earlier-{next(numbers)}")
        with contextlib.suppress(FileExistsError):
            aside.mkdir()
            for path in old:
                path.rename(aside / path.name)
            return aside
    return None


def _put_back(out: Path, aside: Path | None) -> None:
    """Undo `_put_aside`, unless something was written since then."""
    fresh = [path for name in FILES if (path := out / name).exists()]
    if any(path.stat().st_size for path in fresh):
        return
    for path in fresh:
        path.unlink()
    if aside is not None:
        for path in aside.iterdir():
            path.rename(out / path.name)
        aside.rmdir()
