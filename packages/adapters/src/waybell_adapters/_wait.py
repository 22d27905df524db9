"""What a call waits for, said to whoever drives it: a thread or a loop."""

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from waybell_adapters._line import Line, LineCut


if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from waybell_adapters._engine import Engine
    from waybell_adapters._threads import Mailbox


T = TypeVar("T")


class Wait(NamedTuple):
    """One wait of a call that a loop drives.

    Args:
        kind: For its socket to be ready to "read" or "write", for `seconds` to pass or
            its line to be poked ("pause"), or for `work` to be done in a thread.
        seconds: At most; None without limit.
        work: May block; its result or error is what the wait gives.
    """

    kind: Literal["read", "write", "pause", "work"]
    seconds: float | None = None
    work: Callable[[], Any] | None = None


# A step of a call that ends with a T; None is yielded where there may be pieces.
Steps: TypeAlias = Generator[Wait | None, Any, T]


async def until(wait: Wait, line: Line, engine: "Engine") -> Any:
    """Do the waiting in the loop that runs; when the line is poked, it is over.

    Raises:
        LineCut: The call was ended while its work was in a thread.
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

    job, stop = _begin(wait, line, loop, box, wake)
    if job is not None:
        engine.threads.submit(partial(job.run, partial(box.post, wake)))
    late = None if wait.kind == "pause" else TimeoutError("no answer in time")
    seconds = wait.seconds
    timer = None if seconds is None else loop.call_later(seconds, wake, late)
    line.watch(partial(box.post, wake))
    try:
        await future
    finally:
        line.watch(None)
        if timer is not None:
            timer.cancel()
        if stop is not None:
            stop()
    return None if job is None else job.result()


class _Job:
    """Work for a thread, and what came of it."""

    __slots__ = ("_error", "_found", "_over", "_work")

    def __init__(self, work: Callable[[], Any]) -> None:
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


def _begin(
    wait: Wait,
    line: Line,
    loop: "AbstractEventLoop",
    box: "Mailbox",
    wake: Callable[[], object],
) -> tuple[_Job | None, Callable[[], object] | None]:
    """What a thread is to do, and what ends the waiting for a socket."""
    if wait.work is not None or wait.kind == "pause":
        return None if wait.work is None else _Job(wait.work), None
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
        return _Job(partial(_poll, number, wait)), None
    return None, partial(remove, number)


def _poll(number: int, wait: Wait) -> None:
    from urllib3.util.wait import wait_for_socket  # noqa: PLC0415 - loaded already

    read = wait.kind == "read"
    sock = cast(Any, number)
    if not wait_for_socket(sock, read=read, write=not read, timeout=wait.seconds):
        raise TimeoutError("no answer in time")
