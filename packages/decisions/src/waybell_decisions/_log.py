"""`DecisionLog`: what was decided, one JSON line each."""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Self

from structlog import get_context
from structlog.typing import Processor

from waybell_decisions._chain import Chain, active_span
from waybell_decisions._encode import plain
from waybell_decisions._records import By, Record, Records, Where
from waybell_decisions._redact import Redactor, Rule
from waybell_decisions._writer import Sealed, Writer


Next = Callable[[Any], Awaitable[Any]]
_logger = logging.getLogger("waybell_decisions")


class DecisionLog:
    """What was decided, one JSON line each, safe in the file when `record` returns.

    Args:
        path: The file, made if it is not there, with its folders, for its owner only.
        fsync: Force each record to the disk, against power loss.
        rotate_bytes: Start a new part (`log.000001.jsonl`) where a record would make
            the file bigger than this. Without it there is one file.
        context: Called for each record; what it returns is merged below the record's
            own fields. `trace_id` and `span_id` become the record's. By default the
            current OpenTelemetry span, if something else has imported OpenTelemetry.
        redact: Key patterns (`"*password*"`, in any case, at any depth) whose values
            are replaced, or a function of key and value that returns what to write.
        drop: Key patterns left out, or a function of key and value that says whether.
        processors: structlog processors that see each record before it is redacted.
        now: The epoch, in seconds.
        clock: Measures deliveries, in seconds; the running loop's by default.

    Raises:
        LogWriteError: If the file cannot be opened.
    """

    __slots__ = ("_clock", "_pipeline", "_writer")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = False,
        rotate_bytes: int | None = None,
        context: Callable[[], Mapping[str, object] | None] = active_span,
        redact: Rule = (),
        drop: Rule = (),
        processors: Iterable[Processor] = (),
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if rotate_bytes is not None and rotate_bytes <= 0:
            raise ValueError(f"rotate_bytes must be positive, not {rotate_bytes!r}")
        self._writer, self._clock = Writer(Path(path), fsync, rotate_bytes), clock
        redactors = [Redactor(redact, drop)] if redact or drop else []
        chain = Chain(self._writer, context, now)
        self._pipeline = chain.pipeline([*processors, *redactors])

    def record(self, /, decision: object, **fields: object) -> str:
        """Append one record and return its id; any field, of any type, is taken.

        The id is empty if a processor dropped the record (`structlog.DropEvent`).

        Raises:
            LogWriteError: If the record could not be written, or the log is closed.
        """
        return self._pipeline.send("record", {"decision": decision, **fields}) or ""

    def outcome(self, record_id: str, /, **fields: object) -> str:
        """Append what became of a decision: a record whose `of` is that one's id."""
        found = {"decision": "outcome", **fields}
        return self._pipeline.send("outcome", found, of=record_id) or ""

    def bind(self, /, **fields: object) -> Self:
        """Return a log on the same file whose records have these fields too."""
        twin = copy(self)
        bound = {**get_context(self._pipeline).get("bound", {}), **fields}
        twin._pipeline = self._pipeline.bind(bound=bound)  # noqa: SLF001 - our own
        return twin

    async def around(self, event: Any, call_next: Next) -> Any:
        """Record a delivery: middleware for a bus, which it never disturbs.

        The record, of decision `deliver`, has the event's topic, ids and fields
        (`given`), the handler, `seconds`, the `outcome` (`ok`, `error`, `cancelled`)
        and what was `returned` or the `error`; `drop=["given", "returned"]` keeps both
        out. If it cannot be written, that is logged as an error.
        """
        import asyncio  # noqa: PLC0415 - whoever awaits this has it already

        clock = self._clock or asyncio.get_running_loop().time
        found = {name: _peek(event, name) for name in ("topic", "id", "parent", "root")}
        found["event"], found["handler"] = found.pop("id"), _peek(call_next, "handler")
        found["given"] = plain(event)  # a copy: a handler may change its values
        started = clock()
        try:
            answer = await call_next(event)
        except BaseException as exc:
            stopped = isinstance(exc, asyncio.CancelledError | GeneratorExit)
            found |= {"outcome": "cancelled" if stopped else "error", "error": exc}
            raise
        else:
            found |= {"outcome": "ok", "returned": answer}
            return answer
        finally:
            self._deliver(**found, seconds=clock() - started)

    def _deliver(self, **found: object) -> None:
        try:
            self.record("deliver", **found)
        except Exception as exc:  # a full disk is no reason to lose an answer
            _logger.error("a delivery could not be recorded: %s", exc)  # noqa: TRY400 - the reason, not our stack

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    @property
    def path(self) -> Path:
        """The first part of the log."""
        return self._writer.path

    @property
    def sealed(self) -> tuple[Sealed, ...]:
        """The torn records found, and ended, when files were opened."""
        return self._writer.sealed

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Records:
        """Return the records of the log at a path, or of a folder's `decisions.jsonl`."""
        return Records(Path(path))

    def query(
        self, decision: Any = None, *, where: Where = None, outcomes: bool = False
    ) -> Records:
        """Return the records that match; see `Records.query`."""
        return Records(self.path).query(decision, where=where, outcomes=outcomes)

    def count(self, by: By = "decision") -> dict[Any, int]:
        """Count the records of each value of a field; see `Records.count`."""
        return Records(self.path).count(by)

    def tail(self, n: int = 10) -> list[Record]:
        """Return the last `n` records, in order."""
        return Records(self.path).tail(n)

    def close(self) -> None:
        """Take no more records; a bound log shares the file and closes with it."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.close()


def _peek(thing: object, name: str) -> object:
    try:
        return getattr(thing, name, None)
    except Exception:
        return None
