"""What a call waits for, said to whoever drives it: a thread or a loop."""

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from waybell_adapters._line import Line, LineCut


if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

    from waybell_adapters._engine import Engine
    from waybell_adapters._threads import Mailbox


T = TypeVar("T")


class Wait(NamedTuple):
    """One wait of a call that a loop drives.

    Args:
        kind: For its socket to be ready to "read" or "write", for `seconds` to pass or
            its line to be poked ("pause"), for `work` to be done in a thread, or for
            `work` of the loop's own that gives "money".
        seconds: At most; None without limit.
        work: May block; its result or error is what the wait gives.
    """

    kind: Literal["read", "write", "pause", "work", "money"]
    seconds: float | None = None
    work: Callable[[], Any] | None = None


# A step of a call that ends with a T; None is yielded where there may be pieces.
Steps: TypeAlias = Generator[Wait | None, Any, T]


async def until(wait: Wait, line: Line, engine: "Engine") -> Any:
    """Do the waiting in the loop that runs; when the line is poked, it is over.

    Raises:
        LineCut: The call was ended while its work was not.
        TimeoutError: The socket was not ready in time.
    """
    import asyncio  # noqa: PLC0415 - a loop runs, so it is loaded already

    loop = asyncio.get_running_loop()
    box, future = engine.mailbox(loop), loop.create_future()

    def wake(error: Exception | None = None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    source = _begin(wait, line, loop, box, wake)
    if isinstance(source, _Job):
        engine.threads.submit(partial(source.run, partial(box.post, wake)))
    late = None if wait.kind == "pause" else TimeoutError("no answer in time")
    seconds = wait.seconds
    timer = None if seconds is None else loop.call_later(seconds, wake, late)
    line.watch(partial(box.post, wake))
    try:
        await future
        return source.result()
    finally:
        line.watch(None)
        if timer is not None:
            timer.cancel()
        source.stop()


class _Source:
    """What a wait is for."""

    __slots__ = ("stop",)

    def __init__(self, stop: Callable[[], object] = lambda: None) -> None:
        self.stop = stop

    def result(self) -> Any:
        """What it gave."""


class _Job(_Source):
    """Work for a thread."""

    __slots__ = ("_error", "_found", "_over", "_work")

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work
        self._over = False
        self._found: Any = None
        self._error: BaseException | None = None

    def run(self, wake: Callable[[], object]) -> None:
        try:
            self._found = self._work()
        except BaseException as error:
            self._error = error
        self._over = True
        wake()

    def result(self) -> Any:
        if not self._over:
            raise LineCut
        if self._error is not None:
            raise self._error
        return self._found


class _Errand(_Source):
    """Work of the loop's own."""

    __slots__ = ("_task",)

    def __init__(self, task: "Task[Any]", wake: Callable[[], object]) -> None:
        super().__init__(self._end)
        self._task = task
        task.add_done_callback(lambda _: wake())

    def result(self) -> Any:
        if not self._task.done():
            raise LineCut
        return self._task.result()

    def _end(self) -> None:
        if not self._task.cancel() and not self._task.cancelled():
            self._task.exception()  # else the loop complains that nobody looked


def _begin(
    wait: Wait,
    line: Line,
    loop: "AbstractEventLoop",
    box: "Mailbox",
    wake: Callable[[], object],
) -> _Source:
    """Have it begin, where a thread has not to do it."""
    if wait.kind == "money":
        return _Errand(loop.create_task(cast(Any, wait.work)()), wake)
    if wait.work is not None:
        return _Job(wait.work)
    if wait.kind == "pause":
        return _Source()
    number = line.fileno()
    add, remove = (
        (loop.add_reader, loop.remove_reader)
        if wait.kind == "read"
        else (loop.add_writer, loop.remove_writer)
    )

    def ready() -> None:
        remove(number)
        box.put(wake)

    try:
        add(number, ready)
    except NotImplementedError:  # a loop that watches no sockets, as one of Windows
        return _Job(partial(_poll, number, wait))
    return _Source(partial(remove, number))


def _poll(number: int, wait: Wait) -> None:
    from urllib3.util.wait import wait_for_socket  # noqa: PLC0415 - loaded already

    read = wait.kind == "read"
    sock = cast(Any, number)
    if not wait_for_socket(sock, read=read, write=not read, timeout=wait.seconds):
        raise TimeoutError("no answer in time")
