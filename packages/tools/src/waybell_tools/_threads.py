"""Threads that can be left behind: they do not hold the interpreter at its end."""

import logging
import os
from asyncio import Semaphore, get_running_loop
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, RLock, Thread
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from waybell_tools._errors import ToolTimeoutError


_Fn: TypeAlias = Callable[..., Any]
_IDLE = 1.0  # seconds that a thread waits for more work
log = logging.getLogger("waybell_tools")


class Halt:
    """Asks work in a thread, `depth` calls deep, to end, since nobody waits for it."""

    __slots__ = ("_callbacks", "_lock", "asked", "depth", "over")

    def __init__(self, depth: int = 1) -> None:
        self.asked, self.over, self.depth = False, False, depth
        self._callbacks: list[Callable[[], object]] = []
        self._lock = Lock()

    def call(self, callback: Callable[[], object]) -> None:
        """Call this when asked, which may be now."""
        with self._lock:
            if not self.asked:
                self._callbacks.append(callback)
                return
        callback()

    def forget(self, callback: Callable[[], object]) -> None:
        """Do not call it any more."""
        with self._lock, suppress(ValueError):  # it is not there if it was called
            self._callbacks.remove(callback)

    def ask(self) -> bool:
        """End the work, and say whether it listens."""
        with self._lock:
            waiting, self.asked = () if self.asked else tuple(self._callbacks), True
        for callback in waiting:
            callback()
        return bool(self._callbacks)


HALT: ContextVar[Halt | None] = ContextVar("waybell_tools_halt", default=None)


class Turns:
    """Who may begin in a thread: so many calls of each tool at once in each loop.

    A tool that hangs delays no calls but its own, and a call made by another one, which
    may wait for it, has turns of its own.
    """

    __slots__ = ("_loops", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._loops: WeakKeyDictionary[Any, dict[Any, Semaphore]] = WeakKeyDictionary()

    def of(self, name: str) -> Semaphore:
        """What a call waits for in the running loop."""
        halt, turns = HALT.get(), self._loops.setdefault(get_running_loop(), {})
        key = name, halt.depth if halt else 0
        return turns.get(key) or turns.setdefault(key, Semaphore(self._most))


class Daemons(Executor):
    """An executor of daemon threads: as many as have work, and those that idle again.

    The pools of `concurrent.futures` have few threads, which abandoned calls would use
    up, and join them when the interpreter ends.
    """

    __slots__ = ("_idle", "_lock", "_queue", "_starting", "_thread")

    def __init__(self, thread: Callable[..., Any] = Thread) -> None:
        self._thread = thread
        self._begin()
        if register := getattr(os, "register_at_fork", None):  # threads are not forked
            register(after_in_child=self._begin)

    def _begin(self) -> None:
        self._idle, self._starting, self._lock = 0, False, RLock()
        self._queue: SimpleQueue[tuple[Future[Any], _Fn]] = SimpleQueue()

    def submit(self, fn: _Fn, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Give it to a thread; the future carries what it returns or raises."""
        future: Future[Any] = Future()
        self._queue.put((future, partial(fn, *args, **kwargs)))
        self._start()
        return future

    def _start(self) -> None:
        """Start a thread if there is work for it; when it takes that, it starts the next.

        Starting takes time, in which whoever submits, a loop maybe, stands still.
        """
        with self._lock:
            if self._starting or self._queue.qsize() <= self._idle:
                return
            self._starting = True
        try:
            self._thread(target=self._serve, name="waybell-tools", daemon=True).start()
        except RuntimeError as error:  # the system gives no more
            self._starting = False
            with suppress(Empty):
                while True:
                    future, _ = self._queue.get_nowait()
                    if future.set_running_or_notify_cancel():
                        future.set_exception(error)

    def _serve(self) -> None:
        self._starting = False
        self._count(1)
        while True:
            try:
                future, fn = self._queue.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if not self._queue.qsize():
                        self._idle -= 1
                        return
                continue
            self._count(-1)
            self._start()
            begun = future.set_running_or_notify_cancel()
            try:
                settle = partial(future.set_result, fn()) if begun else int
            except BaseException as error:
                settle = partial(future.set_exception, error)
            self._count(1)  # before anybody knows, who may have more work at once
            settle()
            del future, fn, settle  # which would live until there is more

    def _count(self, more: int) -> None:
        with self._lock:
            self._idle += more


DAEMONS = Daemons()


class Job:
    """One call in a thread, in a copy of the caller's context, listed while it runs."""

    __slots__ = (
        "_context", "_fn", "_jobs", "abandoned", "halt", "name", "pid", "started"
    )  # fmt: skip

    def __init__(
        self, name: str, fn: _Fn, *, clock: Callable[[], float], jobs: "set[Job]"
    ) -> None:
        self.name, self._fn, self.started, self._jobs = name, fn, clock(), jobs
        outer = HALT.get()
        self.halt = Halt(1 + outer.depth if outer else 1)
        self.abandoned, self.pid = False, os.getpid()
        self._context = copy_context()

    def __call__(self) -> Any:
        """Run it, unless nobody waits for it, or for what calls it, already."""
        outer = self._context.get(HALT)
        if outer and not outer.over:  # else this belongs to what it began, and lives on
            outer.call(self.halt.ask)
        if self.halt.asked:
            raise ToolTimeoutError(f"{self.name}: nobody waits for it", tool=self.name)
        self._jobs.add(self)
        self._context.run(HALT.set, self.halt)
        try:
            return self._context.run(self._fn)
        except StopIteration as error:  # which no asyncio future would carry
            raise RuntimeError(f"{self.name} raised StopIteration") from error
        finally:
            self.halt.over = True
            self._jobs.discard(self)
            if outer:
                outer.forget(self.halt.ask)

    def abandon(self) -> None:
        """Nobody waits for it any more; if it has ended, nothing happens."""
        self.abandoned = True
        self.halt.ask()
        if self in self._jobs:
            log.warning("abandoned a call that still runs: %s", self.name)
