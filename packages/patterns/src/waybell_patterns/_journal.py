"""An append-only record of finished stages, so that a pipeline can be run again."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from waybell_patterns._errors import PatternError
from waybell_patterns._results import text_of


if sys.platform != "win32":
    import fcntl

_VERSION = 1


class Journal:
    """One pipeline run in one JSONL file: a header, then a line a finished stage.

    A line is one `os.write` on `O_APPEND`, so a stage that was recorded survives
    `kill -9`; a torn last line is sealed and its stage runs again.

    Args:
        path: The file; made with its parent folders, readable by its owner only.
        stages: The names of the stages, in order.
        prompt: What the pipeline was asked.

    Raises:
        PatternError: The file belongs to other stages or another prompt, or is being
            written by another run at this moment.
        OSError: It cannot be read or written.
    """

    __slots__ = ("_fd", "finished", "path")

    def __init__(
        self, path: str | os.PathLike[str], *, stages: Sequence[str], prompt: str
    ) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header = {
            "v": _VERSION,
            "stages": list(stages),
            "prompt": hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest(),
        }
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        try:
            self._lock()
            self.finished = self._read(header)
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PatternError(f"{self.path} is in use by another run") from None

    def _read(self, header: dict[str, Any]) -> dict[str, Any]:
        whole, newline, torn = self.path.read_bytes().rpartition(b"\n")
        if torn:
            os.write(self._fd, b"\n")
        lines = [line for line in whole.split(b"\n") if line] if newline else []
        entries = [entry for entry in map(_parsed, lines) if entry is not None]
        if not entries:
            self._append(header)
            return {}
        if entries[0] != header:
            raise PatternError(
                f"{self.path} is the journal of another run: its stages are "
                f"{entries[0].get('stages')!r} and its prompt is"
                f"{'' if entries[0].get('prompt') == header['prompt'] else ' not'} "
                "this one. Name another journal=, or remove the file."
            )
        return {entry["stage"]: entry["value"] for entry in entries if "stage" in entry}

    def record(self, stage: str, value: object) -> None:
        """Keep a finished stage's answer; it is durable when this returns.

        Raises:
            PatternError: The answer is neither text nor JSON.
            OSError: The line could not be written.
        """
        kept = text_of(value) if isinstance(value, str) else value
        try:
            self._append({"stage": stage, "value": kept})
        except (TypeError, ValueError) as error:
            raise PatternError(
                f"stage {stage!r} returned a {type(value).__name__}, which a journal "
                f"cannot keep ({error}): return text or JSON values"
            ) from error

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]

    def close(self) -> None:
        """Close the file; what was recorded stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownVariableType]
