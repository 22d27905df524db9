"""HTTP connections whose sockets we open, and of which no read is without end."""

from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse
from io import BufferedReader
from socket import SocketIO, socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


#: The one under way here, a `Fetch`: it opens the sockets, and says what time is left.
DOWNLOAD: ContextVar[Any] = ContextVar("waybell_tools_download")
_MOST_LINES = 1_000_000  # bytes of headers, sizes of chunks and trailers


def _dialled(self: HTTPConnection) -> Any:
    """SNI, the certificate and the Host header go by the host's name all the same."""
    return DOWNLOAD.get().dial(self)


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


class _Wire(SocketIO):
    """What comes over a socket, each piece of it only while there is time."""

    _sock: Any  # as its class calls it

    def readinto(self, b: Any) -> int | None:
        self._sock.settimeout(DOWNLOAD.get().patience())
        return super().readinto(b)


class _Answer(HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        wire: Any = self.fp.detach()
        wire.__class__ = _Wire
        self.fp: Any = _Reader(wire)


def _pool(pool: type[HTTPConnectionPool], connection: type[HTTPConnection]) -> type:
    ours = {"_new_conn": _dialled, "response_class": _Answer}
    return type("_Pool", (pool,), {"ConnectionCls": type("_Http", (connection,), ours)})


class Adapter(HTTPAdapter):
    """What requests sends with; without a session there is no netrc and no cookie."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS


_POOLS = {
    "http": _pool(HTTPConnectionPool, HTTPConnection),
    "https": _pool(HTTPSConnectionPool, HTTPSConnection),
}
