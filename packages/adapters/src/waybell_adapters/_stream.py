"""A reply as it is being written: one object for `for` and `async for`."""

from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any, Self

from waybell_adapters._limits import BudgetLike, DeadlineLike, in_thread, settle
from waybell_adapters._prompt import count_tokens, pieces
from waybell_adapters._reply import Reply, Usage


class ReplyStream:
    """The pieces of a reply, then `.reply`; leaving early ends the model's work.

    Args:
        source: The pieces; its `close`, if any, is called at the end.
        finish: Makes the reply from the text received and whether it was cut short.
        deadline: Checked before each piece.
        budget: Charged once with the reply, whole or cut.
        shut: Called first when the stream is left early, from any thread; must make
            a blocked `source` end.
        blocking: Whether a piece may have to be waited for, so that `async for`
            takes it in a thread.
    """

    __slots__ = (
        "_blocking", "_budget", "_deadline", "_ended", "_finish", "_reply", "_settling",
        "_shut", "_source", "_stepping", "_text",
    )  # fmt: skip

    def __init__(
        self,
        source: Iterable[str],
        finish: Callable[[str, bool], Reply] = lambda text, cut: Reply(
            text, partial=cut
        ),
        *,
        deadline: DeadlineLike | None = None,
        budget: BudgetLike | None = None,
        shut: Callable[[], object] | None = None,
        blocking: bool = True,
    ) -> None:
        self._source: Iterator[str] = iter(source)
        self._finish = finish
        self._deadline = deadline
        self._budget = budget
        self._shut = shut
        self._blocking = blocking
        self._text: list[str] = []
        self._reply: Reply | None = None
        self._ended = False
        self._stepping = Lock()
        self._settling = Lock()

    @classmethod
    def of(cls, reply: Reply, **options: Any) -> "ReplyStream":
        """A stream of a reply that is known already."""

        def finish(text: str, cut: bool) -> Reply:
            return _cut(reply, text) if cut else reply

        return cls(pieces(reply), finish, blocking=False, **options)

    @property
    def reply(self) -> Reply:
        """The reply, `partial` when the stream was left early.

        Raises:
            RuntimeError: The stream has not ended.
        """
        if self._reply is None:
            raise RuntimeError("no reply yet: read the stream to its end or leave it")
        return self._reply

    def read(self) -> Reply:
        """Read to the end."""
        with self:
            for _ in self:
                pass
        return self.reply

    async def aread(self) -> Reply:
        """Read to the end."""
        async with self:
            async for _ in self:
                pass
        return self.reply

    def close(self) -> None:
        """End it now; what was received is the reply, and is charged."""
        if self._ended:
            return
        self._ended = True
        try:
            if self._shut is not None:
                self._shut()
            if self._stepping.acquire(blocking=False):
                # Else a step runs in another thread, and closes when it ends.
                try:
                    self._close_source()
                finally:
                    self._stepping.release()
        finally:
            self._settle(cut=True)

    async def aclose(self) -> None:
        """End it now; what was received is the reply, and is charged."""
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        piece = self._step()
        if piece is None:
            raise StopIteration
        return piece

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        piece = (
            await in_thread(self._step, self._deadline)
            if self._blocking and not self._ended
            else self._step()
        )
        if piece is None:
            raise StopAsyncIteration
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self._leave(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *left: Any) -> None:  # noqa: PYI036 - passed on
        self.__exit__(*left)

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except Exception as late:  # the first error is the one to tell
            error.add_note(f"and when the stream was closed: {late!r}")

    def _step(self) -> str | None:
        with self._stepping:
            if self._ended:
                return None
            try:
                if self._deadline is not None:
                    self._deadline.check()
                piece = next(self._source, None)
            except BaseException as error:
                if self._ended and isinstance(error, Exception):
                    return None  # shut from outside: that is why it failed
                self._fail(error)
                raise
            if self._ended:
                self._close_source()
                return None
            if piece is not None:
                self._text.append(piece)
                return piece
            self._ended = True
        self._settle(cut=False)
        return None

    def _fail(self, error: BaseException) -> None:
        self._ended = True
        try:
            self._close_source()
            self._settle(cut=True)
        except Exception as late:  # the first error is the one to tell
            error.add_note(f"and when the stream was closed: {late!r}")
        if getattr(error, "reply", self) is None and self._text:
            error.reply = self._reply  # type: ignore[attr-defined]

    def _close_source(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _settle(self, *, cut: bool) -> None:
        with self._settling:
            if self._reply is not None:
                return
            self._reply = self._finish("".join(self._text), cut)
        settle(self._budget, self._reply)


def _cut(reply: Reply, text: str) -> Reply:
    """The part of a known reply that was taken; what it costs is known only if free."""
    counts = {**reply.usage, "output_tokens": count_tokens(text)}
    return Reply(
        text,
        usage=Usage(**counts, estimated=True),
        cost=None if reply.cost else reply.cost,
        model=reply.model,
        attempts=reply.attempts,
        request_id=reply.request_id,
        partial=True,
    )
