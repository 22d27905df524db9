"""The one thread that calls back when deadlines pass."""

import logging
import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Self


if TYPE_CHECKING:  # asyncio is slow to import, and _deadline imports this module
    from asyncio import TimerHandle

    from ._deadline import Deadline

log = logging.getLogger("waybell_deadline")


class Watch:
    """A callback waiting for a deadline; as a context manager, for one block.

    Made by `Deadline.on_expire`. After `close()`, or after its `with` block, the
    callback neither runs nor will run. It runs in a copy of the context of today.
    """

    __slots__ = ("_callback", "_context", "_deadline", "_handle", "_running")

    def __init__(
        self,
        deadline: "Deadline",
        callback: Callable[[], object],
        call_at: "Callable[[Callable[[], None]], TimerHandle] | None" = None,  # a loop's
    ) -> None:
        self._callback: Callable[[], object] | None = callback
        self._context = copy_context()
        self._deadline = deadline
        self._handle: TimerHandle | None = None
        self._running: threading.Thread | None = None
        if call_at is not None:
            self._handle = call_at(self._ring)
        elif deadline.remaining() != inf:
            _watcher.add(deadline.remaining(), self, self._ring)

    def _ring(self) -> None:
        left = self._deadline.remaining()
        if left > 0 and self._handle is None:  # an injected clock may be slower
            _watcher.add(max(left, 0.001), self, self._ring)
            return
        with _watcher.changed:
            callback, self._callback = self._callback, None
            self._running = threading.current_thread()
        try:
            if callback is not None:
                self._context.run(callback)
        except Exception:
            log.exception("the callback of %r failed", self._deadline)
        finally:
            with _watcher.changed:
                self._running = None
                _watcher.changed.notify_all()

    @property
    def pending(self) -> bool:
        """Whether the callback is still to run."""
        return self._callback is not None

    def cancel(self) -> bool:
        """Do not call back; False if the callback has begun (or was cancelled)."""
        with _watcher.changed:
            if self._callback is None:
                return False
            self._callback = None
            if self._handle is None:
                _watcher.forget_one()
            else:
                self._handle.cancel()
            return True

    def close(self) -> None:
        """Cancel, and if the callback is running just now, wait until it has ended."""
        self.cancel()
        with _watcher.changed:
            # Nobody waits for himself, or for a thread that a fork left behind.
            while self._running is not None and self._running.is_alive():
                if self._running is threading.current_thread():
                    return
                _watcher.changed.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Watcher:
    """The thread, started at the first need, and the heap of what it waits for."""

    __slots__ = ("_cancelled", "_heap", "_order", "_thread", "changed")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, with nothing to wait for."""
        self.changed = threading.Condition()
        self._heap: list[tuple[float, int, Watch, Callable[[], None]]] = []
        self._order = count()
        self._cancelled = 0
        self._thread: threading.Thread | None = None

    def add(self, seconds: float, watch: Watch, ring: Callable[[], None]) -> None:
        """Call `ring` in so many seconds, if `watch` is still pending then."""
        with self.changed:
            when = monotonic() + seconds
            heappush(self._heap, (when, next(self._order), watch, ring))
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, name="waybell-deadline", daemon=True
                )
                thread.start()
                self._thread = thread
            self.changed.notify_all()

    def forget_one(self) -> None:
        """Count a cancelled entry, and sweep when they are the most."""
        self._cancelled += 1
        if self._cancelled > 16 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapify(self._heap)
            self._cancelled = 0

    def _run(self) -> None:
        while True:
            try:
                self._next()()
            except BaseException:  # this thread has nobody to raise it to
                log.exception("a callback tried to end the thread of all callbacks")

    def _next(self) -> Callable[[], None]:
        with self.changed:
            while True:
                while self._heap and not self._heap[0][2].pending:
                    heappop(self._heap)
                if self._heap and self._heap[0][0] <= monotonic():
                    return heappop(self._heap)[3]
                until = self._heap[0][0] if self._heap else inf
                self.changed.wait(max(0.0, min(until - monotonic(), 3600)))


_watcher = _Watcher()
# A child of fork has neither the thread nor a right to the parent's callbacks: shutting
# an inherited socket would cut off the parent. It begins with nothing to wait for.
os.register_at_fork(after_in_child=_watcher.reset)
