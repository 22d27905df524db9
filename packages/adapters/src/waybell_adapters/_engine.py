"""What the calls of one adapter share in one process: connections, threads, a watcher.

Imported when the first call is made, as it imports requests.
"""

import threading
from typing import TYPE_CHECKING, Any

import requests
from urllib3.util import Retry, Timeout

from waybell_adapters._dial import Gate, Mount, here
from waybell_adapters._line import Line, Watcher
from waybell_adapters._threads import Mailbox, Threads


if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from urllib3.response import BaseHTTPResponse


CONNECT = 10.0  # seconds in which a server is to take a connection
_ONCE = Retry(False, redirect=False)  # urllib3 raises at once: retries have one owner


class Engine:
    """One server's connections, and the threads that use them.

    Args:
        url: Where every request goes.
        headers: What every request carries.
        session: Proxies, certificates and `trust_env` are taken from it.
        connections: Calls that may run at once in threads.
        timeout: Seconds of silence after which a server counts as gone.
    """

    __slots__ = (
        "_boxes", "_closed", "_gate", "_headers", "_lines", "_lock", "_mount", "_path", "_pool", "_timeout",
        "threads", "watcher",
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
        self._path: str = mount.request_url(request, proxies)
        self._headers = headers
        self._timeout = timeout
        self._gate = Gate()
        self.threads = Threads(connections)
        self.watcher = Watcher()
        self._lines: set[Line] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._boxes: dict[AbstractEventLoop, Mailbox] = {}

    def send(self, line: Line, body: bytes, cap: float | None) -> "BaseHTTPResponse":
        """Send a request and read the head of its answer.

        Args:
            line: Owns the connection until the answer has been read.
            body: JSON.
            cap: Seconds that any wait may take at most.
        """
        times = [t for t in (cap, self._timeout) if t is not None]
        quiet = min(times, default=None)
        connect = CONNECT if quiet is None else min(quiet, CONNECT)
        # urllib3 takes no zero; the deadline itself is kept by the watcher.
        timeout = Timeout(
            connect=max(connect, 0.001),
            read=None if quiet is None else max(quiet, 0.001),
        )
        here.line, here.gate = line, self._gate
        self._gate.enter()
        try:
            response: BaseHTTPResponse = self._pool.urlopen(
                "POST", self._path, body=body, headers=self._headers, retries=_ONCE,
                redirect=False, assert_same_host=False, timeout=timeout,
                preload_content=False, decode_content=False,
            )  # fmt: skip
        except BaseException:
            line.free()  # its connection has been closed
            raise
        finally:
            here.line = here.gate = None
            self._gate.leave()
        return response

    def enter(self, line: Line) -> None:
        """Know of a call, so that `close` can end it, also one that waited its turn."""
        self._lines.add(line)
        if self._closed:
            line.shut()

    def leave(self, line: Line) -> None:
        """Forget a call that has ended."""
        self._lines.discard(line)
        self.watcher.drop(line)

    def mailbox(self, loop: "AbstractEventLoop") -> Mailbox:
        """The way into this loop."""
        with self._lock:
            box = self._boxes.get(loop)
            if box is None:
                old = self._boxes.items()
                self._boxes = {k: v for k, v in old if not k.is_closed()}
                box = self._boxes[loop] = Mailbox(loop)
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
