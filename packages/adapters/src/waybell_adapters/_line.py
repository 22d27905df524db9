"""What one call holds of the network, so that any thread can end it at once."""

import socket
import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from os import getpid
from time import monotonic

from waybell_adapters._limits import DeadlineLike


class LineCut(OSError):
    """The call was ended from outside."""


class Line:
    """A call's socket, which any thread may shut whatever its owner is doing with it."""

    __slots__ = (
        "_lock", "_pid", "_poked", "_sock", "_spare", "_waking", "cut", "reused", "up",
    )  # fmt: skip

    def __init__(self) -> None:
        # A finalizer may shut it while its own thread is in here.
        self._lock = threading.RLock()
        self._pid = 0
        self._poked = False
        self._sock: socket.socket | None = None
        self._spare = False
        self._waking: Callable[[], object] | None = None
        self.cut = False
        self.up = False  # connected, so the server may have got the request
        self.reused = False

    def hold(self, sock: socket.socket, *, spare: bool = False) -> None:
        """Make this the socket to shut; a spare one is closed when it is let go.

        Raises:
            LineCut: It was ended before.
        """
        with self._lock:
            self._let_go()
            if self.cut:
                if spare:
                    sock.close()
                raise LineCut
            self._sock, self._spare, self._pid = sock, spare, getpid()

    def free(self) -> bool:
        """Let the socket go; False if it was shut meanwhile."""
        with self._lock:
            self._let_go()
            return not self.cut

    def shut(self) -> None:
        """End the call at once: now, or as soon as it tries to go on."""
        with self._lock:
            self.cut = True
            # A child's copy of it is the parent's connection too.
            if self._sock is not None and self._pid == getpid():
                shutdown(self._sock)
        self.poke()

    def poke(self) -> None:
        """Wake whoever waits with this line, or is about to, for a look at its state."""
        self._poked = True
        waking = self._waking
        if waking is not None:
            waking()

    def watch(self, waking: Callable[[], object] | None) -> None:
        """Call this, from any thread, when it is poked; at once if it was, or was cut."""
        self._waking = waking
        if waking is None:
            self._poked = False
        elif self._poked or self.cut:
            waking()

    def fileno(self) -> int:
        """The number of the socket.

        Raises:
            LineCut: There is none.
        """
        sock = self._sock
        if sock is None or (number := sock.fileno()) < 0:
            raise LineCut
        return number

    def settimeout(self, seconds: float | None) -> None:
        """Bound each wait for the socket from now on."""
        with self._lock:
            if self._sock is not None and self._sock.fileno() >= 0:
                self._sock.settimeout(seconds)

    def sleep(
        self, seconds: float | None, event: threading.Event | None = None
    ) -> None:
        """Wait so long, or for an event.

        Raises:
            LineCut: The call was ended.
        """
        event = event or threading.Event()
        self.watch(event.set)
        event.wait(seconds)
        self.watch(None)
        if self.cut:
            raise LineCut

    def _let_go(self) -> None:
        if self._sock is not None and self._spare:
            self._sock.close()
        self._sock = None


def shutdown(sock: socket.socket) -> None:
    """End a connection, whatever anybody is doing with it."""
    # The plain method: that of an SSLSocket forgets its session first, so that a read
    # in another thread would take what is still encrypted for text.
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it is not connected, or has ended by itself


class Turns:
    """Lets so many calls of loops run at once; more wait, first come, first served.

    Args:
        most: How many.
    """

    __slots__ = ("_left", "_lock", "_most", "_running", "_waiting")

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._left: deque[Line] = deque()
        self._running: set[Line] = set()
        self._waiting: dict[Line, None] = {}

    def enter(self, line: Line) -> bool:
        """Whether it has its turn; if not, it is poked when it has."""
        with self._lock:
            if line not in self._running:
                self._waiting[line] = None
            self._give()
            entered = line in self._running
            if entered:
                line.watch(None)  # if it was poked, that was for this
        self._pass_on()
        return entered

    def leave(self, line: Line) -> None:
        """Give up the turn, or the wait for one."""
        self._left.append(line)
        self._pass_on()

    def _pass_on(self) -> None:
        # A finalizer, whose own thread may have the lock, must not wait for it.
        while self._left and self._lock.acquire(blocking=False):
            try:
                self._give()
            finally:
                self._lock.release()

    def _give(self) -> None:
        while self._left:
            line = self._left.popleft()
            self._waiting.pop(line, None)
            self._running.discard(line)
        free = self._most - len(self._running)
        for line in list(islice(self._waiting, free)):
            del self._waiting[line]
            self._running.add(line)
            line.poke()


class Watcher:
    """One thread that shuts the lines whose deadline has passed.

    Args:
        idle: Seconds without a line after which the thread ends.
    """

    __slots__ = ("_changed", "_idle", "_lines", "_next", "_running")

    def __init__(self, *, idle: float = 10.0) -> None:
        self._changed = threading.Condition()
        self._lines: dict[Line, tuple[float, DeadlineLike]] = {}
        self._next = 0.0
        self._running = False
        self._idle = idle

    def add(self, line: Line, deadline: DeadlineLike) -> None:
        """Shut this line when the deadline has passed, unless it is dropped before."""
        left = deadline.timeout()
        if left is None:
            return
        due = monotonic() + left
        with self._changed:
            self._lines[line] = (due, deadline)
            if not self._running:
                self._next, name = due, "waybell-deadlines"
                threading.Thread(target=self._run, name=name, daemon=True).start()
                self._running = True
            elif due < self._next:
                self._next = due
                self._changed.notify()

    def drop(self, line: Line) -> None:
        """Forget it."""
        self._lines.pop(line, None)

    def close(self) -> None:
        """Forget them all and let the thread end."""
        with self._changed:
            self._lines.clear()
            self._next = 0.0
            self._changed.notify()

    def _run(self) -> None:
        while self._wait():
            now = monotonic()
            due = [(k, v[1]) for k, v in self._lines.copy().items() if v[0] <= now]
            for line, deadline in due:
                left = _left(deadline)
                with self._changed:
                    if line not in self._lines:
                        continue
                    self._lines[line] = (now + left, deadline)
                if left <= 0:
                    self.drop(line)
                    line.shut()  # else it was postponed
            with self._changed:
                times = [due for due, _ in self._lines.copy().values()]
                self._next = min(times, default=now + self._idle)

    def _wait(self) -> bool:
        """Until the next is due; False if there was none for a while."""
        with self._changed:
            self._changed.wait(min(max(self._next - monotonic(), 0), self._idle))
            self._running = bool(self._lines)
            return self._running


def _left(deadline: DeadlineLike) -> float:
    try:
        return deadline.timeout() or 0.0
    except Exception:  # one that has passed may say so by raising
        return 0.0
