"""An append-only record of finished stages, so that a pipeline can be run again."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from waybell_patterns._errors import PatternError
from waybell_patterns._results import fields_of, text_of


if sys.platform != "win32":
    import fcntl


class Journal:
    """One pipeline run in one JSONL file: a header, then a line a finished stage.

    A stage that was recorded survives `kill -9`. Whatever follows the last line that
    is whole and in turn is cut off, and its stage runs again.

    Raises:
        PatternError: The file is no journal, or that of other stages or another
            prompt, or it is being written by another run at this moment.
        OSError: It cannot be read or written.
    """

    __slots__ = ("_file", "_path", "finished")

    def __init__(
        self, path: str | os.PathLike[str], stages: Sequence[str], prompt: str
    ) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
        header = _line({"v": 1, "stages": list(stages), "prompt": digest})
        self._file = open(path, "a+b", buffering=0, opener=_private)  # noqa: SIM115 - closed by the block
        try:
            self._lock()
            self.finished = self._read(header, stages)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PatternError(f"{self._path} is in use by another run") from None

    def _read(self, header: bytes, stages: Sequence[str]) -> dict[str, Any]:
        self._file.seek(0)
        content = self._file.read()
        if header.startswith(content):  # new, or torn in its very first line
            self._file.truncate(0)
            self._append(header)
            return {}
        if not content.startswith(header):
            raise PatternError(
                f"{self._path} is not the journal of these stages and this prompt: "
                f"it begins {content[:200]!r}. Name another journal=, or remove it."
            )
        finished: dict[str, Any] = {}
        whole = len(header)
        for line, stage in zip(content[whole:].split(b"\n")[:-1], stages, strict=False):
            entry = fields_of(line.decode("utf-8", "replace"))
            if entry.get("stage") != stage or "value" not in entry:
                break
            finished[stage] = entry["value"]
            whole += len(line) + 1
        self._file.truncate(whole)
        return finished

    def record(self, stage: str, value: object) -> None:
        """Keep a finished stage's answer.

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
            line = line[self._file.write(line) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"
