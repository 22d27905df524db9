"""One request and its answer on a connection lent for it, for threads and for loops.

Imported when the first call is made, as it imports requests.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from urllib3.exceptions import SSLError
from urllib3.util.ssl_match_hostname import CertificateError

from waybell_adapters._answer import Answer
from waybell_adapters._line import Line
from waybell_adapters._wait import Steps, T, Wait


if TYPE_CHECKING:
    from waybell_adapters._engine import Engine


_MOST = 65536  # bytes that are written at once
# Bytes that are read at once, of which many calls may have as many in one turn of a loop.
_PART = 16384


class Exchange:
    """Sends a request and reads the answer; a thread waits, a loop is told of waits.

    Args:
        engine: Has the connections.
        line: Owns the socket.
        connect: Seconds that a new connection may take.
        quiet: Seconds that any other wait may take, None without limit.
        looped: Whether a loop drives it: waits are yielded.
    """

    __slots__ = (
        "_busy", "_calm", "_conn", "_connect", "_engine", "_line", "_lock", "_looped",
        "_quiet", "_sock", "_tls", "answer", "closed",
    )  # fmt: skip

    def __init__(
        self,
        engine: "Engine",
        line: Line,
        *,
        connect: float,
        quiet: float | None,
        looped: bool,
    ) -> None:
        self._engine = engine
        self._line = line
        self._connect = connect
        self._quiet = quiet
        self._looped = looped
        # A finalizer may close it while its own thread is in here.
        self._lock = threading.RLock()
        self._busy = False  # a thread works on it for a loop
        self._conn: Any = None
        self._sock: Any = None
        self._tls = False
        self._calm = False  # it can be asked without waiting
        self.answer = Answer()
        self.closed = False

    def send(self, request: bytes) -> Steps[None]:
        """Send a request, over a connection that is kept or a new one."""
        conn = self._conn = self._engine.lend()
        if conn.is_closed:
            yield from self._away(self._join)
        else:
            self._line.reused = True
        self._take(conn.sock)
        left = memoryview(request)
        try:
            while left:
                sent = yield from self._do("write", self._sock.send, left[:_MOST])
                left = left[sent:]
        except (BrokenPipeError, ConnectionResetError):
            return  # it may have answered before

    def head(self) -> Steps[None]:
        """Read the head of the answer."""
        begin = self.answer.begin
        while not begin((yield from self._receive())):
            pass

    def read(self) -> Steps[bytes]:
        """Some of the body; nothing at its end."""
        answer = self.answer
        while answer.more or not answer.ended:
            if self._looped and answer.unpacking:
                yield Wait("pause", 0)  # little that was read may stand for very much
            data = b"" if answer.more else (yield from self._receive())
            if found := answer.read(data):
                return found
        return b""

    def hurry(self, seconds: float) -> None:
        """Wait no longer than so at once from now on."""
        self._quiet = seconds
        self._set_timeout()

    def drive(self, *, looped: bool) -> None:
        """Go on for a loop, or for a thread."""
        self._looped = looped
        self._set_timeout()

    def close(self) -> None:
        """Let the connection go: kept if the answer has been read, else ended."""
        with self._lock:
            self.closed = True
            if self._busy:
                return  # whoever works on it closes it
        conn, self._conn = self._conn, None
        if conn is not None:
            if self._line.free() and self.answer.ended and self.answer.keep:
                self._engine.take_back(conn)
            else:
                conn.close()

    def abandon(self) -> None:
        """End it from a finalizer, which must wait for no lock of others."""
        self.closed = True
        conn = self._conn
        if conn is not None and not self._busy:
            conn.close()

    def _join(self) -> None:
        conn = self._conn
        conn.line, conn.timeout = self._line, self._connect
        try:
            self._engine.join(conn)
        except CertificateError as error:
            raise SSLError(error) from error
        finally:
            conn.line = None

    def _take(self, sock: Any) -> None:
        """Make this socket the line's; a loop never waits for it."""
        # The socket under TLS inside TLS, which is what a proxy with TLS gives.
        self._line.hold(cast(socket.socket, getattr(sock, "socket", sock)))
        self._line.up = True
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._calm = self._tls or type(sock) is socket.socket
        self._set_timeout()

    def _set_timeout(self) -> None:
        calm = self._looped and self._calm
        self._line.settimeout(0 if calm else self._quiet)

    def _receive(self) -> Steps[Any]:
        sock = self._sock
        # TLS may have taken more from the socket than it has given out.
        if self._looped and self._calm and not (self._tls and sock.pending()):
            yield from self._until("read")
        return (yield from self._do("read", sock.recv, _PART))

    def _do(self, kind: Any, act: Callable[..., T], *args: Any) -> Steps[T]:
        """Do what may have to wait for the socket."""
        while self._calm:
            try:
                return act(*args)
            except ssl.SSLWantReadError:
                need = "read"
            except ssl.SSLWantWriteError:
                need = "write"
            except BlockingIOError:
                need = kind
            yield from self._until(need)
        return (yield from self._away(act, *args))

    def _until(self, kind: Any) -> Steps[None]:
        """Wait for the socket in a loop, or find that it must be asked in threads."""
        try:
            yield Wait(kind, self._quiet)
        except NotImplementedError:  # a loop that watches none, as one of Windows
            self._calm = False
            self._set_timeout()

    def _away(self, work: Callable[..., T], *args: Any) -> Steps[T]:
        """Do what blocks, for a loop in a thread."""
        if not self._looped:
            return work(*args)
        self._busy = True
        return cast(T, (yield Wait("work", None, partial(self._work, work, *args))))

    def _work(self, work: Callable[..., T], *args: Any) -> T | None:
        """Do it, unless nobody wants it any more."""
        try:
            return None if self.closed else work(*args)
        finally:
            with self._lock:
                self._busy = False
                closed = self.closed
            if closed:
                self._line.free()
                self._conn.close()
