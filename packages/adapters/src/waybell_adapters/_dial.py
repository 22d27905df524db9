"""Connections of requests' pools that belong to a call and end when it is ended.

Imported when the first call is made, as it imports requests.
"""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util.wait import wait_for_read

from waybell_adapters._answer import Answer
from waybell_adapters._line import Line, LineCut


class Gate:
    """Lets few threads at a time write requests and read answers' heads.

    Python runs one of them at once anyway; with hundreds awake, an event loop would
    wait for them all. Whoever waits for the network stands outside.

    Args:
        width: How many.
    """

    __slots__ = ("_places", "enter")

    def __init__(self, width: int = 4) -> None:
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(width):
            self._places.put(None)
        self.enter = self._places.get

    def leave(self) -> None:
        """Let the next one in."""
        self._places.put(None)


class Here(threading.local):
    """The call that this thread makes: its line, and the gate it has passed."""

    line: Line | None = None
    gate: Gate | None = None


here = Here()


@contextmanager
def outside() -> Generator[None]:
    """Stand outside the gate while the network may keep one waiting."""
    gate = here.gate
    if gate is None:
        yield
        return
    gate.leave()
    try:
        yield
    finally:
        gate.enter()


class _Mine:
    """A connection whose socket belongs to the line of this thread's call."""

    response_class: Any = Answer
    line: Line | None = None
    spare = False
    held: list[bytes] | None = None

    def _new_conn(self: Any) -> socket.socket:
        line = self.line or Line()
        try:
            sock = _dial(self, line)
        except LineCut:
            raise
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host}") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection: {error}") from error
        if self.spare:
            # TLS takes the socket over while it shakes hands, so keep another handle.
            try:
                line.hold(sock.dup(), spare=True)
            except LineCut:
                sock.close()
                raise
        return sock

    def connect(self: Any) -> None:
        """Connect, and through a proxy and TLS, so that the line can end it anywhere."""
        with outside():
            super().connect()  # type: ignore[misc]
        if self.line is not None:
            self.line.hold(_plain(self.sock))
            self.line.up = True

    def request(self: Any, *args: Any, **options: Any) -> None:
        """Send head and body together: a server that got one would wait for the other."""
        parts: list[bytes] = []
        self.held = parts
        try:
            super().request(*args, **options)  # type: ignore[misc]
        finally:
            self.held = None
        self.send(b"".join(parts))

    def send(self: Any, data: Any) -> None:
        """Send; what is long may have to wait for the server to read it."""
        if self.held is not None:
            self.held.append(data)
            return
        if len(data) < _SHORT:
            super().send(data)  # type: ignore[misc]
            return
        view = memoryview(data)
        with outside():
            for at in range(0, len(data), _SHORT):  # the time is for each, not for all
                super().send(view[at : at + _SHORT])  # type: ignore[misc]

    def getresponse(self: Any) -> Any:
        """Wait until an answer begins, and read its head."""
        sock: Any = self.sock
        with outside():
            # TLS may have taken something from the socket already.
            there = hasattr(sock, "pending") and bool(sock.pending())
            if not there and not wait_for_read(sock, self.timeout):
                raise TimeoutError("no answer in time")
            if not _whole_head(sock):
                return self._head()  # out here, where a slow one keeps nobody waiting
        return self._head()

    def _head(self: Any) -> Any:
        return cast(Any, super().getresponse())  # type: ignore[misc]


class _Connection(_Mine, HTTPConnection): ...


class _TLSConnection(_Mine, HTTPSConnection):
    spare = True


class _Lent:
    """A pool that hands its connections to lines, and takes back none that was shut."""

    def _get_conn(self: Any, timeout: float | None = None) -> Any:
        conn = cast(Any, super()._get_conn(timeout))  # type: ignore[misc]
        conn.line = line = here.line
        if line is not None and conn.sock is not None:
            line.up = line.reused = True
            try:
                line.hold(_plain(conn.sock))
            except LineCut:
                conn.close()
                raise
        return conn

    def _put_conn(self: Any, conn: Any) -> None:
        if conn is not None and conn.line is not None:
            line, conn.line = conn.line, None
            if not line.free():
                conn.close()
        super()._put_conn(conn)  # type: ignore[misc]


class _Pool(_Lent, HTTPConnectionPool):
    ConnectionCls: Any = _Connection


class _TLSPool(_Lent, HTTPSConnectionPool):
    ConnectionCls: Any = _TLSConnection


class Mount(HTTPAdapter):
    """Requests' own adapter, for its proxies, certificates and pools, with these pools.

    Args:
        connections: How many are kept for later calls.
    """

    def __init__(self, connections: int) -> None:
        super().__init__(pool_connections=4, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """Pools of our kind."""
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Pools of our kind behind this proxy."""
        manager = super().proxy_manager_for(proxy, **settings)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


_SHORT = 16384  # bytes that a socket takes without waiting
_POOLS: dict[str, Any] = {"http": _Pool, "https": _TLSPool}


def _plain(sock: Any) -> socket.socket:
    """The socket under TLS inside TLS, which is what a proxy with TLS gives."""
    return cast(socket.socket, getattr(sock, "socket", sock))


def _whole_head(sock: Any) -> bool:
    """Whether the head of an answer can be read at once; nobody can tell under TLS."""
    if type(sock) is not socket.socket:
        return False
    seen = sock.recv(_SHORT, socket.MSG_PEEK)
    return b"\r\n\r\n" in seen and seen[9:10] != b"1"  # an early one has another behind


def _dial(conn: Any, line: Line) -> socket.socket:
    """Connect to the first address that answers."""
    seconds = conn.timeout if isinstance(conn.timeout, int | float) else None
    trouble: OSError = socket.gaierror("no address")
    for family, kind, proto, _, address in _look_up(
        conn.host, conn.port, line, seconds
    ):
        sock = socket.socket(family, kind, proto)
        try:
            for option in conn.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(seconds)
            if conn.source_address:
                sock.bind(conn.source_address)
            line.hold(sock)
            sock.connect(address)
        except OSError as error:
            line.free()
            sock.close()
            if line.cut:
                raise LineCut from None
            trouble = error
        else:
            return sock
    raise trouble


def _look_up(host: str, port: int, line: Line, seconds: float | None) -> list[Any]:
    """Resolve a name in a thread that can be left, as a resolver cannot be stopped."""
    try:
        return _resolve(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # it is a name, not an address
    found: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        try:
            found.append(_resolve(host, port, 0))
        except Exception as error:
            found.append(error)
        done.set()

    threading.Thread(target=ask, name="waybell-name", daemon=True).start()
    line.wait(done, seconds)
    answer = found[0] if found else TimeoutError(f"no address of {host} in time")
    if isinstance(answer, Exception):
        raise answer
    return cast(list[Any], answer)


def _resolve(host: str, port: int, flags: int) -> list[Any]:
    name = host.strip("[]")
    return socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM, 0, flags)
