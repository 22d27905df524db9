"""One download, through connections that are opened only to checked addresses."""

import codecs
import re
import socket
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic
from typing import Any, NoReturn
from urllib.parse import urljoin

import requests
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from waybell_tools._addresses import check_url
from waybell_tools._errors import (
    ToolDenied,
    ToolError,
    ToolLimitError,
    ToolTimeoutError,
)
from waybell_tools._threads import DAEMONS, HALT
from waybell_tools._wire import DOWNLOAD, Adapter


_HEADERS = {
    "User-Agent": "waybell-tools",
    "Accept": "text/*, application/json, application/xml;q=0.9, */*;q=0.1",
    "Accept-Encoding": "gzip",  # one that can be unpacked up to a limit
    "Connection": "close",
}
_TEXT = re.compile(r"(?i)text/|application/(.*\+)?(json|xml|javascript|yaml|toml)\b")
# Codecs of text that are also fast: punycode and its like take quadratic time.
_CHARSETS = re.compile(r"(?i)utf|ascii|iso8859|cp\d|koi8|gb|big5|shift|euc|latin|mac")
_MOST_ADDRESSES = 4
_LONGEST = 86_400.0  # seconds, which a socket can wait
_LONGEST_URL = 8000  # about what servers take


class _Stop(Exception):
    """Carries an error of ours out of urllib3."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses that the system knows."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a download may do; see `http_get`."""

    max_bytes: int
    max_redirects: int
    ports: frozenset[int]
    verify: bool | str
    allow: Callable[[str], bool]
    resolve: Callable[[str, int], Iterable[str]]
    connect: Callable[[tuple[str, int], float], socket.socket]


class Fetch:
    """One download, its redirects included, in so many seconds."""

    __slots__ = ("_end", "_rules", "_sockets", "_stopped", "_url")

    def __init__(self, rules: Rules, seconds: float) -> None:
        self._rules, self._end = rules, monotonic() + min(seconds, _LONGEST)
        self._sockets: list[socket.socket] = []
        self._stopped: Future[Any] = Future()

    def get(self, url: str) -> dict[str, Any]:
        """Read it.

        Raises:
            ToolDenied: The URL, or an address, is not a public one.
            ToolLimitError: Too large, or too many redirects.
            ToolTimeoutError: It took too long, however it was slow.
            ToolError: It could not be read.
        """
        self._url = url[:500]
        if (halt := HALT.get()) is not None:
            halt.call(self.stop)
        token = DOWNLOAD.set(self)
        try:
            return self._follow(url)
        except _Stop as stop:
            raise stop.args[0] from None
        except (OSError, HTTPError, HTTPException, ValueError, zlib.error) as error:
            if isinstance(error, ToolError):
                raise
            self.patience()
            raise ToolError(f"{self._url}: {error}") from error
        finally:
            DOWNLOAD.reset(token)
            for sock in self._sockets:
                sock.close()  # now, not when the pool is collected

    def stop(self) -> None:
        """End it: a reader wakes when its socket is shut, not when that is closed."""
        self._stopped.set_result(None)
        for sock in tuple(self._sockets):
            _shut(sock)

    def _follow(self, url: str) -> dict[str, Any]:
        most = self._rules.max_redirects
        for _ in range(most + 1):
            with closing(Adapter()) as adapter, self._answer(adapter, url) as response:
                if not response.is_redirect:
                    return self._page(response)
                place = response.headers["location"].encode("latin-1")
                url = urljoin(response.url, place.decode(errors="replace"))
        return self._refuse(ToolLimitError, f"more than {most} redirects")

    def _answer(self, adapter: Adapter, url: str) -> requests.Response:
        if len(url) > _LONGEST_URL:
            self._refuse(ToolDenied, f"is longer than {_LONGEST_URL} characters")
        request = requests.Request("GET", url, _HEADERS).prepare()
        check_url(url, request.url or "", self._rules.ports)
        seconds, verify = self.patience(), self._rules.verify
        return adapter.send(
            request, stream=True, timeout=seconds, verify=verify, proxies={}
        )

    def dial(self, connection: HTTPConnection) -> socket.socket:
        """Connect to an address of the host, all of which were checked just now."""
        host, port = connection.host.strip("[]"), connection.port or 0
        try:
            if port not in self._rules.ports:
                self._refuse(ToolDenied, f"port {port} is not allowed")
            found = DAEMONS.submit(lambda: list(self._rules.resolve(host, port)))
            wait([found, self._stopped], self.patience(), FIRST_COMPLETED)
            self.patience()
            addresses = list(dict.fromkeys(found.result(0)))
            for address in addresses:
                if not self._rules.allow(address):
                    why = f"{host} is at {address}, not a public address"
                    self._refuse(ToolDenied, why)
            return self._connected(host, port, addresses[:_MOST_ADDRESSES])
        except ToolError as error:
            raise _Stop(error) from None

    def _connected(self, host: str, port: int, addresses: list[str]) -> socket.socket:
        failure: OSError = OSError(f"{host} has no address")
        for n, address in enumerate(addresses):
            seconds = max(0.01, self.patience() / (len(addresses) - n))
            try:
                sock = self._rules.connect((address, port), seconds)
            except OSError as error:
                failure = error
                continue
            self._sockets.append(sock)
            self._sockets.append(sock.dup())  # TLS will take the other one's place
            if self._stopped.done():
                _shut(sock)
            sock.settimeout(self.patience())
            return sock
        raise failure

    def _page(self, response: requests.Response) -> dict[str, Any]:
        if response.status_code < 200:
            self._refuse(ToolError, f"ends with {response.status_code}")
        kind = response.headers.get("content-type", "")
        if kind and not _TEXT.match(kind):
            self._refuse(ToolError, f"is {kind[:100]}, not text")
        packing = response.headers.get("content-encoding", "").lower() or "identity"
        coding = response.headers.get("transfer-encoding", "chunked").lower()
        if packing not in ("identity", "gzip") or coding != "chunked":
            why = f"is packed as {packing[:99]}, {coding[:99]}, which nobody asked"
            self._refuse(ToolError, why)
        unpack = zlib.decompressobj(31) if packing == "gzip" else None
        body = self._body(response, unpack)
        self.patience()  # a shut socket looks like the end of a body
        return {
            "url": response.url,
            "status": response.status_code,
            "content_type": kind[:200],
            "text": body.decode(_charset(response.encoding), "replace"),
        }

    def _body(self, response: requests.Response, unpack: Any) -> bytes:
        most, size, body = self._rules.max_bytes, 0, bytearray()
        while data := response.raw.read(65536, decode_content=False):
            size += len(data)
            body += unpack.decompress(data, most + 1 - len(body)) if unpack else data
            if max(size, len(body)) > most:
                self._refuse(ToolLimitError, f"is larger than {most} bytes")
            self.patience()
        if unpack and size and (not unpack.eof or unpack.unused_data.strip(b"\0")):
            self._refuse(ToolError, "is not one whole gzip stream")
        return bytes(body)

    def patience(self) -> float:
        """Seconds that are left; a `ToolTimeoutError` when there are none."""
        left = self._end - monotonic()
        if self._stopped.done() or left <= 0:
            self._refuse(ToolTimeoutError, "took too long")
        return left

    def _refuse(self, kind: type[ToolError], why: str) -> NoReturn:
        raise kind(f"{self._url}: {why}", tool="http_get")


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        sock.shutdown(socket.SHUT_RDWR)


def _charset(name: str | None) -> str:
    try:
        known = codecs.lookup(name or "").name
    except (LookupError, ValueError):
        return "utf-8"
    return known if _CHARSETS.match(known) else "utf-8"
