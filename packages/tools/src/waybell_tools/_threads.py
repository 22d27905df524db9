"""Threads that can be left behind: they do not hold the interpreter at its end."""

import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeAlias, TypeVar


T = TypeVar("T")
_Work: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"
_IDLE = 1.0  # seconds that a thread waits for more work
log = logging.getLogger("waybell_tools")


class Halt:
    """Asks work in a thread to end, since nobody waits for it any more."""

    __slots__ = ("_callbacks", "_lock", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._callbacks: list[Callable[[], object]] = []
        self._lock = Lock()

    def call(self, callback: Callable[[], object]) -> None:
        """Call this when asked, which may be now."""
        with self._lock:
            if not self.asked:
                self._callbacks.append(callback)
                return
        callback()

    def ask(self) -> bool:
        """End the work, and say whether it listens."""
        with self._lock:
            self.asked = True
        for callback in self._callbacks:
            callback()
        return bool(self._callbacks)


HALT: ContextVar[Halt | None] = ContextVar("waybell_tools_halt", default=None)


class Daemons(Executor):
    """An executor of daemon threads: one for each call, and those that idle again.

    The pools of `concurrent.futures` have few threads, which abandoned calls would use
    up, and join them when the interpreter ends.
    """

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        self._idle: deque[SimpleQueue[_Work]] = deque()
        if register := getattr(os, "register_at_fork", None):  # threads are not forked
            register(after_in_child=self._idle.clear)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """Give it to a thread; the future carries what it returns or raises."""
        future: Future[T] = Future()
        inbox: SimpleQueue[_Work]
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            Thread(
                target=self._serve, args=(inbox,), name="waybell-tools", daemon=True
            ).start()
        inbox.put((future, partial(fn, *args, **kwargs)))
        return future

    def _serve(self, inbox: "SimpleQueue[_Work]") -> None:
        while True:
            try:
                _work(*inbox.get(timeout=_IDLE), partial(self._idle.append, inbox))
            except Empty:
                try:
                    self._idle.remove(inbox)
                except ValueError:  # taken just now, so that work will come
                    continue
                return


def _work(
    future: "Future[Any]", fn: Callable[[], Any], ready: Callable[[], None]
) -> None:
    """Run it; `ready` is called before anybody knows, who may have more work at once."""
    if not future.set_running_or_notify_cancel():
        ready()
        return
    try:
        value = fn()
    except BaseException as error:
        ready()
        future.set_exception(error)
        del future  # no cycle, so that what failed is freed at once
    else:
        ready()
        future.set_result(value)


DAEMONS = Daemons()


class Job:
    """One call in a thread, in a copy of the caller's context, listed while it runs."""

    __slots__ = (
        "_context",
        "_fn",
        "_jobs",
        "abandoned",
        "halt",
        "name",
        "pid",
        "started",
    )

    def __init__(
        self, name: str, fn: Callable[[], Any], started: float, jobs: "set[Job]"
    ) -> None:
        self.name, self._fn, self.started, self._jobs = name, fn, started, jobs
        self.abandoned, self.halt, self.pid = False, Halt(), os.getpid()
        self._context = copy_context()

    def __call__(self) -> Any:
        """Run it, unless nobody waits for it already."""
        if self.halt.asked:
            return None
        self._jobs.add(self)
        self._context.run(HALT.set, self.halt)
        try:
            return self._context.run(self._fn)
        except StopIteration as error:  # which no asyncio future would carry
            raise RuntimeError(f"{self.name} raised StopIteration") from error
        finally:
            self._jobs.discard(self)

    def abandon(self) -> None:
        """Nobody waits for it any more; if it has ended, nothing happens."""
        self.abandoned = True
        self.halt.ask()
        if self in self._jobs:
            log.warning("abandoned a call that still runs: %s", self.name)
