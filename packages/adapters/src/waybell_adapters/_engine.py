"""What the calls of one adapter share in one process: connections, threads, a watcher.

Imported when the first call is made, as it imports requests.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import requests
from urllib3.util.proxy import connection_requires_http_tunnel

from waybell_adapters._dial import Mount
from waybell_adapters._exchange import Exchange
from waybell_adapters._line import Line, Turns, Watcher
from waybell_adapters._threads import Mailbox, Threads


if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


CONNECT = 10.0  # seconds in which a server is to take a connection
_DEFAULT = {"http": ":80", "https": ":443"}


class Engine:
    """One server's connections, and the threads that use them.

    Args:
        url: Where every request goes.
        headers: What every request carries.
        session: Proxies, certificates and `trust_env` are taken from it.
        connections: Calls of loops that may run at once.
        timeout: Seconds of silence after which a server counts as gone.
    """

    __slots__ = (
        "_boxes", "_closed", "_head", "_lines", "_lock", "_mount", "_pool", "_timeout",
        "_tunnel", "lost", "threads", "turns", "watcher",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        *,
        session: requests.Session | None,
        connections: int,
        timeout: float | None,
    ) -> None:
        session = session or requests.Session()
        request = requests.Request("POST", url, headers=headers).prepare()
        settings = session.merge_environment_settings(
            str(request.url), {}, True, session.verify, session.cert
        )
        proxies, verify = settings["proxies"], settings["verify"]
        mount: Any = Mount(connections)
        pool: Any = mount.get_connection_with_tls_context(
            request, verify, proxies=proxies, cert=settings["cert"]
        )
        mount.cert_verify(pool, str(request.url), verify, settings["cert"])
        self._mount = mount
        self._pool = pool
        scheme, _, rest = str(request.url).partition("://")
        host = rest.partition("/")[0].removesuffix(_DEFAULT[scheme])
        lines = {"Host": host} | dict(headers)
        proxy = pool.proxy
        self._tunnel = bool(proxy) and connection_requires_http_tunnel(
            proxy, pool.proxy_config, scheme
        )
        if proxy and not self._tunnel:
            lines |= pool.proxy_headers
        self._head = _head(mount.request_url(request, proxies), lines)
        self._timeout = timeout
        self.threads = Threads(connections)
        self.lost: deque[Callable[[], object]] = deque()  # streams that nobody closed
        self.turns = Turns(connections)
        self.watcher = Watcher()
        self._lines: set[Line] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._boxes: dict[AbstractEventLoop, Mailbox] = {}

    def exchange(self, line: Line, cap: float | None, *, looped: bool) -> Exchange:
        """A request that can be sent.

        Args:
            line: Owns the connection until the answer has been read.
            cap: Seconds that any wait may take at most.
            looped: Whether a loop drives it.
        """
        times = [max(t, 0.001) for t in (cap, self._timeout) if t is not None]
        quiet = min(times, default=None)
        connect = CONNECT if quiet is None else min(quiet, CONNECT)
        return Exchange(self, line, connect=connect, quiet=quiet, looped=looped)

    def request(self, body: bytes) -> bytes:
        """The bytes of a request with this body."""
        return b"%s%d\r\n\r\n%s" % (self._head, len(body), body)

    def lend(self) -> Any:
        """A connection of the pool, connected or not."""
        return self._pool._get_conn()  # noqa: SLF001 - what a pool is to be used by

    def join(self, conn: Any) -> None:
        """Connect, and through a proxy and TLS."""
        if self._tunnel:
            self._pool._prepare_proxy(conn)  # noqa: SLF001 - as above
        if conn.is_closed:
            conn.connect()
        self._pool._validate_conn(conn)  # noqa: SLF001 - which warns where it is not safe

    def take_back(self, conn: Any) -> None:
        """Keep a connection for later calls."""
        self._pool._put_conn(conn)  # noqa: SLF001 - as above

    def enter(self, line: Line) -> None:
        """Know of a call, so that `close` can end it, also one that waited its turn."""
        self._end_lost()
        self._lines.add(line)
        if self._closed:
            line.shut()

    def leave(self, line: Line) -> None:
        """Forget a call that has ended."""
        self._lines.discard(line)
        self.watcher.drop(line)
        self.turns.leave(line)

    def mailbox(self, loop: "AbstractEventLoop") -> Mailbox:
        """The way into this loop."""
        box = self._boxes.get(loop)
        if box is not None:
            return box
        with self._lock:
            old = self._boxes.items()
            closed = [box for known, box in old if known.is_closed()]
            self._boxes = {k: v for k, v in old if v not in closed}
            box = self._boxes.setdefault(loop, Mailbox(loop))
        # Tasks of a loop that was closed without an end of theirs keep nobody waiting.
        for line in [line for gone in closed for line in gone.lines]:
            self.leave(line)
            line.shut()
            line.watch(None)
        return box

    def close(self) -> None:
        """End all calls, and let threads and connections go."""
        self._closed = True
        for line in list(self._lines):
            line.shut()
        self.threads.close()
        self.watcher.close()
        self._mount.close()
        self._pool.close()
        self._end_lost()

    def _end_lost(self) -> None:
        while self.lost:
            with suppress(Exception):  # a complaint about money has nobody to hear it
                self.lost.popleft()()


def _head(path: str, headers: dict[str, str]) -> bytes:
    """The beginning of every request, until its length."""
    named = {name.lower(): f"{name}: {value}\r\n" for name, value in headers.items()}
    for ours in ("content-length", "transfer-encoding"):
        named.pop(ours, None)
    text = f"POST {path} HTTP/1.1\r\n{''.join(named.values())}Content-Length: "
    return text.encode("ascii")
