"""The adapters against one model server on the loopback: raw sockets, requests, ours."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import asyncio
import contextlib
import json
import socket
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from benchmarks._cases import Suite, Target
from benchmarks.suites._adapters_cases import (
    ALONE,
    ALONE_SYNC,
    CHUNKS,
    CHUNKS_SYNC,
    FLIGHTS,
    IMPORTS,
    MEMORY,
    SLOW,
    async_client,
    register,
    sync_client,
)


RAW = "raw sockets"
OURS = "waybell_adapters `OpenAIAdapter`"
WHOLE = "waybell_adapters `OpenAIAdapter`, whole"
ANTHROPIC = "waybell_adapters `AnthropicAdapter`"
OPENAI, LITELLM, AIOHTTP = "openai", "litellm", "aiohttp"
STREAM = "{}, a stream"
GROUND = "`requests` and `tenacity`"
FIRST_CALL = "`waybell_adapters` and a first call"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
CHAT = "/v1/chat/completions"


def text_of(event):
    """The text in an event of Chat Completions."""
    choices = event["choices"]
    return choices[0]["delta"].get("content") or "" if choices else ""


def said(line):
    """The text in a line of a stream."""
    if line.startswith(b"data: {"):
        return text_of(json.loads(line[6:]))
    return ""


def prepared(url, *, stream):
    """A request, written once."""
    body = json.dumps(BODY | ({"stream": True} if stream else {})).encode()
    path = urllib.parse.urlsplit(url).path + CHAT
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def content(body):
    """The text of a whole answer."""
    return json.loads(body)["choices"][0]["message"]["content"]


@sync_client(RAW, role="limit")
@contextlib.contextmanager
def _raw_sync(url):
    at = urllib.parse.urlsplit(url)
    plain, streaming = prepared(url, stream=False), prepared(url, stream=True)
    with (
        socket.create_connection((at.hostname, at.port)) as sock,
        sock.makefile("rb") as file,
    ):

        def head():
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            return length

        def call():
            sock.sendall(plain)
            return content(file.read(head()))

        def stream():
            sock.sendall(streaming)
            head()
            found = []
            while size := int(file.readline(), 16):
                found.append(said(file.read(size)))
                file.readline()
            file.readline()
            return "".join(found)

        yield call, stream


@async_client(RAW, role="limit")
@contextlib.asynccontextmanager
async def _raw(url):
    at = urllib.parse.urlsplit(url)
    plain, streaming = prepared(url, stream=False), prepared(url, stream=True)
    free = []

    async def call():
        reader, writer = await lent(plain)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        text = content(await reader.readexactly(length))
        free.append((reader, writer))
        return text

    async def stream():
        reader, writer = await lent(streaming)
        await reader.readuntil(b"\r\n\r\n")
        found = []
        while size := int(await reader.readline(), 16):
            found.append(said(await reader.readexactly(size)))
            await reader.readline()
        await reader.readline()
        free.append((reader, writer))
        return "".join(found)

    async def lent(request):
        pair = (
            free.pop() if free else await asyncio.open_connection(at.hostname, at.port)
        )
        pair[1].write(request)
        return pair

    yield call, stream
    for _, writer in free:
        writer.close()


def _session(connections):
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=connections))
    return session


def _requests(url, session):
    def call():
        return content(session.post(url + CHAT, json=BODY).content)

    def stream():
        with session.post(
            url + CHAT, json=BODY | {"stream": True}, stream=True
        ) as found:
            return "".join(map(said, found.iter_lines()))

    return call, stream


@sync_client("requests", env="own", package="requests")
@contextlib.contextmanager
def _requests_sync(url):
    with _session(1) as session:
        yield _requests(url, session)


@async_client("requests in threads", env="own", package="requests")
@contextlib.asynccontextmanager
async def _requests_threads(url):
    loop = asyncio.get_running_loop()
    with _session(256) as session, ThreadPoolExecutor(256) as threads:
        blocking_call, blocking_stream = _requests(url, session)

        async def call():
            return await loop.run_in_executor(threads, blocking_call)

        async def stream():
            return await loop.run_in_executor(threads, blocking_stream)

        yield call, stream


def new_adapter(url):
    from waybell_adapters import OpenAIAdapter

    return OpenAIAdapter("m", base_url=f"{url}/v1")


@sync_client(OURS, role="ours")
@contextlib.contextmanager
def _ours_sync(url):
    with new_adapter(url) as model:
        yield (
            lambda: model.generate("hello there"),
            lambda: "".join(model.stream("hello there")),
        )


@sync_client(WHOLE, role="ours", only=[CHUNKS_SYNC])
@contextlib.contextmanager
def _ours_whole_sync(url):
    with new_adapter(url) as model:
        yield None, lambda: model.generate("hello there")


def _calls(model):
    async def call():
        return await model.agenerate("hello there")

    async def stream():
        return "".join([piece async for piece in await model.astream("hello there")])

    return call, stream


@async_client(OURS, role="ours")
@contextlib.asynccontextmanager
async def _ours(url):
    async with new_adapter(url) as model:
        yield _calls(model)


@async_client(ANTHROPIC, role="ours")
@contextlib.asynccontextmanager
async def _ours_anthropic(url):
    from waybell_adapters import AnthropicAdapter

    async with AnthropicAdapter("m", base_url=url) as model:
        yield _calls(model)


@async_client(WHOLE, role="ours", only=[CHUNKS])
@contextlib.asynccontextmanager
async def _ours_whole(url):
    async with new_adapter(url) as model:
        yield None, _calls(model)[0]


def _import(label, role, code, env="own"):
    @register(IMPORTS, label, role, env, "")
    def _code():
        yield "", code


#: A call to a server that is not there: it loads all that a call needs.
_FIRST = """
from waybell_adapters import ModelUnavailable, OpenAIAdapter
try:
    OpenAIAdapter("m", base_url="http://127.0.0.1:1/v1", attempts=1).generate("hello")
except ModelUnavailable:
    pass
"""
_import(GROUND, "peer", "import requests, tenacity")
_import("`waybell_adapters`", "ours", "import waybell_adapters")
_import(FIRST_CALL, "ours", _FIRST)
for _name, _modules, _env in (
    ("aiohttp", "aiohttp", "clients"),
    ("httpx", "httpx", "clients"),
    ("openai", "openai", "clients"),
    ("anthropic", "anthropic", "clients"),
    ("pydantic_ai", "pydantic_ai.direct, pydantic_ai.models.openai", "clients"),
    ("litellm", "litellm", "litellm"),
):
    _import(f"`{_name}`", "peer", f"import {_modules}", _env)


SUITE = Suite(
    "adapters",
    "Adapters",
    (
        ALONE_SYNC, ALONE, *FLIGHTS.values(), SLOW, CHUNKS_SYNC, CHUNKS, MEMORY, IMPORTS,
    ),
    (
        Target(
            "calls a second at 256 in flight and 100 ms, against openai, both streams",
            SLOW, OURS, STREAM.format(OPENAI), at_least=4.0,
        ),
        Target(
            "the same, against litellm",
            SLOW, OURS, STREAM.format(LITELLM), at_least=6.0,
        ),
        Target(
            "the same, against aiohttp",
            SLOW, OURS, STREAM.format(AIOHTTP), at_least=0.85,
        ),
        Target(
            "the same, against openai without a stream",
            SLOW, OURS, OPENAI, at_least=4.0,
        ),
        Target(
            "the same, against litellm without a stream",
            SLOW, OURS, LITELLM, at_least=6.0,
        ),
        Target(
            "the same, against aiohttp without a stream",
            SLOW, OURS, AIOHTTP, at_least=0.85,
        ),
        Target(
            "CPU of a call at 256 in flight, against openai, both streams",
            FLIGHTS[256], OURS, STREAM.format(OPENAI), 1 / 3,
        ),
        Target(
            "the same, against openai without a stream",
            FLIGHTS[256], OURS, OPENAI, 1 / 3,
        ),
        Target("a chunk, against openai's", CHUNKS_SYNC, OURS, OPENAI, 1 / 8),
        Target("a chunk awaited, against openai's", CHUNKS, OURS, OPENAI, 1 / 8),
        Target(
            "import of `waybell_adapters`, against requests and tenacity",
            IMPORTS, "`waybell_adapters`", GROUND, 1.15,
        ),
    ),
    (("httpx (adapters, 256)", "a round of it took ten seconds"),),
)  # fmt: skip
