"""Recording a run, and replaying it."""

import asyncio
import contextlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from waybell_snap._changes import Comparison, allowed
from waybell_snap._compare import compare
from waybell_snap._errors import RecordingMissing
from waybell_snap._fit import Fits
from waybell_snap._match import canonical, without_numbers
from waybell_snap._near import missing
from waybell_snap._session import Session
from waybell_snap._tree import CANCELLED, Node, Snapshot
from waybell_snap._values import NotReplayable, decode, decode_error, dumps


_LIVE = 'run the tools for real with tools="live"'
_WAS_CANCELLED = "it was cancelled when it was recorded"
_WAS_UNREAD = "nobody began to read this stream when it was recorded"
_LOOKED_FOR = 5  # calls that were not recorded, of which the nearest is told


class Recording(Session):
    """A run that happens for real, and is on file when its block ends without an error.

    The calls of the adapters and tools it was given are noted with what asked them, and
    nothing else changes for them. It needs no network of its own, and stores no secrets.
    """

    __slots__ = ()

    def save(self) -> None:
        """Put the run on file now; a call that still runs is noted as unfinished.

        Raises:
            RuntimeError: Its secrets could not be taken out of something.
        """
        if self._unclean is not None:
            told = "redact failed, so nothing was stored"
            raise RuntimeError(told) from self._unclean
        self.snapshot.save(self.path)

    def _finish(self) -> None:
        """Put the run on file.

        Raises:
            SnapMismatch: It is not within its budget, and nothing is written.
        """
        run = self.snapshot
        compare(run, run, **self._limits).check()
        self.save()


class Replay(Session):
    """A run whose models, and tools, answer as recorded, without a network.

    A call that was not recorded raises `RecordingMissing`; when the block ends without
    an error, that is raised again if somebody swallowed it, and a run that is not the
    recorded one raises `SnapMismatch`.

    Args:
        path: The recording.
        tools: "live" to run the tools for real.
        check: Whether the end of the block compares the runs.
        allow: Kinds of changes that are allowed, as in `compare`.
        patience: Seconds that a call which was cancelled when recorded waits for that.
        **settings: Those of `Recording`.

    Raises:
        FileNotFoundError: There is no recording.
        ValueError: The file is no recording, or of a newer schema.
    """

    __slots__ = (
        "_allow", "_calls", "_check", "_missing", "_patience", "_tools", "recorded",
    )  # fmt: skip

    def __init__(
        self, path: str | Path, *, tools: Literal["replay", "live"] = "replay",
        check: bool = True, allow: Iterable[str] = ("latency",), patience: float = 10.0,
        **settings: Any,
    ) -> None:  # fmt: skip
        if tools not in ("replay", "live"):
            raise ValueError(f"tools is 'replay' or 'live', not {tools!r}")
        super().__init__(path, **settings)
        self.recorded = Snapshot.load(path)
        self._allow, self._check = allowed(allow), check
        self._patience, self._tools = patience, tools
        self._missing: list[RecordingMissing] = []
        known = Node.from_dict(self.recorded.root)
        self._calls = Fits(self._root, known, self._key, self._asked)

    def compare(self) -> Comparison:
        """The run until now beside the recorded one."""
        return compare(self.recorded, self.snapshot, allow=self._allow, **self._limits)

    def check(self) -> None:
        """Complain of what was not recorded, or is not as recorded.

        Raises:
            RecordingMissing: A call was not recorded, whoever swallowed its error.
            SnapMismatch: The run is another one.
        """
        if self._missing:
            raise self._missing[0]
        self.compare().check()

    def _finish(self) -> None:
        """`check`, if that was not declined."""
        if self._check:
            self.check()

    def _play(self, node: Node) -> Node | None:
        """The recorded call that fits best, which nobody had yet.

        Raises:
            RecordingMissing: There is none.
        """
        if node.kind == "tool" and self._tools == "live":
            return None
        with self._lock:
            played = self._calls.take(node)
        if played is None:
            raise self._missed(node, self._calls.known.get(self._key(node), []))
        return played

    def _answerable(self, node: Node, played: Node, *, read: bool = False) -> None:
        """Refuse what was cancelled when it was recorded, or is known by its type only.

        With `read` it is a stream that is read now, which nobody may have done then.

        Raises:
            RecordingMissing: Nothing can be given.
        """
        error, why = played.error, _WAS_CANCELLED
        if read and (error, played.got) == (None, None):
            why = _WAS_UNREAD
        elif error is None or error["type"] not in CANCELLED:
            try:
                decode(played.got) if error is None else decode_error(error)
            except NotReplayable as unknown:
                why = f"{unknown}; {_LIVE}" if node.kind == "tool" else str(unknown)
            else:
                return
        raise self._missed(node, [played], why)

    async def _hang(self, node: Node, played: Node, deadline: Any) -> None:
        """Wait to be cancelled as that call was, if it was, within deadline and patience."""
        if played.error is None or played.error["type"] not in CANCELLED:
            return
        left = self._patience if deadline is None else deadline.timeout(self._patience)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await asyncio.Event().wait()
        if deadline is not None:
            deadline.check()
        now = f"and within {self._patience:g} s it is not cancelled now"
        raise self._missed(node, [played], f"{_WAS_CANCELLED}, {now}")

    def _key(self, node: Node) -> tuple[Any, ...]:
        """What a call is known by: who asks whom how for what."""
        op = node.op if node.kind == "call" else ""
        return node.around, node.kind, node.name, op, self._asked(node)

    def _asked(self, node: Node) -> str:
        """What a node was given, without what may vary."""
        given = node.given
        if self._matchers:
            path = without_numbers(f"{node.where()}.given")
            given = self._matchers.normal(path, given, key=True)
        return dumps(canonical(given, ids=node.kind == "call"))

    def _missed(self, node: Node, known: list[Node], why: str = "") -> RecordingMissing:
        many = len(self._missing) >= _LOOKED_FOR  # Who reads so many needs no more.
        every = () if many else chain.from_iterable(self._calls.known.values())
        error = missing(node, known, every, why or f"{self.path} does not have it")
        self._missing.append(error)
        return error
