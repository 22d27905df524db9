import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import trustme


class Loopback:
    """A server on loopback that answers each connection with what a function sends."""

    def __init__(
        self,
        answer: Callable,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.answer, self.tls = answer, tls
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self.closed_by_peer = threading.Event()
        self.threads: list[threading.Thread] = []
        self._spawn(self._accept)

    def _spawn(self, fn: Callable, *args: object) -> None:
        thread = threading.Thread(target=fn, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._spawn(self._serve, conn)

    def _serve(self, conn: socket.socket) -> None:
        with ExitStack() as stack:
            stack.enter_context(conn)
            try:
                if self.tls:
                    conn = self.tls.wrap_socket(conn, server_side=True)
                    stack.enter_context(conn)
                data = b""
                while b"\r\n\r\n" not in data and (more := conn.recv(65536)):
                    data += more
                self.requests.append(data)
                self.answer(self, conn, data)
            except OSError:
                self.closed_by_peer.set()

    def drip(self, conn: socket.socket, byte: bytes = b"x") -> None:
        """One byte after another, until the other side or the test has had enough."""
        while not self.stopped.wait(0.005):
            conn.sendall(byte)

    def close(self) -> None:
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(5)


@pytest.fixture
def loopback() -> Iterator[Callable]:
    """Make servers: `loopback(b"...")`, or a function of server, socket and request."""
    servers: list[Loopback] = []

    def make(answer: bytes | Callable, **options: object) -> Loopback:
        if isinstance(answer, bytes):
            data = answer
            answer = lambda server, conn, request: conn.sendall(data)  # noqa: E731
        servers.append(Loopback(answer, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


def page(body: bytes, kind: str = "text/plain", *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.fixture
def answers() -> type:
    return type(
        "Answers", (), {"page": staticmethod(page), "redirect": staticmethod(redirect)}
    )
