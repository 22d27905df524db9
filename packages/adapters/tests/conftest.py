"""What the tests share: fakes of a deadline and a budget, and a scripted server."""

import json
import socket
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

import pytest

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
