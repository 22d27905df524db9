"""A reply as it comes from a server, for threads and for loops."""

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from waybell_adapters._errors import AdapterError
from waybell_adapters._reply import Reply
from waybell_adapters._stream import ReplyStream


if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from waybell_adapters._call import Call
    from waybell_adapters._engine import Engine
    from waybell_adapters._retry import Terms


class LiveStream(ReplyStream):
    """The pieces of a reply from a server.

    In a loop one thread reads ahead, and what it has goes to the loop in batches. Its
    first error comes after the last piece. Cancelling a wait ends the stream.

    Args:
        call: Where the pieces come from.
        engine: Has the threads.
        terms: Its deadline bounds each wait, its budget is charged once.
    """

    __slots__ = (
        "_asleep", "_engine", "_error", "_inbox", "_over", "_post", "_reading",
        "_waiting",
    )  # fmt: skip

    def __init__(self, call: "Call", engine: "Engine", terms: "Terms") -> None:
        super().__init__(
            call,
            call.finish,
            deadline=terms.deadline,
            budget=terms.budget,
            shut=call.shut,
        )
        self._engine = engine
        self._inbox: deque[str] = deque()
        self._error: BaseException | None = None
        self._asleep = False
        self._reading = False
        self._over = False
        self._post: Callable[[Callable[[], None]], None] | None = None
        self._waiting: Future[None] | None = None

    async def aread(self) -> Reply:
        """Read to the end, in one thread and with one wake-up of the loop."""
        if not self._reading and not self._ended:
            self._begin(self._to_end)
            await self._more()
            self._complain()
        return await super().aread()

    def close(self) -> None:
        """End it now; what was received is the reply, and is charged."""
        try:
            super().close()
        finally:
            self._over = True
            self._inbox.clear()
            if self._post is not None:
                self._post(self._wake)
        if not isinstance(self._error, AdapterError):
            self._complain()  # what was received was too much for the budget

    async def __anext__(self) -> str:
        inbox = self._inbox
        if not inbox and not self._over:
            if not self._reading:
                self._begin(self._read_ahead)
            await self._more()
        if inbox:
            return inbox.popleft()
        self._complain()
        raise StopAsyncIteration

    def _begin(self, work: Callable[[], None]) -> None:
        """Let a thread of the engine read, in this context."""
        self._reading = True
        context = copy_context()

        def run() -> None:
            try:
                context.run(work)
            except BaseException as error:
                self._error = error
            self._over = True
            if self._post is not None:
                self._post(self._wake)

        self._engine.threads.submit(run)

    async def _more(self) -> None:
        """Wait until something is in the inbox, or nothing more will be."""
        loop = _loop()
        if self._waiting is not None:
            raise RuntimeError("another task waits for a piece of this stream already")
        self._post = self._engine.mailbox(loop).post  # it may be another loop by now
        try:
            while not (self._inbox or self._over):
                self._waiting = future = loop.create_future()
                self._asleep = True  # before looking: who comes later wakes us
                if not (self._inbox or self._over):  # else it came just now
                    await self._until(loop, future)
        except BaseException as error:
            self._leave(error)
            raise
        finally:
            self._waiting = None

    async def _until(self, loop: "AbstractEventLoop", future: "Future[None]") -> None:
        deadline = self._deadline
        left = None if deadline is None else deadline.timeout()
        if left is None:
            await future
            return
        # The watcher ends the call; this is for one that no thread has begun.
        late = loop.call_later(left + 0.05, self._wake)
        try:
            await future
        finally:
            late.cancel()
        if deadline is not None and not (self._over or self._inbox):
            deadline.check()

    def _wake(self) -> None:
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _complain(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _to_end(self) -> None:
        while self._step() is not None:
            pass

    def _read_ahead(self) -> None:
        inbox = self._inbox
        while (piece := self._step()) is not None:
            inbox.append(piece)
            if self._asleep and self._post is not None:
                self._asleep = False  # one call wakes, for all that come until then
                self._post(self._wake)


def _loop() -> Any:
    import asyncio  # noqa: PLC0415 - a loop runs, so it is loaded already

    return asyncio.get_running_loop()
