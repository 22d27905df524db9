"""Connections of requests' pools that belong to a call and end when it is ended.

Imported when the first call is made, as it imports requests.
"""

import socket
import threading
from concurrent.futures import Future
from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from waybell_adapters._line import Line, LineCut
from waybell_adapters._wait import do


class _Mine:
    """A connection whose socket belongs to the line of this thread's call."""

    line: Line | None = None
    spare = False

    def _new_conn(self: Any) -> socket.socket:
        line = self.line or Line()
        try:
            sock = _dial(self, line)
        except (LineCut, TimeoutError):
            raise
        except OSError as error:
            raise OSError(f"no connection to {self.host}: {error}") from error
        if self.spare:
            # TLS takes the socket over while it shakes hands, so keep another handle.
            try:
                line.hold(sock.dup(), spare=True)
            except OSError:
                sock.close()
                raise
        return sock


class _Connection(_Mine, HTTPConnection): ...


class _TLSConnection(_Mine, HTTPSConnection):
    spare = True


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Connection


class _TLSPool(HTTPSConnectionPool):
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


_POOLS: dict[str, Any] = {"http": _Pool, "https": _TLSPool}


def _dial(conn: Any, line: Line) -> socket.socket:
    """Connect to the first address that answers."""
    seconds = conn.timeout if isinstance(conn.timeout, int | float) else None
    trouble: OSError = socket.gaierror("no address")
    for *kind, _, address in _look_up(conn.host, conn.port, line, seconds):
        try:
            return _open(conn, line, seconds, kind, address)
        except OSError as error:
            if line.cut:
                raise LineCut from None
            trouble = error
    raise trouble


def _open(
    conn: Any, line: Line, seconds: float | None, kind: list[Any], address: Any
) -> socket.socket:
    sock = socket.socket(*kind)
    try:
        for option in conn.socket_options or ():
            sock.setsockopt(*option)
        sock.settimeout(seconds)
        if conn.source_address:
            sock.bind(conn.source_address)
        line.hold(sock)
        sock.connect(address)
    except BaseException:
        line.free()
        sock.close()
        raise
    return sock


def _look_up(host: str, port: int, line: Line, seconds: float | None) -> list[Any]:
    """Resolve a name in a thread that can be left, as a resolver cannot be stopped."""
    try:
        return _resolve(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # it is a name, not an address
    found, done = Future[list[Any]](), threading.Event()
    found.add_done_callback(lambda _: done.set())
    job = (found, partial(_resolve, host, port, 0))
    threading.Thread(target=do, args=job, name="waybell-name", daemon=True).start()
    line.sleep(seconds, done)
    if not found.done():
        raise TimeoutError(f"no address of {host} in time")
    return found.result()


def _resolve(host: str, port: int, flags: int) -> list[Any]:
    name = host.strip("[]")
    return socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM, 0, flags)
