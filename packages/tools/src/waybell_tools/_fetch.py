"""One download, through connections that are opened only to checked addresses."""

import codecs
import re
import socket
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from threading import Timer
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
from waybell_tools._wire import DIAL, Adapter


_HEADERS = {
    "User-Agent": "waybell-tools",
    "Accept": "text/*, application/json, application/xml;q=0.9, */*;q=0.1",
    "Accept-Encoding": "gzip",  # one that can be unpacked up to a limit
    "Connection": "close",
}
_TEXT = re.compile(
    r"text/|application/(.*\+)?(json|xml|javascript|yaml|toml)\b", re.IGNORECASE
)
# Codecs of text that are also fast: punycode and its like take quadratic time.
_CHARSETS = re.compile(
    r"utf|ascii|iso8859|cp\d|koi8|gb|big5|shift|euc|latin|mac", re.IGNORECASE
)
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

    __slots__ = ("_end", "_opened", "_rules", "_sockets", "_url", "late")

    def __init__(self, rules: Rules, seconds: float) -> None:
        self._rules, self._end = rules, monotonic() + min(seconds, _LONGEST)
        self._sockets: list[socket.socket] = []
        self._opened: list[HTTPConnection] = []
        self._url = ""
        self.late = False

    def get(self, url: str) -> dict[str, Any]:
        """Read it.

        Raises:
            ToolDenied: The URL, or an address, is not a public one.
            ToolLimitError: Too large, or too many redirects.
            ToolTimeoutError: It took too long, however it was slow.
            ToolError: It could not be read.
        """
        self._url = url[:500]
        timer = Timer(max(0.0, self._left()), self.stop)
        timer.daemon = True
        timer.start()
        if (halt := HALT.get()) is not None:
            halt.call(self.stop)
        token = DIAL.set(self._dial)
        try:
            return self._follow(url)
        except _Stop as stop:
            raise stop.args[0] from None
        except (OSError, HTTPError, HTTPException, ValueError, zlib.error) as error:
            if isinstance(error, ToolError):
                raise
            self._in_time()
            raise ToolError(f"{self._url}: {error}") from error
        finally:
            DIAL.reset(token)
            timer.cancel()
            opened: list[Any] = [*self._opened, *self._sockets]
            for connection in opened:
                connection.close()  # now, not when the pool is collected

    def stop(self) -> None:
        """End it: a reader wakes when its socket is shut, not when that is closed."""
        self.late = True
        for sock in tuple(self._sockets):
            _shut(sock)

    def _follow(self, url: str) -> dict[str, Any]:
        for _ in range(self._rules.max_redirects + 1):
            with closing(Adapter()) as adapter:
                self._in_time()
                if len(url) > _LONGEST_URL:
                    why = f"is longer than {_LONGEST_URL} characters"
                    self._refuse(ToolDenied, why)
                request = requests.Request("GET", url, _HEADERS).prepare()
                check_url(url, request.url or "", self._rules.ports)
                response = adapter.send(
                    request,
                    stream=True,
                    timeout=max(0.01, self._left()),
                    verify=self._rules.verify,
                    proxies={},
                )
                with response:
                    if not response.is_redirect:
                        return self._page(response)
                    place = response.headers["location"].encode("latin-1")
                    url = urljoin(response.url, place.decode(errors="replace"))
        return self._refuse(
            ToolLimitError, f"more than {self._rules.max_redirects} redirects"
        )

    def _dial(self, connection: HTTPConnection) -> socket.socket:
        """Connect to an address of the host, all of which were checked just now."""
        self._opened.append(connection)
        host, port = connection.host.strip("[]"), connection.port or 0
        try:
            if port not in self._rules.ports:
                self._refuse(ToolDenied, f"port {port} is not allowed")
            found = DAEMONS.submit(lambda: list(self._rules.resolve(host, port)))
            addresses = list(dict.fromkeys(found.result(max(0.01, self._left()))))
            for address in addresses:
                if not self._rules.allow(address):
                    self._refuse(
                        ToolDenied, f"{host} is at {address}, not a public address"
                    )
            return self._connected(host, port, addresses[:_MOST_ADDRESSES])
        except Exception as error:
            if isinstance(error, ToolError):
                raise _Stop(error) from None
            raise

    def _connected(self, host: str, port: int, addresses: list[str]) -> socket.socket:
        failure: OSError = OSError(f"{host} has no address")
        for n, address in enumerate(addresses):
            self._in_time()
            try:
                patience = max(0.01, self._left() / (len(addresses) - n))
                sock = self._rules.connect((address, port), patience)
            except OSError as error:
                failure = error
                continue
            self._sockets.append(sock.dup())  # TLS will take the other one's place
            if self.late:
                _shut(sock)
            sock.settimeout(max(0.01, self._left()))
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
            self._refuse(
                ToolError,
                f"is packed as {packing[:100]}, {coding[:100]}, which nobody asked",
            )
        body = self._body(
            response, zlib.decompressobj(31) if packing == "gzip" else None
        )
        self._in_time()  # a shut socket looks like the end of a body
        return {
            "url": response.url,
            "status": response.status_code,
            "content_type": kind,
            "text": body.decode(_charset(response.encoding), "replace"),
        }

    def _body(self, response: requests.Response, unpack: Any) -> bytes:
        most, size = self._rules.max_bytes, 0
        body = bytearray()
        while data := response.raw.read(65536, decode_content=False):
            size += len(data)
            body += unpack.decompress(data, most + 1 - len(body)) if unpack else data
            if max(size, len(body)) > most:
                self._refuse(ToolLimitError, f"is larger than {most} bytes")
            self._in_time()
        if unpack and size and (not unpack.eof or unpack.unused_data.strip(b"\0")):
            self._refuse(ToolError, "is not one whole gzip stream")
        return bytes(body)

    def _left(self) -> float:
        return self._end - monotonic()

    def _in_time(self) -> None:
        if self.late or self._left() <= 0:
            self._refuse(ToolTimeoutError, "took too long")

    def _refuse(self, kind: type[ToolError], why: str) -> NoReturn:
        raise kind(f"{self._url}: {why}", tool="http_get")


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself


def _charset(name: str | None) -> str:
    try:
        known = codecs.lookup(name or "").name
    except (LookupError, ValueError):
        return "utf-8"
    return known if _CHARSETS.match(known) else "utf-8"
