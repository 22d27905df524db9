"""Streams give pieces as they come, and end promptly when they are left."""

import asyncio
import os
import signal
from contextvars import ContextVar

import pytest

from waybell_adapters import ScriptedAdapter, ToolCall
from waybell_agents import Agent, AgentConfig
from waybell_agents._sync import run_blocking


def agent(*replies, tools=()):
    return Agent(AgentConfig("a", adapter=ScriptedAdapter(replies), tools=tools))


async def test_the_pieces_of_all_turns_come_and_then_the_reply():
    def ping() -> str:
        return "pong"

    one = agent([ToolCall("1", "ping", {})], "It is pong.", tools=[ping])
    async with one.stream("go") as stream:
        with pytest.raises(RuntimeError, match="not ended yet"):
            _ = stream.reply
        assert "".join([piece async for piece in stream]) == "It is pong."
        assert [piece async for piece in stream] == []
    assert stream.reply == "It is pong."
    assert len(stream.reply.steps) == 2


async def test_a_stream_needs_no_block_to_be_read_to_its_end():
    stream = agent("one two").stream("go")
    assert [piece async for piece in stream] == ["one", " two"]


async def test_an_error_of_the_run_ends_the_stream():
    async with agent(ValueError("off")).stream("go") as stream:
        with pytest.raises(ValueError, match="off"):
            await anext(stream)
    with pytest.raises(ValueError, match="off"):
        _ = stream.reply


async def test_leaving_a_stream_ends_its_tools():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    one = agent([ToolCall("1", "hang", {})], tools=[hang])
    async with one.stream("go") as stream:
        await begun.wait()
    assert ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        _ = stream.reply


async def test_a_reader_that_is_cancelled_loses_no_piece():
    gate = asyncio.Event()

    async def slow(prompt):
        await gate.wait()
        return "late"

    async with agent(slow).stream("go") as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(stream)
        gate.set()
        assert [piece async for piece in stream] == ["late"]


def test_a_plain_loop_reads_it_too_also_inside_a_running_loop():
    def read():
        with agent("one two").stream("go") as stream:
            pieces = list(stream)
        return pieces, stream.reply

    async def inside():
        return read()

    assert read() == asyncio.run(inside()) == (["one", " two"], "one two")


def test_leaving_a_plain_block_early_ends_the_work():
    ended = []

    async def hang(prompt):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with agent(hang).stream("go") as stream:
        pass
    assert ended in ([True], [])  # it may not have begun
    with pytest.raises(asyncio.CancelledError):
        _ = stream.reply
    with pytest.raises(RuntimeError, match="inside its block"):
        next(stream)
    stream.close()


def test_what_is_run_for_plain_code_sees_its_context():
    word = ContextVar("word")
    word.set("caller")

    async def read():
        return word.get()

    assert run_blocking(read()) == "caller"


def test_an_interruption_cancels_the_work_and_waits_for_it():
    ended = []

    async def work():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        run_blocking(work())
    assert ended == [True]
