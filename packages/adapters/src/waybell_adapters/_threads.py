"""Threads for blocking calls, as many as are needed, and their way back to a loop."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from waybell_adapters._line import Line


_BATCH = 32  # calls that a loop is given at once


class Threads:
    """Daemon threads that begin when work waits and end when none has come for a while.

    Args:
        most: How many there may be; more work than that waits its turn.
        idle: Seconds without work after which a thread ends.
    """

    __slots__ = (
        "_idle", "_idlers", "_jobs", "_lock", "_most", "_starting", "_threads",
        "_waiting",
    )  # fmt: skip

    def __init__(self, most: int, *, idle: float = 10.0) -> None:
        self._most = most
        self._idle = idle
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idlers = 0
        self._starting = False
        self._waiting = 0

    def submit(self, job: Callable[[], object]) -> None:
        """Run this soon; it must not raise.

        Raises:
            RuntimeError: The system gives no thread at all.
        """
        with self._lock:
            self._waiting += 1
            more = self._more()
        self._jobs.put(job)
        if more is not None:
            self._start(more)

    def close(self, timeout: float = 1.0) -> None:
        """End the threads, each after the job it has; wait so long for all of them."""
        with self._lock:
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        ends = monotonic() + timeout
        for thread in threads:
            # One that has not started yet ends as soon as it has.
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(ends - monotonic(), 0))

    def _more(self) -> threading.Thread | None:
        """A thread to start, if there is work for one and none is starting.

        Starting one takes a while, and whoever submits may be an event loop. So each
        that has started starts the next.
        """
        full = len(self._threads) >= self._most
        if self._starting or full or self._waiting <= self._idlers:
            return None
        self._starting = True
        thread = threading.Thread(target=self._run, name="waybell-call", daemon=True)
        self._threads.add(thread)
        return thread

    def _start(self, thread: threading.Thread) -> None:
        try:
            thread.start()
        except RuntimeError:  # the system has no more: those there are will do it
            with self._lock:
                self._starting = False
                self._threads.discard(thread)
                if not self._threads:
                    raise

    def _run(self) -> None:
        with self._lock:
            self._starting = False
        while True:
            with self._lock:
                self._idlers += 1
            try:
                job = self._jobs.get(timeout=self._idle)
            except Empty:
                job = None
            with self._lock:
                self._idlers -= 1
                self._waiting -= job is not None
                if job is None and self._waiting == 0:
                    self._threads.discard(threading.current_thread())
                    return
                more = self._more()
            if more is not None:
                self._start(more)
            if job is not None:
                job()
            del job  # else it lives until the next one comes


class Mailbox:
    """Brings calls into a loop, a few at each of its turns, so that none is long.

    Args:
        loop: Where they run.
    """

    __slots__ = ("_begun", "_called", "_loop", "_posts", "lines")

    def __init__(self, loop: "AbstractEventLoop") -> None:
        self._loop = loop
        self._posts: deque[Callable[[], object]] = deque()
        self._called = False
        self._begun = 0
        self.lines: set[Line] = set()  # with which tasks of the loop wait

    def post(self, call: Callable[[], object]) -> None:
        """Run it in the loop soon, from any thread; forgotten when the loop is closed."""
        self._posts.append(call)
        if not self._called:
            self._called = True
            with suppress(RuntimeError):  # the loop has gone, and its tasks with it
                self._loop.call_soon_threadsafe(self._deliver)

    def put(self, call: Callable[[], object]) -> None:
        """Run it in this thread's loop soon."""
        self._posts.append(call)
        if not self._called:
            self._called = True
            self._loop.call_soon(self._deliver)

    async def turn(self) -> None:
        """Go on in a turn of the loop in which few others begin."""
        if self._begun < _BATCH and not self._posts:
            if not self._begun:
                self._loop.call_soon(self._forget)
            self._begun += 1
            return
        future = self._loop.create_future()
        self.put(lambda: None if future.done() else future.set_result(None))
        await future

    def _forget(self) -> None:
        self._begun = 0

    def _deliver(self) -> None:
        self._called = False  # before reading: whoever posts from now on calls again
        for _ in range(min(len(self._posts), _BATCH)):
            self._posts.popleft()()
        if self._posts and not self._called:
            self._called = True  # the loop's other work comes first
            self._loop.call_soon(self._deliver)
