"""Reads files of spans line by line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import orjson

from waybell_trace._record import SpanRecord, spans_of


_LINE: Final = b'{"resourceSpans":['
_START: Final = b'{"traceId":"'


class SpanReader:
    """The spans of one OTLP/JSON file, one after another, in little memory.

    An iterator and a context manager. Lines that are no spans are counted: `torn` ones
    were cut short by a crash, `foreign` ones are something else.

    Args:
        path: The file; its writer may still be at work.
    """

    __slots__ = ("_file", "_pending", "foreign", "torn")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115 - closed by close
        self._pending: Iterator[SpanRecord] = iter(())
        self.foreign = self.torn = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SpanRecord:
        while (span := next(self._pending, None)) is None:
            line = self._file.readline() if not self._file.closed else b""
            if not line:
                self.close()
                raise StopIteration
            self._pending = iter(self._spans(line))
        return span

    def close(self) -> None:
        """Close the file; iterating ends."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spans(self, line: bytes) -> list[SpanRecord]:
        if not line.strip():
            return []
        try:
            return list(spans_of(orjson.loads(line)))
        except Exception:
            mark = _LINE if _LINE in line else _START
            # A process that died while writing leaves a stump, on which another one
            # that was already writing has put its line.
            if (at := line.rfind(mark)) > 0:
                self.torn += 1
                return self._spans(line[at:])
            stump = line.strip()
            known = stump in {_LINE[: len(stump)], _START[: len(stump)]}
            if at == 0 or known or not line.endswith(b"\n"):
                self.torn += 1
            else:
                self.foreign += 1
            return []
