"""A model's server that costs next to nothing: canned answers, from a process of its own.

It speaks Chat Completions and Anthropic Messages on the loopback, as JSON or, where
"stream" is true, as server-sent events. What it is to do stands in the path of each
request: `/{milliseconds}/{pieces}/{together}/v1/...` waits so long, then says so many
words, each an event in a chunk of its own; so many chunks are written together (0: all).
"""

import asyncio
import contextlib
import functools
import itertools
import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks._environments import SCRATCH, clean_variables


SERVER = "WAYBELL_BENCH_SERVER"
_WORDS = ("a ", "hold ", "is ", "granted ", "only ", "if ", "it ", "fits ")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": *true')
_USAGE = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
_PLAIN = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r1\r\n"
    b"content-length: %d\r\n\r\n%s"
)
_EVENTS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: r1\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


@contextlib.contextmanager
def model_server() -> Iterator[dict[str, str]]:
    """Run one; gives the variable that tells contestants where it is."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._model_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=SCRATCH,
        env=clean_variables(),
    )
    with process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise OSError("the benchmarks' model server did not start")
        yield {SERVER: f"http://127.0.0.1:{port}"}
        process.communicate()  # closes its input, which ends it


class Wire(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_got", "_loop", "_transport")

    def __init__(self) -> None:
        self._got = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._got += data
        while (head := self._got.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._got, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._got) < end:
                return
            request, self._got = self._got[:end], self._got[end:]
            path = request[: request.index(b" HTTP/")].partition(b" ")[2]
            stream = _STREAM.search(request, head) is not None
            delay, writes = answer(path, stream)
            if delay:
                self._loop.call_later(delay, self._write, writes)
            else:
                self._write(writes)

    def _write(self, writes: tuple[bytes, ...]) -> None:
        for data in writes:
            if self._transport.is_closing():
                return  # who asked has left
            self._transport.write(data)


def words(count: int) -> Iterator[str]:
    """What it says: one client ends a stream that says the same word over and over."""
    return itertools.islice(itertools.cycle(_WORDS), count)


@functools.cache
def answer(path: bytes, stream: bool) -> tuple[float, tuple[bytes, ...]]:
    """Seconds to wait, and what to write then."""
    _, delay, pieces, together, _, name, *_ = path.decode().split("/")
    count, size = int(pieces), int(together)
    chat = name == "chat"
    if not stream:
        body = json.dumps((_chat if chat else _message)("".join(words(count)))).encode()
        return int(delay) / 1000, (_PLAIN % (len(body), body),)
    events = list((_chat_events if chat else _message_events)(count))
    frames = [b"%x\r\n%s\r\n" % (len(event), event) for event in events]
    frames = [_EVENTS + frames[0], *frames[1:-1], frames[-1] + b"0\r\n\r\n"]
    size = size or len(frames)
    writes = [b"".join(frames[i : i + size]) for i in range(0, len(frames), size)]
    return int(delay) / 1000, tuple(writes)


def _chat(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    same = {"id": "chatcmpl-1", "created": 1, "model": "m"}
    return {
        **same,
        "object": "chat.completion",
        "choices": [choice],
        "usage": _USAGE,
    }


def _chat_events(count: int) -> Iterator[bytes]:
    same = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    same["model"] = "m"

    def event(delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _event({**same, "choices": [choice], "usage": None})

    yield event({"role": "assistant", "content": ""})
    for word in words(count):
        yield event({"content": word})
    yield event({}, "stop")
    yield _event({**same, "choices": [], "usage": _USAGE})
    yield b"data: [DONE]\n\n"


def _message(text: str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": "end_turn" if text else None,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 5},
    }


def _message_events(count: int) -> Iterator[bytes]:
    def event(kind: str, **fields: Any) -> bytes:
        data = _event({"type": kind, **fields})
        return b"event: " + kind.encode() + b"\n" + data

    yield event("message_start", message=_message(""))
    block = {"type": "text", "text": ""}
    yield event("content_block_start", index=0, content_block=block)
    for word in words(count):
        delta = {"type": "text_delta", "text": word}
        yield event("content_block_delta", index=0, delta=delta)
    yield event("content_block_stop", index=0)
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield event("message_delta", delta=end, usage={"output_tokens": 5})
    yield event("message_stop")


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


async def serve() -> None:
    """Serve until whoever started this closes its input."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever starts it also ends it
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(Wire, "127.0.0.1", 0, backlog=2048)
    loop.add_reader(sys.stdin, ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve())
