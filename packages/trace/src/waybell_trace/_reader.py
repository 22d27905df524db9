"""Reads files of spans line by line."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import orjson

from waybell_trace._record import SpanRecord, spans_of


class SpanReader:
    """The spans of one OTLP/JSON file, one after another, in little memory.

    An iterator and a context manager. Lines that are no spans are counted: `torn` ones
    were cut short by a crash, `foreign` ones are something else.

    Args:
        path: The file; its writer may still be at work.
    """

    __slots__ = ("_convert", "_file", "_mark", "_pending", "foreign", "torn")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        _convert: Callable[[dict[str, Any]], Iterator[SpanRecord]] = spans_of,
        _mark: bytes = b'{"resourceSpans":',
    ) -> None:
        self._file: BinaryIO = Path(path).open("rb")  # noqa: SIM115 - closed by close
        self._convert = _convert
        self._mark = _mark
        self._pending: Iterator[SpanRecord] = iter(())
        self.foreign = 0
        self.torn = 0

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
            return list(self._convert(orjson.loads(line)))
        except Exception:
            # A process that died while writing leaves a stump, on which another one
            # that was already writing has put its line.
            if (at := line.rfind(self._mark)) > 0:
                self.torn += 1
                return self._spans(line[at:])
            if line.startswith(self._mark[:-1]) or not line.endswith(b"\n"):
                self.torn += 1
            else:
                self.foreign += 1
            return []
