"""Many calls at once, calls inside calls, and threads that the interpreter leaves behind."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import time

import pytest

from waybell_tools import ToolRegistry, ToolTimeoutError, http_get
from waybell_tools._threads import Daemons


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


class Watched(asyncio.SelectorEventLoop):
    """A loop that knows the processor time of its own that each of its turns took.

    Whatever is ready waits for the turn to end. Time on the clock would count what the
    threads of the tools and other programs do here as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[float] = []

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()
        self.turns.append(time.thread_time() - began)


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.002)


def ours() -> int:
    return sum(thread.name == "waybell-tools" for thread in threading.enumerate())


@pytest.mark.soak
def test_a_thousand_pages_at_once_never_stall_the_loop(loopback, answers) -> None:
    server = loopback(answers.page(b"fine"))
    registry = ToolRegistry(timeout=120)
    fetch = http_get(
        ports=[server.port],
        allow=lambda address: True,
        resolve=lambda host, port: ["127.0.0.1"],
        timeout=60,
    )
    registry.tool(fetch)
    call = {
        "name": "http_get",
        "arguments": {"url": f"http://site.example:{server.port}/"},
    }

    async def main() -> list[dict]:
        await registry.aresult(call)  # which imports what the others need
        tasks = []
        for n in range(1000):
            tasks.append(asyncio.create_task(registry.aresult(call)))
            if n % 16 == 0:
                await asyncio.sleep(0)  # who starts all in one turn has a long turn
        return await asyncio.gather(*tasks)

    before = ours()
    gc.collect()
    gc.disable()  # a collection, of all that the program holds, is no turn of ours
    try:
        with asyncio.Runner(loop_factory=Watched) as runner:
            got = runner.run(main())
            turns = runner.get_loop().turns
    finally:
        gc.enable()
    assert [answer.get("error") for answer in got] == [None] * 1000
    assert server.connections == 1001
    assert max(turns) < 0.05
    assert registry.running() == ()
    until(lambda: ours() <= before)


async def test_so_many_run_at_once_and_the_others_wait_their_turn(gate) -> None:
    registry = ToolRegistry(max_threads=3)
    at_once, most = set(), []

    def work(n: int) -> int:
        at_once.add(n)
        most.append(len(at_once))
        gate.wait(0.01)
        at_once.discard(n)
        return n

    registry.tool(work)
    before = ours()
    calls = [registry.acall("work", {"n": n}) for n in range(30)]
    assert await asyncio.gather(*calls) == list(range(30))
    assert max(most) <= 3
    assert ours() <= before + 3


async def test_a_tool_that_hangs_delays_no_other_and_is_left_behind(gate) -> None:
    registry = ToolRegistry(max_threads=2)
    registry.tool(lambda: gate.wait(60), name="hangs", timeout=0.2)
    registry.tool(lambda: "fine", name="other")
    registry.tool(lambda: gate.wait(60), name="asked", approve=lambda *_: gate.wait(60))
    hanging = [
        asyncio.create_task(registry.aresult({"name": name}))
        for name in ("hangs", "asked")
        for _ in range(6)
    ]
    await asyncio.sleep(0)
    assert await registry.acall("other") == "fine"
    answers = await asyncio.gather(*hanging[:6])  # two by two, as each pair is left
    assert {answer["error"]["type"] for answer in answers} == {"ToolTimeoutError"}
    assert sum(run.abandoned for run in registry.running()) == 6
    gate.set()
    await asyncio.gather(*hanging)


async def test_the_time_of_a_tool_begins_with_its_turn_that_of_a_deadline_at_once(
    gate,
) -> None:
    registry = ToolRegistry(max_threads=1, timeout=2)
    inside = threading.Event()
    registry.tool(lambda: inside.set() or gate.wait(60), name="slow", max_uses=3)
    first = asyncio.create_task(registry.acall("slow"))
    await asyncio.to_thread(inside.wait)
    with pytest.raises(Passed):
        await registry.acall("slow", deadline=Until(0.05))
    patient = asyncio.create_task(registry.acall("slow"))
    await asyncio.sleep(1.5)
    gate.set()
    assert await first is await patient is True
    assert registry["slow"].quota.left == 1  # the one that never began is given back


async def test_a_call_that_is_cancelled_in_the_line_has_used_nothing(gate) -> None:
    registry = ToolRegistry(max_threads=1)
    inside, ran = threading.Event(), []
    registry.tool(lambda: gate.wait(60), name="other")

    @registry.tool(max_uses=2, rate="2/hour")
    def slow() -> None:
        ran.append(1)
        inside.set()
        gate.wait(60)

    first = asyncio.create_task(registry.acall("slow"))
    await asyncio.to_thread(inside.wait)
    second = asyncio.create_task(registry.acall("slow"))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    await registry.acall("slow")
    assert len(ran) == 2


@pytest.mark.parametrize("door", ["sync", "thread", "loop"])
async def test_tools_that_call_tools_never_wait_for_each_others_turns(door) -> None:
    registry, loop = ToolRegistry(max_threads=1, timeout=20), asyncio.get_running_loop()

    def deep(n: int) -> int:
        if n == 0:
            return 0
        inner = registry.acall("deep", {"n": n - 1})
        if door == "loop":
            return 1 + asyncio.run_coroutine_threadsafe(inner, loop).result()
        if door == "thread":
            return 1 + asyncio.run(inner)
        inner.close()
        return 1 + registry.call("deep", {"n": n - 1})

    registry.tool(deep)
    calls = [registry.acall("deep", {"n": 5}) for _ in range(8)]
    assert await asyncio.gather(*calls) == [5] * 8


async def test_cancelling_a_call_ends_the_calls_in_it_too(loopback) -> None:
    server = loopback(lambda server, conn, _: server.drip(conn))
    registry = ToolRegistry()
    registry.tool(
        http_get(
            ports=[server.port],
            allow=lambda address: True,
            resolve=lambda host, port: ["127.0.0.1"],
        )
    )
    url = f"http://site.example:{server.port}/"
    registry.tool(lambda: registry.call("http_get", {"url": url}), name="outer")
    task = asyncio.create_task(registry.acall("outer"))
    await asyncio.to_thread(until, lambda: server.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.closed_by_peer.wait, 10)
    await asyncio.to_thread(until, lambda: not registry.running())


async def test_what_is_called_by_an_abandoned_call_is_not_begun(gate) -> None:
    registry, ran = ToolRegistry(timeout=0.05), []
    registry.tool(lambda: ran.append(1), name="inner")

    @registry.tool
    def outer() -> None:
        gate.wait(60)
        with contextlib.suppress(ToolTimeoutError):
            registry.call("inner")

    with pytest.raises(ToolTimeoutError):
        await registry.acall("outer")
    gate.set()
    await asyncio.to_thread(until, lambda: not registry.running())
    assert ran == []


async def test_a_cancelled_lookup_of_a_name_holds_nobody(gate) -> None:
    asked = threading.Event()
    registry = ToolRegistry()
    registry.tool(http_get(resolve=lambda *_: [asked.set() or str(gate.wait(60))]))
    task = asyncio.create_task(
        registry.acall("http_get", {"url": "http://site.example/"})
    )
    await asyncio.to_thread(asked.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(until, lambda: not registry.running())


def test_a_system_without_threads_is_an_error_at_once() -> None:
    class Nothing(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    daemons = Daemons(Nothing)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            daemons.submit(int).result(10)


@pytest.mark.parametrize("work", ["check", "define", "call"])
def test_threads_inside_the_validator_do_not_crash_the_exit(work) -> None:
    """The interpreter ends daemon threads where they are, and native code bears it ill."""
    code = (
        "import sys, threading; from waybell_tools import ToolRegistry\n"
        "r = ToolRegistry()\n"
        "def t(a: list[int], s: str = '') -> None: ...\n"
        "r.tool(t)\n"
        "bad = {'a': ['x'] * 500, 's': 1}\n"
        "on = threading.Semaphore(0)\n"
        "def check():\n"
        "    try: r['t'].check(bad)\n"
        "    except ValueError: pass\n"
        "def define(): ToolRegistry([t])\n"
        "def call(): r.result({'name': 't', 'arguments': bad})\n"
        "def work():\n"
        "    while True: globals()[sys.argv[1]](); on.release()\n"
        "for _ in range(20): threading.Thread(target=work, daemon=True).start()\n"
        "for _ in range(20): on.acquire()\n"
        "import atexit; atexit.register(lambda: print(r.result({'name': 't'})['error']['type']))\n"
    )
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, "-c", code, work],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (out.returncode, out.stdout) == (0, "ToolArgumentsError\n"), out.stderr


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_others_check_arguments_leaves_a_child_that_can() -> None:
    code = (
        "import os, threading, warnings; from waybell_tools import ToolRegistry\n"
        "warnings.simplefilter('ignore')\n"
        "r = ToolRegistry()\n"
        "r.tool(lambda a: a, name='t', schema={'properties': {'a': {'type': 'array'}}})\n"
        "def work():\n"
        "    while True: r['t'].check({'a': [1] * 2000})\n"
        "for _ in range(4): threading.Thread(target=work, daemon=True).start()\n"
        "for _ in range(30):\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(r.call('t', {'a': [1]}) != [1])\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)


async def test_what_a_call_left_running_may_call_tools_when_that_has_ended() -> None:
    """Also if it failed or was abandoned, whose context such a task still has."""
    registry, loop = ToolRegistry(timeout=5), asyncio.get_running_loop()
    registry.tool(lambda: "fine", name="inner")
    go, tasks = asyncio.Event(), []

    async def later() -> str:
        await go.wait()
        return await registry.acall("inner")

    @registry.tool
    def outer() -> None:
        tasks.append(asyncio.run_coroutine_threadsafe(later(), loop))
        raise OSError("failed")

    with pytest.raises(OSError, match="failed"):
        await asyncio.to_thread(registry.call, "outer")
    go.set()
    assert await asyncio.wrap_future(tasks[0]) == "fine"


@pytest.mark.simulate(seeds=100)
async def test_no_turn_is_lost_whatever_is_cancelled_when(rng) -> None:
    registry, ran = ToolRegistry(max_threads=2, timeout=3), []

    async def approve(name: str, arguments: object) -> bool:
        await asyncio.sleep(rng.choice([0, 0, 1]))
        return True

    @registry.tool(approve=approve, max_uses=100)
    def work(n: int) -> int:
        ran.append(n)
        return n

    tasks = [
        asyncio.create_task(registry.acall("work", {"n": n}))
        for n in range(rng.randint(1, 12))
    ]
    for task in tasks:
        if rng.random() < 0.5:
            await asyncio.sleep(rng.choice([0, 0, 1]))
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    used = 100 - registry["work"].quota.left
    assert len(ran) == used <= len(tasks)
    assert await asyncio.gather(
        *(registry.acall("work", {"n": n}) for n in range(5))
    ) == list(range(5))
