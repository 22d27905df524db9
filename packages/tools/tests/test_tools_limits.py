import asyncio
import contextvars
import math
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from waybell_sim import simulate
from waybell_tools import ToolDenied, ToolLimitError, ToolRegistry, ToolTimeoutError
from waybell_tools._threads import DAEMONS, Halt, Job


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Passed(TimeoutError):
    pass


class Until:
    """A deadline with only the two methods that are asked of one."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def remaining(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def check(self) -> None:
        if not self.remaining():
            raise Passed


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def ended(registry: ToolRegistry) -> bool:
    """Wait until no call runs in a thread."""
    end = time.monotonic() + 10
    waiter = threading.Event()
    while registry.running() and time.monotonic() < end:
        waiter.wait(0.002)
    return not registry.running()


async def test_a_sync_tool_that_overruns_is_left_and_shown_until_it_ends(
    gate, caplog
) -> None:
    registry = ToolRegistry()
    registry.tool(gate.wait, name="slow", schema={"type": "object"}, timeout=0.05)
    for call in (
        lambda: asyncio.to_thread(registry.call, "slow"),
        lambda: registry.acall("slow"),
    ):
        with pytest.raises(ToolTimeoutError, match=r"slow: took longer than 0\.05 s"):
            await call()
    left = registry.running()
    assert [(run.name, run.abandoned) for run in left] == [("slow", True)] * 2
    assert all(run.seconds >= 0.04 for run in left)
    assert "abandoned a call that still runs: slow" in caplog.text
    gate.set()
    assert ended(registry)


async def test_a_call_that_runs_is_shown_as_waited_for(gate) -> None:
    registry = ToolRegistry()
    started = threading.Event()
    registry.tool(lambda: started.set() or gate.wait(10), name="slow")
    task = asyncio.create_task(registry.acall("slow"))
    await asyncio.to_thread(started.wait)
    assert [run.abandoned for run in registry.running()] == [False]
    gate.set()
    await task
    assert registry.running() == ()


def test_an_abandoned_call_does_not_hold_the_interpreter() -> None:
    code = (
        "import threading; from waybell_tools import ToolRegistry\n"
        "r = ToolRegistry(timeout=0.05)\n"
        "r.tool(lambda: threading.Event().wait(), name='slow')\n"
        "print(r.result({'name': 'slow'})['error']['type'])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert out.stdout.strip() == "ToolTimeoutError"


async def test_too_many_abandoned_calls_stop_new_ones(gate) -> None:
    registry = ToolRegistry(timeout=0.01, max_abandoned=2)
    registry.tool(lambda: gate.wait(10), name="slow")
    for _ in range(2):
        with pytest.raises(ToolTimeoutError):
            await registry.acall("slow")
    with pytest.raises(ToolLimitError, match="2 abandoned calls"):
        await registry.acall("slow")
    registry.tool(lambda: "fine", name="other")
    assert await registry.acall("other") == "fine"  # one that hangs stops no other
    gate.set()
    assert ended(registry)
    assert await registry.acall("slow") is True


async def test_an_async_tool_that_overruns_is_cancelled() -> None:
    registry = ToolRegistry(timeout=0.02)
    seen = []

    @registry.tool
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    with pytest.raises(ToolTimeoutError):
        await registry.acall("slow")
    with pytest.raises(ToolTimeoutError):
        registry.call("slow")
    assert seen == ["cleaned up"] * 2


async def test_a_timeout_of_the_tool_itself_stays_what_it_is() -> None:
    registry = ToolRegistry()

    @registry.tool
    def sync() -> None:
        raise TimeoutError("mine")

    @registry.tool(name="async")
    async def twin() -> None:
        raise TimeoutError("mine")

    for name in registry:
        with pytest.raises(TimeoutError, match=r"^mine$"):
            await registry.acall(name)
        with pytest.raises(TimeoutError, match=r"^mine$"):
            registry.call(name)


async def test_cancelling_the_caller_cancels_an_async_tool_and_leaves_a_thread(
    gate,
) -> None:
    registry = ToolRegistry()
    started, cancelled = asyncio.Event(), []

    @registry.tool
    async def slow() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(registry.aresult({"name": "slow"}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [True]
    inside = threading.Event()
    registry.tool(lambda: inside.set() or gate.wait(10), name="thread")
    task = asyncio.create_task(registry.acall("thread"))
    await asyncio.to_thread(inside.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [run.abandoned for run in registry.running()] == [True]


async def test_a_deadline_is_tighter_than_the_timeout_and_raises_its_own_error(
    gate,
) -> None:
    registry = ToolRegistry()
    registry.tool(lambda: gate.wait(10), name="thread")

    @registry.tool(name="task")
    async def forever() -> None:
        await asyncio.Event().wait()

    for name in registry:
        with pytest.raises(Passed):
            await registry.acall(name, deadline=Until(0.03))
        with pytest.raises(Passed):
            registry.call(name, deadline=Until(0.03))
        with pytest.raises(Passed):  # not data: the run is over
            await registry.aresult({"name": name}, deadline=Until(0.03))
        with pytest.raises(Passed):
            registry.result({"name": name}, deadline=Until(0))


def test_a_deadline_is_handed_to_a_tool_that_asks_for_one() -> None:
    registry = ToolRegistry()

    @registry.tool
    def typed(*, deadline: Until | None = None) -> object:
        return deadline

    @registry.tool
    def untyped(*, deadline=None) -> object:
        return deadline

    until = Until(60)
    assert registry.call("typed", deadline=until) is until
    assert registry.call("untyped", deadline=until) is until
    assert registry.call("typed") is None
    assert "deadline" not in str(registry.specs())


async def test_the_context_of_the_caller_is_seen_in_threads() -> None:
    name = contextvars.ContextVar("name", default="none")
    registry = ToolRegistry([])
    registry.tool(lambda: name.get(), name="who")  # noqa: PLW0108 - what is tested

    @registry.tool
    async def awho() -> str:
        return name.get()

    name.set("caller")
    for tool in registry:
        assert registry.call(tool) == await registry.acall(tool) == "caller"


def test_uses_run_out() -> None:
    registry = ToolRegistry()
    registry.tool(lambda: 1, name="once", max_uses=1)
    assert registry.call("once") == 1
    with pytest.raises(ToolLimitError, match="no uses are left"):
        registry.call("once")


def test_bad_arguments_use_nothing_up() -> None:
    registry = ToolRegistry()
    registry.tool(lambda: 1, name="once", max_uses=1)
    registry.result({"name": "once", "arguments": {"x": 1}})
    assert registry.call("once") == 1


def test_a_rate_is_kept_and_says_when_to_come_again() -> None:
    clock = Clock()
    registry = ToolRegistry(clock=clock)
    registry.tool(lambda: 1, name="ask", rate="2/minute")
    registry.call("ask")
    clock.time = 20
    registry.call("ask")
    with pytest.raises(ToolLimitError, match="the next in 40 s") as caught:
        registry.call("ask")
    assert caught.value.retry_after == 40
    clock.time = 60
    registry.call("ask")
    with pytest.raises(ToolLimitError, match="the next in 20 s"):
        registry.call("ask")


@pytest.mark.simulate(seeds=50)
async def test_uses_are_never_exceeded_whatever_the_schedule(rng) -> None:
    registry = ToolRegistry()
    runs = []

    async def approve(name, arguments):
        await asyncio.sleep(rng.choice([0, 0, 1]))
        return arguments["n"] % 2 == 0

    @registry.tool(max_uses=3, approve=approve)
    async def act(n: int) -> None:
        await asyncio.sleep(rng.choice([0, 1]))
        runs.append(n)

    calls = [
        registry.aresult({"name": "act", "arguments": {"n": n}}) for n in range(10)
    ]
    await asyncio.gather(*calls)
    assert len(runs) <= 3
    assert all(n % 2 == 0 for n in runs)
    assert registry["act"].quota.left == 3 - len(runs)


def test_sync_tools_and_rates_run_in_a_simulation() -> None:
    async def main() -> None:
        registry = ToolRegistry(timeout=5)
        registry.tool(lambda: 1, name="ask", rate="1/minute")
        assert await registry.acall("ask") == 1
        with pytest.raises(ToolLimitError):
            await registry.acall("ask")
        await asyncio.sleep(60)
        assert await registry.acall("ask") == 1

        @registry.tool
        async def slow() -> None:
            await asyncio.sleep(6)

        with pytest.raises(ToolTimeoutError):
            await registry.acall("slow")

    simulate(main, seeds=10)


@pytest.mark.parametrize(
    ("value", "limit", "cut"),
    [("x" * 1000, 100, True), ("x" * 100, 100, False), (b"\0" * 1000, 100, True),
     ("", 1, False), ([1] * 1000, 100, True), ([1], 100, False), ({"a": "x" * 1000}, 100, True),
     (None, 1, False), (10**500, 100, True), ("é" * 1000, 100, True)],
    ids=lambda value: ascii(value)[:8] + str(len(str(value))),
)  # fmt: skip
def test_long_output_is_cut_with_a_mark_that_says_so(value, limit, cut) -> None:
    registry = ToolRegistry([], max_output=limit)
    registry.tool(lambda: value, name="say")
    got = registry.call("say")
    if not cut:
        assert got is value
        return
    assert len(got) == limit
    text = got.decode() if isinstance(got, bytes) else got
    assert text.rstrip("\0").endswith(f"at most {limit} are shown]")


def test_endless_output_is_not_read_to_its_end() -> None:
    class Endless(dict):
        def items(self):
            return ((str(n), n) for n in iter(int, 1))

    registry = ToolRegistry()
    registry.tool(lambda: Endless(a=1), name="say", max_output=100)
    assert len(registry.call("say")) == 100


def test_values_that_json_lacks_are_told_as_text() -> None:
    from dataclasses import dataclass

    @dataclass
    class Point:
        x: int

    cycle = []
    cycle.append(cycle)
    registry = ToolRegistry(max_output=math.inf)
    for value, text in (
        (Point(1), '{"x": 1}'), ({1}, "[1]"), (b"a", "a"), (["é", b"b"], '["é", "b"]'),
        (cycle, "[[...]]"), ({(1,): 2}, "{(1,): 2}"), (10**5000, "<int>"), ("a", "a"),
    ):  # fmt: skip
        name = f"t{len(registry)}"
        registry.tool(lambda value=value: value, name=name, schema={"type": "object"})
        assert registry.result({"name": name})["text"] == text


async def test_nobody_to_ask_means_no() -> None:
    registry = ToolRegistry()
    registry.tool(lambda: "done", name="rm", approve=True)
    for call in (
        lambda: asyncio.to_thread(registry.call, "rm"),
        lambda: registry.acall("rm"),
    ):
        with pytest.raises(ToolDenied, match="nobody can be asked"):
            await call()


async def ask(name, arguments):
    return (name, arguments) == ("rm", {"path": "a"})


@pytest.mark.parametrize("kind", ["sync", "async", "lambda"])
async def test_only_a_plain_yes_is_one(kind) -> None:
    asked = []

    def plain(name, arguments):
        asked.append(dict(arguments))
        return (name, arguments) == ("rm", {"path": "a"})

    approve = {"sync": plain, "async": ask, "lambda": partial(ask)}[kind]
    registry = ToolRegistry(approve=approve)
    registry.tool(lambda path: path, name="rm", approve=True)
    assert (
        await registry.acall("rm", {"path": "a"})
        == registry.call("rm", {"path": "a"})
        == "a"
    )
    with pytest.raises(ToolDenied, match="not approved"):
        await registry.acall("rm", {"path": "b"})
    with pytest.raises(ToolDenied, match="not approved"):
        registry.call("rm", {"path": "b"})


@pytest.mark.parametrize("answer", [None, 1, "yes", [True], object()], ids=repr)
def test_what_is_not_true_is_a_no(answer) -> None:
    registry = ToolRegistry()
    registry.tool(lambda: "done", name="rm", approve=lambda *_: answer, max_uses=1)
    with pytest.raises(ToolDenied, match="yes" if answer == "yes" else "not approved"):
        registry.call("rm")
    assert registry["rm"].quota.left == 1


def test_what_the_one_asked_raises_is_raised() -> None:
    class Pending(Exception):
        pass

    def later(name, arguments):
        raise Pending

    registry = ToolRegistry()
    registry.tool(lambda: "done", name="rm", approve=later)
    with pytest.raises(Pending):
        registry.call("rm")


async def test_asking_ends_with_the_deadline_but_not_with_the_timeout(gate) -> None:
    registry = ToolRegistry(timeout=0.01)

    async def slowly(name, arguments):
        await asyncio.sleep(0.03)
        return True

    registry.tool(lambda: "done", name="patient", approve=slowly)
    registry.tool(lambda: "done", name="never", approve=lambda *_: gate.wait(10))
    assert await registry.acall("patient") == "done"
    with pytest.raises(Passed):
        await registry.acall("never", deadline=Until(0.03))
    assert [run.name for run in registry.running()] == ["approval of never"]


async def test_many_calls_at_once_leave_no_thread_behind() -> None:
    registry = ToolRegistry()
    registry.tool(lambda: 1, name="one")
    before = threading.active_count()
    assert (
        sum(await asyncio.gather(*(registry.acall("one") for _ in range(256)))) == 256
    )
    assert ended(registry)
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        threading.Event().wait(0.002)
    assert threading.active_count() <= before


def test_who_comes_late_to_a_halt_is_called_at_once() -> None:
    halt, called = Halt(), []
    halt.call(lambda: called.append("early"))
    halt.ask()
    halt.call(lambda: called.append("late"))
    assert called == ["early", "late"]


def test_a_job_that_nobody_waits_for_is_not_begun() -> None:
    ran, jobs = [], set()
    job = Job("t", lambda: ran.append(1), clock=time.monotonic, jobs=jobs)
    job.abandon()
    with pytest.raises(ToolTimeoutError, match="nobody waits for it"):
        DAEMONS.submit(job).result(10)
    assert (ran, jobs) == ([], set())


def test_a_call_that_is_interrupted_leaves_its_thread(gate) -> None:
    """As by Ctrl-C, which wakes the main thread alone."""
    code = (
        "import signal, threading; from waybell_tools import ToolRegistry\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "r = ToolRegistry()\n"
        "on = threading.Event()\n"
        "r.tool(lambda: on.set() or threading.Event().wait(), name='slow')\n"
        "main = threading.main_thread().ident\n"
        "def interrupt():\n"
        "    on.wait(); threading.Event().wait(0.3)  # until main waits\n"
        "    signal.pthread_kill(main, signal.SIGINT)\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "try: r.call('slow')\n"
        "except KeyboardInterrupt: print(r.running()[0].abandoned)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert out.stdout.strip() == "True"


@pytest.mark.parametrize("door", ["call", "acall"])
async def test_a_yes_that_comes_too_late_uses_nothing_up(door) -> None:
    registry, until = ToolRegistry(), Until(60)

    def slowly(name, arguments) -> bool:
        until.end = time.monotonic()
        return True

    registry.tool(lambda: 1, name="once", max_uses=1, approve=slowly)
    sync = asyncio.to_thread(registry.call, "once", deadline=until)
    awaited = registry.acall("once", deadline=until)
    chosen, other = (sync, awaited) if door == "call" else (awaited, sync)
    other.close()
    with pytest.raises(Passed):
        await chosen
    assert registry["once"].quota.left == 1


async def test_those_who_wait_in_the_line_of_a_tool_that_hangs_are_refused(
    gate,
) -> None:
    registry = ToolRegistry(timeout=0.5, max_threads=3, max_abandoned=2)
    registry.tool(lambda: gate.wait(60), name="hangs", max_uses=100)
    calls = [registry.aresult({"name": "hangs"}) for _ in range(40)]
    errors = [answer["error"]["type"] for answer in await asyncio.gather(*calls)]
    begun = errors.count("ToolTimeoutError")
    assert 2 <= begun <= 5
    assert begun + errors.count("ToolLimitError") == 40
    assert registry["hangs"].quota.left == 100 - begun
    gate.set()
    assert ended(registry)
