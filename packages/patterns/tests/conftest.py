"""What the patterns' tests share: fakes of a log, a tracer, a reply and a breaker."""

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

import pytest


class Log:
    """Keeps records as a decision log does."""

    def __init__(self):
        self.records = []

    def record(self, *, decision, **fields):
        self.records.append({"decision": decision, **fields})
        return str(len(self.records))

    def of(self, decision):
        return [each for each in self.records if each["decision"] == decision]

    def answers(self):
        return [(each["agent"], each["outcome"]) for each in self.of("answer")]


class Tracer:
    """Keeps the names of spans, nested as they were."""

    def __init__(self):
        self.open, self.seen = [], []

    @contextmanager
    def span(self, name):
        self.open.append(name)
        self.seen.append("/".join(self.open))
        try:
            yield
        finally:
            self.open.remove(name)


class Meter(Tracer):
    """A tracer with spans of agents, which keep what is recorded on them."""

    def __init__(self):
        super().__init__()
        self.used = []

    @contextmanager
    def agent(self, name):
        def record_usage(**usage):
            self.used.append((name, usage))

        with self.span("agent " + name):
            yield SimpleNamespace(record_usage=record_usage)


class Reply(str):
    """An answer that says what it cost."""

    __slots__ = ("cost", "model", "partial", "usage")

    def __new__(cls, text, *, cost=None, usage=None, model=None, partial=False):
        self = super().__new__(cls, text)
        self.cost, self.usage, self.model, self.partial = cost, usage, model, partial
        return self


class OpenError(Exception):
    """What an open breaker raises."""

    retry_after = 5.0


class Breaker:
    """Lets calls through until it is told to open."""

    def __init__(self, *, closed=True):
        self.closed, self.calls = closed, 0

    async def acall(self, fn, *args):
        self.calls += 1
        if not self.closed:
            raise OpenError
        return await fn(*args)


def failing(error, times=10**9):
    """An agent that raises so often, then answers."""
    calls = []

    async def fail(prompt):
        calls.append(prompt)
        if len(calls) <= times:
            raise error
        return f"answer {len(calls)}"

    fail.calls = calls
    return fail


def slow(seconds, answer="slow"):
    """An agent that takes its time."""

    async def wait(prompt):
        await asyncio.sleep(seconds)
        return answer

    return wait


async def hang(prompt):
    """An agent that never answers."""
    await asyncio.Event().wait()


def deaf(seconds):
    """An agent that swallows a cancellation and goes on for a while."""

    async def ignore(prompt):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(seconds)
        return "deaf"

    return ignore


@pytest.fixture
def fakes():
    return SimpleNamespace(
        Log=Log, Tracer=Tracer, Meter=Meter, Reply=Reply, Breaker=Breaker, OpenError=OpenError,
        failing=failing, slow=slow, hang=hang, deaf=deaf,
    )  # fmt: skip
