"""HTTP connections whose sockets we open, and of which no read is without end."""

from collections.abc import Callable
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse
from io import BufferedReader
from socket import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


#: What opens the socket of a connection, for the download under way.
DIAL: ContextVar[Callable[[HTTPConnection], socket]] = ContextVar("waybell_tools_dial")
_MOST_LINES = 1_000_000  # bytes of headers, sizes of chunks and trailers


def _dialled(self: HTTPConnection) -> socket:
    """SNI, the certificate and the Host header go by the host's name all the same."""
    return DIAL.get()(self)


class _Reader(BufferedReader):
    """What a server sends, read in pieces whose size is ours to say, not its."""

    lines = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:  # http.client takes a chunk of -1 bytes for all
            raise HTTPException("a size below 0")
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.lines += len(line)
        if self.lines > _MOST_LINES:
            raise HTTPException("headers without end")
        return line


class _Answer(HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp: Any = _Reader(self.fp.detach())


class _Http(HTTPConnection):
    _new_conn = _dialled
    response_class: Any = _Answer


class _Https(HTTPSConnection):
    _new_conn = _dialled
    response_class: Any = _Answer


class _HttpPool(HTTPConnectionPool):
    ConnectionCls: Any = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls: Any = _Https


class Adapter(HTTPAdapter):
    """What requests sends with; without a session there is no netrc and no cookie."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        pools = {"http": _HttpPool, "https": _HttpsPool}
        self.poolmanager.pool_classes_by_scheme = pools
