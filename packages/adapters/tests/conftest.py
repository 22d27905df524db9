"""What the tests share: fakes of a deadline and a budget, and a scripted server."""

import json
import select
import socket
import ssl
import threading
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from waybell_adapters import AnthropicAdapter, OllamaAdapter, OpenAIAdapter


WIRE = Path(__file__).parent / "wire"


class SpyDeadline:
    """Passes after so many checks."""

    def __init__(self, checks: int = 10**9) -> None:
        self.left = checks

    def check(self) -> None:
        if self.left <= 0:
            raise TimeoutError("the deadline has passed")
        self.left -= 1

    def timeout(self, cap=None):
        return cap if self.left > 0 else 0.0


class Overspent(Exception):
    """What a budget raises."""


class SpyBudget:
    """Books all, and complains past a number of tokens."""

    def __init__(self, tokens: float = float("inf")) -> None:
        self.tokens = tokens
        self.checked = []
        self.charged = []

    def check(self, **amounts) -> None:
        self.checked.append(amounts)
        if amounts["tokens"] > self.tokens:
            raise Overspent("before")

    def charge(self, **amounts) -> None:
        self.charged.append(amounts)
        if sum(amounts["usage"].values()) > self.tokens:
            raise Overspent("after")


@pytest.fixture
def spies():
    """The fakes, as a namespace."""

    class Spies:
        Deadline = SpyDeadline
        Budget = SpyBudget
        Overspent = Overspent

    return Spies


class Request:
    """What a client sent."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.path = lines[0].split(" ")[1]
        pairs = (line.split(":", 1) for line in lines[1:])
        self.headers = {name.lower(): value.strip() for name, value in pairs}
        self.body = body
        self.json = json.loads(body) if body else None


class Server:
    """Gives answers in turn: bytes to send, or callables of the connection.

    The last answer is given for ever. `ended` is set when a client has left.
    """

    def __init__(self, wrap=None) -> None:
        self.answers = deque()
        self.requests = []
        self.connections = 0
        self.ended = threading.Event()
        self.got = threading.Event()
        self._wrap = wrap
        self._open = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = self._listener.getsockname()[1]
        scheme = "https" if wrap else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def say(self, *answers) -> "Server":
        self.answers.extend(answers)
        return self

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for conn, thread in self._open:
            with suppress(OSError):  # it has ended
                conn.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            conn.close()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(conn,), daemon=True)
            self._open.append((conn, thread))
            thread.start()

    def _serve(self, raw) -> None:
        conn = raw
        try:
            if self._wrap is not None:
                conn = self._wrap(raw)
            while True:
                request = self._read(conn)
                if request is None:
                    break
                with self._lock:
                    self.requests.append(request)
                    answer = self.answers[0]
                    if len(self.answers) > 1:
                        self.answers.popleft()
                self.got.set()
                if callable(answer):
                    answer(conn, request)
                else:
                    conn.sendall(answer)
        except (OSError, ValueError):
            pass  # the client has left
        finally:
            if conn is not raw:
                conn.close()
            raw.close()
            self.ended.set()

    def _read(self, conn):
        data = b""
        while b"\r\n\r\n" not in data:
            more = conn.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < size:
            body += conn.recv(65536)
        return Request(head, body)


class Wire:
    """Answers as bytes."""

    @staticmethod
    def recorded(name: str) -> bytes:
        """A body that a real server sent."""
        return (WIRE / f"{name}.txt").read_bytes()

    @staticmethod
    def http(status=200, body=b"", kind="text/event-stream", size=None, **headers):
        """A whole answer; with a size its body is chunked so."""
        if isinstance(body, dict | list):
            body, kind = json.dumps(body).encode(), "application/json"
        lines = [f"HTTP/1.1 {status} So", f"content-type: {kind}"]
        lines += [
            f"{name.replace('_', '-')}: {value}" for name, value in headers.items()
        ]
        if size is None:
            lines.append(f"content-length: {len(body)}")
        else:
            lines.append("transfer-encoding: chunked")
            cuts = (body[at : at + size] for at in range(0, len(body), size))
            body = b"".join(Wire.chunk(part) for part in cuts) + b"0\r\n\r\n"
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    @staticmethod
    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    @staticmethod
    def head(kind="text/event-stream") -> bytes:
        """The head of an answer whose body is chunked."""
        lines = [
            "HTTP/1.1 200 OK",
            f"content-type: {kind}",
            "transfer-encoding: chunked",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    @staticmethod
    def sse(*events) -> bytes:
        texts = (e if isinstance(e, str) else json.dumps(e) for e in events)
        return "".join(f"data: {text}\n\n" for text in texts).encode()

    @staticmethod
    def chat(*deltas, stop="stop", usage=None) -> bytes:
        """A stream of OpenAI's: texts or deltas."""
        made = [{"content": d} if isinstance(d, str) else d for d in deltas]
        events = [{"choices": [{"index": 0, "delta": delta}]} for delta in made]
        if stop:
            events.append({"choices": [{"delta": {}, "finish_reason": stop}]})
        if usage:
            events.append({"choices": [], "usage": usage})
        return Wire.sse(*events, *(["[DONE]"] if stop else []))

    @staticmethod
    def part(vendor: str, text: str) -> bytes:
        """The first piece of a vendor's stream."""
        return {
            "openai": Wire.sse({"choices": [{"delta": {"content": text}}]}),
            "anthropic": Wire.sse(
                {"type": "message_start", "message": {"usage": {"input_tokens": 7}}},
                {"type": "content_block_start", "index": 0,
                 "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0,
                 "delta": {"type": "text_delta", "text": text}},
            ),
            "ollama": json.dumps({"message": {"content": text}, "done": False}).encode()
            + b"\n",
        }[vendor]  # fmt: skip

    @staticmethod
    def whole(vendor: str, text: str = "Hello there") -> bytes:
        """A whole answer of a vendor's, of 7 tokens in and 2 out."""
        first = Wire.part(vendor, text)
        rest = {
            "openai": Wire.chat(usage={"prompt_tokens": 7, "completion_tokens": 2}),
            "anthropic": Wire.sse(
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
                 "usage": {"output_tokens": 2}},
                {"type": "message_stop"},
            ),
            "ollama": json.dumps({
                "done": True, "done_reason": "stop", "prompt_eval_count": 7,
                "eval_count": 2, "message": {"content": ""},
            }).encode() + b"\n",
        }[vendor]  # fmt: skip
        kind = "application/x-ndjson" if vendor == "ollama" else "text/event-stream"
        return Wire.http(200, first + rest, kind, size=64, x_request_id="req-1")

    @staticmethod
    def stall(first: bytes):
        """Send this and then nothing, until the client leaves."""

        def answer(conn, request):
            conn.sendall(first)
            conn.recv(1)
            raise OSError("the client has left")

        return answer


@pytest.fixture
def wire():
    """Answers as bytes."""
    return Wire


@pytest.fixture
def serve():
    """Starts scripted servers."""
    servers = []

    def start(*answers, wrap=None) -> Server:
        server = Server(wrap).say(*answers)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


_KINDS = {
    "openai": (OpenAIAdapter, "/v1"),
    "anthropic": (AnthropicAdapter, ""),
    "ollama": (OllamaAdapter, ""),
}


@pytest.fixture
def connect():
    """Makes adapters for a server, closed at the end."""
    made = []

    def build(server, vendor="openai", model="m", **options):
        kind, path = _KINDS[vendor]
        options.setdefault("backoff", 0.001)
        options.setdefault("base_url", f"{server.url}{path}")
        model = kind(model, **options)
        made.append(model)
        return model

    yield build
    for model in made:
        model.close()


@pytest.fixture(scope="session")
def authority():
    """Signs certificates that `trusting` trusts."""
    return trustme.CA()


@pytest.fixture
def tls(authority):
    """Wraps a server's side; the client's session trusts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return lambda conn: context.wrap_socket(conn, server_side=True)


@pytest.fixture
def trusting(authority, tmp_path):
    import requests

    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    session = requests.Session()
    session.verify = str(path)
    return session


@pytest.fixture
def tunnel():
    """Starts CONNECT proxies; they keep what they were asked."""
    return _tunnel


def _pass_on(a, b, most):
    """Pass bytes on, both ways, until one side has left."""
    other = {a: b, b: a}
    with suppress(OSError):  # so ends one that is reset, or the proxy
        while True:
            waiting = [end for end in other if getattr(end, "pending", int)()]
            for end in waiting or select.select([a, b], [], [])[0]:
                data = end.recv(most)
                if not data:
                    return
                other[end].sendall(data)


@contextmanager
def _tunnel(seen, wrap=lambda conn: conn, most=65536):
    """A CONNECT proxy that passes bytes on, so many at once."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads, ends = [], [listener]

    def connect(raw):
        with suppress(OSError), wrap(raw) as client:  # else it did not trust us
            ends.append(client)
            asked = client.recv(65536).decode()
            seen.append(asked)
            host, _, port = asked.split(" ")[1].rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                _pass_on(client, server, most)
        raw.close()

    def serve():
        with suppress(OSError):  # the test has ended
            while True:
                ends.append(listener.accept()[0])
                thread = threading.Thread(target=connect, args=ends[-1:], daemon=True)
                threads.append(thread)
                thread.start()

    threads.append(threading.Thread(target=serve, daemon=True))
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        for end in ends:
            with suppress(OSError):  # it has ended
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for end in ends:
            end.close()
