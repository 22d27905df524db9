"""A reply as it comes from a server, for threads and for loops."""

from collections import deque
from typing import TYPE_CHECKING

from waybell_adapters._held import Held
from waybell_adapters._reply import Reply
from waybell_adapters._stream import ReplyStream
from waybell_adapters._wait import Wait, until


if TYPE_CHECKING:
    from waybell_adapters._call import Call
    from waybell_adapters._engine import Engine
    from waybell_adapters._retry import Terms

_TAKEN = "another task or thread waits for a piece of this stream already"


class Pieces:
    """The pieces of a call.

    Args:
        call: Where they come from.
    """

    __slots__ = ("_error", "_found", "_over", "_steps", "call")

    def __init__(self, call: "Call") -> None:
        self.call = call
        self._found: deque[str] = call.pieces
        self._steps = call.run()
        self._over = False
        self._error: Exception | None = None

    def __iter__(self) -> "Pieces":
        return self

    def __next__(self) -> str:
        if not self.ready:
            self.call.drive(looped=False)
            self.advance()
        if self._found:
            return self._found.popleft()
        error, self._error = self._error, None
        raise error or StopIteration

    @property
    def ready(self) -> bool:
        """Whether the next piece, the end or an error is known."""
        return self._over or bool(self._found)

    def advance(
        self, answer: object = None, error: Exception | None = None
    ) -> Wait | None:
        """Go on with what a wait gave, to the next, or until more is ready."""
        try:
            if error is None:
                return self._steps.send(answer)
            return self._steps.throw(error)
        except StopIteration:
            self._over = True
        except Exception as failure:
            self._over, self._error = True, failure
        except BaseException:
            self._over = True
            raise
        return None

    def close(self) -> None:
        """Let the connection go."""
        self.call.close()


class LiveStream(ReplyStream):
    """The pieces of a reply from a server.

    A thread waits for them; a loop is told when its socket is ready, and only what
    blocks (to connect) is done in a thread. Cancelling a wait ends the stream.

    Args:
        call: Where the pieces come from.
        engine: Has the threads.
        terms: Its deadline bounds each wait, its budget is charged once.
    """

    __slots__ = ("_engine", "_line", "_pieces", "_waiting")

    def __init__(self, call: "Call", engine: "Engine", terms: "Terms") -> None:
        self._pieces = Pieces(call)
        super().__init__(
            self._pieces,
            call.finish,
            deadline=terms.deadline,
            budget=terms.budget,
            shut=call.line.shut,
        )
        self._engine = engine
        self._line = call.line
        self._waiting = False

    def __del__(self) -> None:
        """End one that nobody has ended; whoever calls next gives back what it holds."""
        if not self._ended:
            self._pieces.call.abandon()
            self._engine.lost.append(self.close)

    def __next__(self) -> str:
        if self._waiting:
            raise RuntimeError(_TAKEN)
        return super().__next__()

    async def aread(self) -> Reply:
        """Read to the end."""
        async with self:
            while not self._ended:
                await self._more()
                self._step()
        return self.reply

    async def __anext__(self) -> str:
        await self._more()
        piece = self._step()
        if piece is None:
            raise StopAsyncIteration
        return piece

    def _close_source(self) -> None:
        if not self._waiting:  # else whoever waits does it, who has its socket
            super()._close_source()

    def _settle(self, *, cut: bool) -> None:
        try:
            super()._settle(cut=cut)
        finally:
            if isinstance(self._budget, Held):
                self._budget.release()

    async def _more(self) -> None:
        """Go on until the next piece, the end or an error is known."""
        if not self._ended and (self._waiting or self._stepping.locked()):
            raise RuntimeError(_TAKEN)
        pieces = self._pieces
        if pieces.ready or self._ended:
            return
        self._waiting = True
        try:
            await self._advance(pieces)
        except BaseException as error:
            self._leave(error)
            raise
        finally:
            with self._stepping:
                self._waiting = False
                if self._ended:
                    self._close_source()

    async def _advance(self, pieces: Pieces) -> None:
        answer: object = None
        error: Exception | None = None
        pieces.call.drive(looped=True)
        while True:
            with self._stepping:
                if self._ended:
                    return
                wait = pieces.advance(answer, error)
            if wait is None:
                return
            answer = error = None
            try:
                answer = await until(wait, self._line, self._engine)
            except Exception as failure:
                error = failure
