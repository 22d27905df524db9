"""Threads that can be left behind: they do not hold the interpreter at its end."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar, copy_context
from functools import partial
from os import getpid
from threading import Lock, Thread
from typing import Any, TypeVar


T = TypeVar("T")
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
    """An executor of daemon threads, one for each call.

    The pools of `concurrent.futures` have few threads, which abandoned calls would use
    up, and join them when the interpreter ends.
    """

    __slots__ = ()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """Start a thread; the future carries what it returns or raises."""
        future: Future[T] = Future()
        work = (future, partial(fn, *args, **kwargs))
        Thread(target=_work, args=work, name="waybell-tools", daemon=True).start()
        return future


def _work(future: "Future[Any] | None", fn: Callable[[], Any]) -> None:
    if future is not None and future.set_running_or_notify_cancel():
        try:
            future.set_result(fn())
        except BaseException as error:
            future.set_exception(error)
            future = None  # no cycle, so that what failed is freed at once


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
        self.abandoned, self.halt, self.pid = False, Halt(), getpid()
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
