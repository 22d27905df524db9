"""Clients of HTTP and of models beside the adapters, each as its documentation calls it."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import contextlib
import json

from benchmarks.suites._adapters_cases import (
    ALONE,
    CHUNKS,
    FLIGHTS,
    SLOW,
    async_client,
    sync_client,
)
from benchmarks.suites.adapters import (
    AIOHTTP,
    BODY,
    CHAT,
    LITELLM,
    OPENAI,
    STREAM,
    content,
    said,
    text_of,
)


MESSAGES = BODY["messages"]
ANTHROPIC = "anthropic"


@async_client(AIOHTTP, package="aiohttp")
@contextlib.asynccontextmanager
async def _aiohttp(url):
    import aiohttp

    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connections) as session:

        async def call():
            async with session.post(url + CHAT, json=BODY) as found:
                return content(await found.read())

        async def stream():
            body = BODY | {"stream": True}
            async with session.post(url + CHAT, json=body) as found:
                return "".join([said(line) async for line in found.content])

        yield call, stream


@async_client(STREAM.format(AIOHTTP), package="aiohttp", only=[SLOW, FLIGHTS[256]])
@contextlib.asynccontextmanager
async def _aiohttp_stream(url):
    async with _aiohttp(url) as (_, stream):
        yield stream, stream


@async_client("httpx", package="httpx", only=[ALONE, CHUNKS, FLIGHTS[16], FLIGHTS[64]])
@contextlib.asynccontextmanager
async def _httpx(url):
    import httpx

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=None) as client:

        async def call():
            return content((await client.post(url + CHAT, json=BODY)).content)

        async def stream():
            body = BODY | {"stream": True}
            async with client.stream("POST", url + CHAT, json=body) as found:
                lines = [line async for line in found.aiter_lines()]
            events = [line[6:] for line in lines if line.startswith("data: {")]
            return "".join([text_of(json.loads(event)) for event in events])

        yield call, stream


def _chunk_text(chunk):
    return chunk.choices[0].delta.content or "" if chunk.choices else ""


@sync_client(OPENAI, package="openai")
@contextlib.contextmanager
def _openai_sync(url):
    from openai import OpenAI

    with OpenAI(api_key="none", base_url=f"{url}/v1") as client:
        create = client.chat.completions.create

        def call():
            return create(model="m", messages=MESSAGES).choices[0].message.content

        def stream():
            with create(model="m", messages=MESSAGES, stream=True) as chunks:
                return "".join(map(_chunk_text, chunks))

        yield call, stream


@async_client(OPENAI, package="openai")
@contextlib.asynccontextmanager
async def _openai(url):
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as client:
        create = client.chat.completions.create

        async def call():
            found = await create(model="m", messages=MESSAGES)
            return found.choices[0].message.content

        async def stream():
            async with await create(
                model="m", messages=MESSAGES, stream=True
            ) as chunks:
                return "".join([_chunk_text(chunk) async for chunk in chunks])

        yield call, stream


@async_client(STREAM.format(OPENAI), package="openai", only=[SLOW, FLIGHTS[256]])
@contextlib.asynccontextmanager
async def _openai_stream(url):
    async with _openai(url) as (_, stream):
        yield stream, stream


def _delta_text(event):
    return event.delta.text if event.type == "content_block_delta" else ""


@sync_client(ANTHROPIC, package="anthropic")
@contextlib.contextmanager
def _anthropic_sync(url):
    from anthropic import Anthropic

    with Anthropic(api_key="none", base_url=url) as client:
        create = client.messages.create

        def call():
            found = create(model="m", messages=MESSAGES, max_tokens=64)
            return found.content[0].text

        def stream():
            with create(
                model="m", messages=MESSAGES, max_tokens=64, stream=True
            ) as events:
                return "".join(map(_delta_text, events))

        yield call, stream


@async_client(ANTHROPIC, package="anthropic")
@contextlib.asynccontextmanager
async def _anthropic(url):
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(api_key="none", base_url=url) as client:
        create = client.messages.create

        async def call():
            found = await create(model="m", messages=MESSAGES, max_tokens=64)
            return found.content[0].text

        async def stream():
            async with await create(
                model="m", messages=MESSAGES, max_tokens=64, stream=True
            ) as events:
                return "".join([_delta_text(event) async for event in events])

        yield call, stream


@async_client("pydantic-ai, direct", package="pydantic-ai-slim")
@contextlib.asynccontextmanager
async def _pydantic_ai(url):
    from pydantic_ai.direct import model_request, model_request_stream
    from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="none")
    model = OpenAIChatModel("m", provider=provider)
    messages = [ModelRequest.user_text_prompt("hello there")]

    async def call():
        return (await model_request(model, messages)).parts[0].content

    def text(event):
        match event:
            case PartStartEvent():
                return event.part.content
            case PartDeltaEvent():
                return event.delta.content_delta
        return ""

    async def stream():
        async with model_request_stream(model, messages) as events:
            return "".join([text(event) async for event in events])

    yield call, stream


def _litellm_settings(url):
    import litellm

    litellm.suppress_debug_info = True
    return {
        "model": "openai/m",
        "messages": MESSAGES,
        "api_base": f"{url}/v1",
        "api_key": "none",
    }


@sync_client(LITELLM, env="litellm", package="litellm")
@contextlib.contextmanager
def _litellm_sync(url):
    from litellm import completion

    settings = _litellm_settings(url)

    def call():
        return completion(**settings).choices[0].message.content

    def stream():
        return "".join(map(_chunk_text, completion(**settings, stream=True)))

    yield call, stream


@async_client(LITELLM, env="litellm", package="litellm")
@contextlib.asynccontextmanager
async def _litellm(url):
    from litellm import acompletion

    settings = _litellm_settings(url)

    async def call():
        return (await acompletion(**settings)).choices[0].message.content

    async def stream():
        chunks = await acompletion(**settings, stream=True)
        return "".join([_chunk_text(chunk) async for chunk in chunks])

    yield call, stream


@async_client(STREAM.format(LITELLM), env="litellm", package="litellm", only=[SLOW])
@contextlib.asynccontextmanager
async def _litellm_stream(url):
    async with _litellm(url) as (_, stream):
        yield stream, stream
