"""What a call waits for, said to whoever drives it: a thread or a loop."""

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from waybell_adapters._line import Line, LineCut


if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from concurrent.futures import Future

    from waybell_adapters._engine import Engine


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
        NotImplementedError: The loop watches no sockets.
        TimeoutError: The socket was not ready in time.
    """
    import asyncio  # noqa: PLC0415 - a loop runs, so it is loaded already

    loop = asyncio.get_running_loop()
    box, future = engine.mailbox(loop), loop.create_future()

    def wake(error: Exception | None = None) -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(None)

    post = partial(box.post, wake)
    if wait.kind in ("read", "write"):
        ready = partial(box.put, wake)
        work, stop = None, _watch(wait.kind, line.fileno(), loop, ready)
    else:
        work, stop = _begin(wait.work, wait.kind == "money", loop, engine, post)
    late = None if wait.kind == "pause" else TimeoutError("no answer in time")
    seconds = wait.seconds
    timer = None if seconds is None else loop.call_later(seconds, wake, late)
    line.watch(post)
    box.lines.add(line)
    try:
        await future
        if work is not None and not work.done():
            raise LineCut
        return None if work is None else work.result()
    finally:
        line.watch(None)
        box.lines.discard(line)
        if timer is not None:
            timer.cancel()
        stop()


def _watch(
    kind: str, number: int, loop: "AbstractEventLoop", ready: Callable[[], object]
) -> Callable[[], object]:
    """Tell once that a socket is ready; gives what ends that."""
    add, remove = (
        (loop.add_reader, loop.remove_reader)
        if kind == "read"
        else (loop.add_writer, loop.remove_writer)
    )

    def once() -> None:
        remove(number)
        ready()

    add(number, once)
    return partial(remove, number)


def _begin(
    work: Callable[[], Any] | None,
    own: bool,
    loop: "AbstractEventLoop",
    engine: "Engine",
    over: Callable[[], object],
) -> tuple[Any, Callable[[], object]]:
    """Have it done by the loop's own task or a thread; gives what leaves it to itself."""
    if work is None:
        return None, lambda: None
    if own:
        task = loop.create_task(cast(Any, work)())
        task.add_done_callback(lambda _: over())
        return task, partial(_leave, task)
    from concurrent.futures import Future  # noqa: PLC0415 - asyncio has loaded it

    found: Future[Any] = Future()
    found.add_done_callback(lambda _: over())
    engine.threads.submit(partial(do, found, work))
    return found, lambda: None


def _leave(task: "Task[Any]") -> None:
    if not task.cancel() and not task.cancelled():
        task.exception()  # else the loop complains that nobody looked


def do(found: "Future[Any]", work: Callable[[], Any]) -> None:
    """Do it, for whoever waits for what it gives."""
    try:
        found.set_result(work())
    except BaseException as error:
        found.set_exception(error)
