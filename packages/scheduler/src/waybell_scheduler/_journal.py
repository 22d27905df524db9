"""An append-only file of what a run has done, one JSON line each."""

import json
import os
import stat
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, cast

from waybell_scheduler._errors import JournalError


if sys.platform != "win32":  # pragma: no branch - Windows has no flock
    import fcntl

VERSION = 1
_FACTS = ("usage", "cost", "model", "stop_reason", "request_id", "message")


class Journal:
    """The open file of one run, locked against a second one.

    A record that `append` has returned from survives `kill -9`: it went out in one
    write. What a crash tore off at the end was never acknowledged, and is cut off.

    Args:
        path: The file; it and its folders are made if they are missing.

    Raises:
        JournalError: It is in use, is no journal, or is damaged before its end.
        OSError: It cannot be opened.
    """

    __slots__ = ("_fd", "_lock", "_size", "broken", "path", "records")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()  # steps are recorded from threads too
        self.broken: JournalError | None = None
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._seize()
            self.records = self._read()
        except BaseException:
            os.close(self._fd)
            raise

    def _seize(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise JournalError(f"{self.path} is no ordinary file")
        if sys.platform != "win32":  # pragma: no branch - as above
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalError(f"{self.path} is in use by another run") from None

    def _read(self) -> list[dict[str, Any]]:
        with open(self._fd, "rb", closefd=False) as file:  # which may have been renamed
            content = file.read()
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        records = [self._parsed(number, line) for number, line in enumerate(lines, 1)]
        if records and records[0].get("waybell_journal") != VERSION:
            raise JournalError(
                f"{self.path} is no journal of version {VERSION}: it begins "
                f"{lines[0][:80]!r}. Name another file, or remove it."
            )
        if not records and not b'{"waybell_journal":'.startswith(content[:19]):
            raise JournalError(f"{self.path} is no journal: it begins {content[:80]!r}")
        os.ftruncate(self._fd, whole)
        self._size = whole
        return records

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record: Any = json.loads(line)
        except ValueError:
            record = None
        if type(record) is not dict:
            raise JournalError(
                f"{self.path} is damaged in line {number}: {line[:80]!r}"
            )
        return cast("dict[str, Any]", record)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record.

        Raises:
            JournalError: It could not be written, now or earlier: nothing more can be.
        """
        line = (
            json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        )
        with self._lock:
            if self.broken is not None:
                raise self.broken
            try:
                written = os.write(self._fd, line)
            except OSError as error:
                self._break(error)
            if written < len(line):  # the disk is full: a second write would say so
                self._break(
                    OSError(f"only {written} of {len(line)} bytes were written")
                )
            self._size += written

    def _break(self, error: OSError) -> NoReturn:
        """Take back what was written of a record, and refuse any other one."""
        self.broken = JournalError(f"{self.path} cannot be written: {error}")
        with suppress(OSError):  # then the next run cuts it off
            os.ftruncate(self._fd, self._size)
        raise self.broken from error

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self.broken = self.broken or JournalError(
                    f"the run of {self.path} has ended"
                )


class Recorded(str):
    """A model's reply as a journal keeps it: its text, usage, cost and message."""

    __slots__ = ("facts",)
    facts: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name == "facts" or name not in self.facts:
            raise AttributeError(name)
        value = self.facts[name]
        return Decimal(value) if name == "cost" and value is not None else value

    @property
    def text(self) -> str:
        """The answer as a plain `str`."""
        return str(self)

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        usage: dict[str, int] = self.facts.get("usage") or {}
        return sum(usage.values())


def pack(value: Any) -> dict[str, Any]:
    """The fields of a record that keep a value.

    Raises:
        JournalError: It would not come back from JSON as it is, but for tuples, which
            come back as lists.
    """
    if isinstance(value, str):
        return _text(value)
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
        wrong = "" if same else _misfit(value)
    except (TypeError, ValueError, RecursionError) as error:
        wrong = str(error)
    if wrong:
        kind = type(value).__name__
        refused = JournalError(
            f"a journal keeps text and JSON values, not this {kind}: {wrong}"
        )
        refused.value = value
        raise refused
    return {"value": value}


def _text(value: str) -> dict[str, Any]:
    """A text, with its facts if it is a reply."""
    if type(value) is str:
        return {"value": value}
    told = [(name, getattr(value, name, None)) for name in _FACTS]
    facts = {name: _plain(fact) for name, fact in told if fact is not None}
    kept = {name: fact for name, fact in facts.items() if fact is not None}
    return {"value": str.__str__(value), **({"facts": kept} if kept else {})}


def unpack(record: Mapping[str, Any]) -> Any:
    """The value that `pack` kept."""
    if "facts" not in record:
        return record["value"]
    reply = Recorded(record["value"])
    reply.facts = record["facts"]
    return reply


def _plain(fact: Any) -> Any:
    """A fact about a reply as JSON, or None if it is not of that kind."""
    if isinstance(fact, Decimal):
        return str(fact)
    try:
        return json.loads(json.dumps(fact, allow_nan=False, default=_shown))
    except (TypeError, ValueError, RecursionError):
        return None


def _shown(fact: Any) -> Any:
    return str(fact) if isinstance(fact, Decimal) else dict(fact)


def _misfit(value: object) -> str:
    """What of a value JSON would change, or an empty text if it is only tuples."""
    parts: list[object] = []
    if isinstance(value, dict):
        found = cast("dict[object, object]", value)
        if odd := [key for key in found if not isinstance(key, str)]:
            return f"the key {odd[0]!r} is no text"
        parts = [*found.values()]
    elif isinstance(value, list | tuple):
        parts = [*cast("list[object]", value)]
    return next((wrong for part in parts if (wrong := _misfit(part))), "")
