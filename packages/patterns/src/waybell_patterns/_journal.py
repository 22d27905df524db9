"""An append-only record of finished stages, so that a pipeline can be run again."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from waybell_patterns._errors import PatternError
from waybell_patterns._results import fields_of, text_of


if sys.platform != "win32":
    import fcntl


class Journal:
    """One pipeline run in one JSONL file: a header, then a line a finished stage.

    A stage that was recorded survives `kill -9`; a last line that was torn is cut off,
    and its stage runs again. The file is its owner's only.

    Raises:
        PatternError: The file is no journal, or that of other stages or another
            prompt, or it is being written by another run at this moment.
        OSError: It cannot be read or written.
    """

    __slots__ = ("_fd", "_path", "finished")

    def __init__(
        self, path: str | os.PathLike[str], *, stages: Sequence[str], prompt: str
    ) -> None:
        self._path = Path(path)
        digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
        header = _line({"v": 1, "stages": list(stages), "prompt": digest})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        try:
            self._lock()
            self.finished = self._read(header)
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PatternError(f"{self._path} is in use by another run") from None

    def _read(self, header: bytes) -> dict[str, Any]:
        content = self._path.read_bytes()
        if header.startswith(content):  # new, or torn in its very first line
            os.ftruncate(self._fd, 0)
            self._append(header)
            return {}
        if not content.startswith(header):
            raise PatternError(
                f"{self._path} is not the journal of these stages and this prompt: "
                f"it begins {content[:200]!r}. Name another journal=, or remove it."
            )
        os.ftruncate(self._fd, content.rindex(b"\n") + 1)
        lines = content[len(header) :].decode("utf-8", "replace").split("\n")[:-1]
        entries = [entry for entry in map(fields_of, lines) if "value" in entry]
        return {str(entry.get("stage")): entry["value"] for entry in entries}

    def record(self, stage: str, value: object) -> None:
        """Keep a finished stage's answer; when this returns, no crash can lose it.

        Raises:
            PatternError: The answer is neither text nor JSON.
            OSError: The line could not be written.
        """
        kept = text_of(value) if isinstance(value, str) else value
        try:
            line = _line({"stage": stage, "value": kept})
        except (TypeError, ValueError, RecursionError) as error:
            raise PatternError(
                f"stage {stage!r} returned a {type(value).__name__}, which a journal "
                f"cannot keep ({error}): return text or JSON values"
            ) from error
        self._append(line)

    def _append(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._fd, line) :]

    def close(self) -> None:
        """Close the file; what was recorded stays."""
        os.close(self._fd)


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"
