"""Odd signatures, hostile arguments, those who are asked and never answer, and crowds."""

import asyncio
import contextlib
import gc
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from waybell_tools import (
    ToolArgumentsError,
    ToolDenied,
    ToolLimitError,
    ToolRegistry,
    ToolTimeoutError,
)
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


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def forever(*_: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_sync_call_waits_for_approval_no_longer_than_its_deadline(gate, kind) -> None:
    approve = forever if kind == "async" else lambda *_: gate.wait(60)
    registry = ToolRegistry(approve=approve)
    registry.tool(lambda: "done", name="rm", approve=True, max_uses=1)
    with pytest.raises(Passed):
        registry.call("rm", deadline=Until(0.05))
    assert registry["rm"].quota.left == 1


def test_what_a_plain_function_returns_to_be_awaited_ends_in_time() -> None:
    cancelled = []

    async def never() -> None:
        try:
            await forever()
        finally:
            cancelled.append(True)

    registry = ToolRegistry(timeout=0.05)
    registry.tool(lambda: never(), name="later")  # noqa: PLW0108 - what is tested
    with pytest.raises(ToolTimeoutError):
        registry.call("later")
    with pytest.raises(ToolTimeoutError):
        asyncio.run(registry.acall("later"))
    assert cancelled == [True, True]
    assert registry.running() == ()


def test_an_async_tool_that_blocks_its_loop_is_left_and_shown(gate) -> None:
    async def blocks() -> None:
        gate.wait(60)  # as time.sleep would

    registry = ToolRegistry([blocks], timeout=0.05)
    with pytest.raises(ToolTimeoutError):
        registry.call("blocks")
    assert [(run.name, run.abandoned) for run in registry.running()] == [
        ("blocks", True)
    ]
    gate.set()
    until(lambda: not registry.running())


def test_a_deadline_shows_in_the_error_of_a_call_made_anywhere(gate) -> None:
    registry = ToolRegistry()
    registry.tool(lambda: gate.wait(60), name="thread")
    registry.tool(forever, name="task", schema={})
    for name in registry:
        with pytest.raises(Passed):
            registry.call(name, deadline=Until(0.05))


@pytest.mark.parametrize("step", range(1, 5))
async def test_a_call_can_be_cancelled_wherever_it_waits(gate, step) -> None:
    registry, at = ToolRegistry(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def here() -> bool:
        at.set()
        await forever()
        return True

    def there() -> bool:
        loop.call_soon_threadsafe(at.set)
        return gate.wait(60)

    approve = {1: lambda *_: here(), 2: lambda *_: there()}.get(step, False)
    fn = {3: lambda: here(), 4: lambda: there()}.get(step, lambda: None)  # noqa: PLW0108
    registry.tool(fn, name="tool", approve=approve, max_uses=1)
    task = asyncio.create_task(registry.aresult({"name": "tool"}))
    await at.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert registry["tool"].quota.left == (1 if approve else 0)
    gate.set()
    await asyncio.to_thread(until, lambda: not registry.running())


def numbers():
    yield 1


async def later_numbers():
    yield 1


@pytest.mark.parametrize("fn", [numbers, later_numbers])
def test_a_function_that_yields_is_refused_when_defined(fn) -> None:
    with pytest.raises(TypeError, match="yields: a tool returns one value"):
        ToolRegistry([fn])


def test_a_class_is_a_tool_by_the_hints_of_its_init() -> None:
    class Plain:
        """Made."""

        def __init__(self, n: int) -> None:
            self.n = n

    @dataclass
    class Point:
        x: int

    registry = ToolRegistry([Plain, Point])
    assert registry.call("Plain", {"n": 1}).n == 1
    assert registry.call("Point", {"x": 1}) == Point(1)
    for name in registry:
        with pytest.raises(ToolArgumentsError, match="is not of type"):
            registry.call(name, {registry[name].schema["required"][0]: "x"})


@dataclass
class Left:
    next: "list[Left | Right]" = field(default_factory=list)


@dataclass
class Right:
    next: "list[Left | Right]" = field(default_factory=list)


@dataclass
class Chain:
    next: "Chain | list[Any] | None" = None


def test_a_union_whose_check_could_take_for_ever_is_refused_when_defined() -> None:
    def walk(start: Left) -> None: ...

    with pytest.raises(TypeError, match=r"Left, Right.* give schema="):
        ToolRegistry([walk])


@pytest.mark.parametrize(
    ("end", "fits"),
    [(None, True), ([], True), ({"bad": 1}, False), ("x", False)],
    ids=str,
)
def test_a_chain_of_a_hundred_is_checked_at_once(end, fits) -> None:
    def walk(start: Chain, other: Chain | dict[str, Chain] | None = None) -> int:
        count = 0
        while isinstance(start, Chain):
            start, count = start.next, count + 1
        return count

    for _ in range(100):
        end = {"next": end}
    registry = ToolRegistry([walk])
    try:
        assert (registry.call("walk", {"start": end}), fits) == (100, True)
    except ToolArgumentsError:
        assert not fits


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": {"b": 1, "b": 1}}'])
def test_a_key_given_twice_is_refused(text) -> None:
    registry = ToolRegistry()
    registry.tool(lambda a: a, name="same")
    with pytest.raises(ToolArgumentsError, match="a key is given twice"):
        registry.call("same", text)


@pytest.mark.parametrize("depth", [90, 1000, 200_000])
def test_nested_arguments_are_a_value_or_an_error_of_ours(depth) -> None:
    def count(items: list[Any], kind: Literal["a"] = "a") -> int:
        return len(items)

    nested: Any = []
    for _ in range(depth):
        nested = [nested]
    registry = ToolRegistry([count])
    for arguments in (
        {"items": nested},
        '{"items": ' + "[" * depth + "]" * depth + "}",
    ):
        with contextlib.suppress(ToolArgumentsError):
            assert registry.call("count", arguments) == 1
        with pytest.raises(ToolArgumentsError):
            registry.call("count", {"items": [], "kind": nested})


@pytest.mark.parametrize("hint", [list[int], list[int] | None, dict[str, int]], ids=str)
def test_a_million_problems_are_not_listed(hint) -> None:
    def count(items: Any) -> int:
        return len(items)

    count.__annotations__["items"] = hint
    registry = ToolRegistry([count])
    items: Any = ["x"] * 1_000_000
    if hint == dict[str, int]:
        items = {str(n): "x" for n in range(1_000_000)}
    with pytest.raises(ToolArgumentsError, match="too many to say where"):
        registry.call("count", {"items": items})
    right = [1] * 100_000 if isinstance(items, list) else {str(n): 1 for n in range(9)}
    assert registry.call("count", {"items": right}) == len(right)


def test_an_argument_that_contains_itself_is_an_error_of_ours() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    registry = ToolRegistry()
    registry.tool(
        lambda a: a, name="same", schema={"properties": {"a": {"type": "string"}}}
    )
    with pytest.raises(ToolArgumentsError):
        registry.call("same", {"a": cycle})


def test_a_name_of_a_million_letters_is_told_in_part() -> None:
    answer = ToolRegistry().result({"name": "a" * 1_000_000})
    assert len(answer["text"]) < 500


def test_what_cannot_be_told_is_told_by_its_type() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    @dataclass
    class Point:
        x: int

    def fail() -> None:
        raise Mute

    registry = ToolRegistry([fail])
    registry.tool(lambda: object.__new__(Point), name="half")
    registry.tool(lambda: "a\ud800b", name="torn")
    assert registry.result({"name": "fail"})["error"] == {
        "type": "Mute", "message": "<Mute>"
    }  # fmt: skip
    assert registry.result({"name": "half"})["text"] == '{"x": null}'
    assert registry.result({"name": "torn"})["text"].encode() == b"a?b"


def test_uses_and_rates_hold_among_threads() -> None:
    registry, ran = ToolRegistry(), []
    registry.tool(lambda: ran.append(1), name="few", max_uses=10)
    registry.tool(lambda: ran.append(2), name="slow", rate="10/hour")

    def hammer() -> None:
        for name in ("few", "slow") * 5:
            with contextlib.suppress(ToolLimitError):
                registry.call(name)

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (ran.count(1), ran.count(2)) == (10, 10)


async def test_a_thousand_calls_at_once_leave_nothing_behind() -> None:
    registry = ToolRegistry()
    both = threading.Semaphore(0)

    @registry.tool(approve=lambda *_: True)
    def thread(n: int) -> int:
        both.release()
        return n

    @registry.tool
    async def task(n: int) -> int:
        await asyncio.sleep(0)
        return n

    await registry.acall("thread", {"n": 0})
    gc.collect()
    threads, files = threading.active_count(), open_files()
    got = await asyncio.gather(
        *(registry.acall(("thread", "task")[n % 2], {"n": n}) for n in range(1000))
    )
    assert got == list(range(1000))
    await asyncio.to_thread(until, lambda: threading.active_count() <= threads + 1)
    assert open_files() <= files
    assert registry.running() == ()


def test_one_registry_serves_many_loops_and_threads() -> None:
    registry = ToolRegistry()
    registry.tool(lambda n: n, name="sync")
    errors = []

    async def many() -> None:
        got = await asyncio.gather(
            *(registry.acall("sync", {"n": n}) for n in range(20))
        )
        errors.extend(n for n, value in enumerate(got) if n != value)

    def work() -> None:
        for _ in range(5):
            asyncio.run(many())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_does_not_inherit_calls_left_behind(gate) -> None:
    registry = ToolRegistry(timeout=0.05, max_abandoned=1)
    registry.tool(lambda: gate.wait(60), name="slow")
    with pytest.raises(ToolTimeoutError):
        registry.call("slow")
    with pytest.raises(ToolLimitError):
        registry.call("slow")
    other = ToolRegistry()
    other.tool(lambda: "fine", name="quick")
    assert other.call("quick") == "fine"  # which leaves a thread that idles
    child = os.fork()
    if not child:
        gate.set()
        fine = registry.running() == () and registry.call("slow") is True
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_thread_that_has_done_its_work_does_more_and_ends_when_there_is_none() -> (
    None
):
    registry = ToolRegistry()
    registry.tool(lambda: threading.get_ident(), name="who")  # noqa: PLW0108
    assert len({registry.call("who") for _ in range(50)}) < 50
    own = registry.call("who")
    until(lambda: own not in {thread.ident for thread in threading.enumerate()})


def test_work_that_was_cancelled_is_not_begun() -> None:
    later: list[threading.Thread] = []

    class Later(threading.Thread):
        def start(self) -> None:
            later.append(self)

    ran: list[int] = []
    daemons = Daemons(Later)
    first, second = (daemons.submit(ran.append, n) for n in (1, 2))
    assert first.cancel()
    threading.Thread.start(later[0])
    second.result(10)
    assert ran == [2]


def test_one_who_approves_sees_what_will_run() -> None:
    """Arguments as converted, not a text that could be read in another way."""
    seen: list[Any] = []
    registry = ToolRegistry(approve=lambda name, given: bool(seen.append(given)))
    registry.tool(lambda path: path, name="rm", approve=True)
    with pytest.raises(ToolDenied):
        registry.call("rm", '{"path": "\\u002e\\u002e/x"}')
    assert seen == [{"path": "../x"}]
