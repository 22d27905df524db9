"""Tools: recorded with what asked for them, replayed or run for real."""

# What a block complains of at its end is raised around all of it.
# ruff: noqa: SIM117

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import pytest

from waybell_adapters import Reply, ScriptedAdapter, ToolCall, agenerate
from waybell_snap import Recording, RecordingMissing, Replay, SnapMismatch
from waybell_tools import (
    ToolArgumentsError,
    ToolRegistry,
    ToolTimeoutError,
    UnknownToolError,
)


@dataclass
class Place:
    x: int
    names: list[str]


class Shelf:
    """Tools, and how often they ran."""

    def __init__(self):
        self.ran = 0
        self.registry = ToolRegistry(
            [self.add, self.slow, self.asked, self.odd, self.values]
        )

    def add(self, a: int, b: int = 1) -> int:
        """Add."""
        self.ran += 1
        if a < 0:
            raise ValueError(f"{a} is negative")
        return a + b

    async def slow(self, seconds: float) -> str:
        """Wait."""
        self.ran += 1
        await asyncio.sleep(seconds)
        return "done"

    async def asked(self, place: Place, idempotency_key: str) -> str:
        """Take what the caller fills in."""
        self.ran += 1
        return f"{place.x} {len(idempotency_key) > 8}"

    def odd(self) -> object:
        """Give what JSON does not know."""
        self.ran += 1
        return object()

    def values(self) -> object:
        """Give what JSON needs help for."""
        self.ran += 1
        return {
            "d": Decimal("1.50"),
            "b": b"\xff",
            "t": (1, 2.0),
            3: float("inf"),
            "$x": None,
        }


@pytest.fixture
def twice(tmp_path):
    """Run a function of a session and tools, recorded and then replayed."""

    def run(use, **settings):
        path = tmp_path / "run.json"
        shelf = Shelf()
        with Recording(path) as first:
            live = use(first, first.tools(shelf.registry))
        ran = shelf.ran
        with Replay(path, **settings) as second:
            again = use(second, second.tools(shelf.registry))
        assert shelf.ran - ran == (ran if settings.get("tools") == "live" else 0)
        assert second.snapshot.root == second.recorded.root
        return live, again

    return run


def test_values_come_again_as_they_were_and_no_tool_runs(twice):
    live, again = twice(
        lambda _, tools: (tools.call("values"), tools.call("add", {"a": 1}))
    )
    assert live == again
    assert isinstance(again[0]["t"], tuple)
    assert isinstance(again[0]["t"][1], float)


def test_arguments_as_json_text_are_the_same_call(tmp_path):
    shelf = Shelf()
    with Recording(tmp_path / "run.json") as run:
        run.tools(shelf.registry).call("add", '{"a": 1, "b": 2.0}')
    with Replay(tmp_path / "run.json") as run:
        assert run.tools(shelf.registry).call("add", {"b": 2, "a": 1}) == 3
    assert shelf.ran == 1


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("add", {"a": -1}, ValueError),
        ("add", {"a": "x"}, ToolArgumentsError),
        ("add", "{", ToolArgumentsError),
        ("nothing", {}, UnknownToolError),
    ],
)
def test_errors_come_again_by_every_door(twice, name, arguments, kind):
    def use(_, tools):
        with pytest.raises(kind) as failed:
            tools.call(name, arguments)
        told = tools.result({"id": "c1", "name": name, "arguments": arguments})
        assert told["error"]["type"] == kind.__name__
        return str(failed.value), getattr(failed.value, "problems", ()), told

    live, again = twice(use)
    assert live == again


async def test_async_doors_and_timeouts_come_again(tmp_path):
    registry = ToolRegistry(timeout=0.01)
    registry.tool(Shelf().slow)
    for session in (Recording, Replay):
        async with session(tmp_path / "run.json") as run:
            tools = run.tools(registry)
            assert await tools.acall("slow", {"seconds": 0}) == "done"
            with pytest.raises(ToolTimeoutError):
                await tools.acall("slow", {"seconds": 60})
            told = await tools.aresult(
                {"id": "c", "name": "slow", "arguments": {"seconds": 60}}
            )
            assert told["error"]["type"] == "ToolTimeoutError"


def test_what_cannot_be_stored_says_how_to_go_on(twice, tmp_path):
    with pytest.raises(
        RecordingMissing, match=r'a builtins\.object .* with tools="live"'
    ):
        twice(lambda _, tools: tools.call("odd"))
    twice(lambda _, tools: bool(tools.call("odd")), tools="live")


def test_live_tools_run_and_a_new_result_is_a_change(tmp_path):
    shelf = Shelf()
    with Recording(tmp_path / "run.json") as run:
        run.tools(shelf.registry).call("add", {"a": 1})
    shelf.registry._tools.clear()
    shelf.registry.define_tool(
        name="add", fn=lambda a: a + 100, schema={"type": "object"}
    )
    with pytest.raises(SnapMismatch, match=r"output: add\(\).got\n *- 2\n *\+ 101"):
        with Replay(tmp_path / "run.json", tools="live") as run:
            run.tools(shelf.registry).call("add", {"a": 1})


def test_tools_are_one_set_seen_through_both(tmp_path):
    shelf = Shelf()
    tools = Recording(tmp_path / "run.json").tools(shelf.registry)

    @tools.tool
    def new(a: int) -> int:
        """Be new."""
        return a

    assert isinstance(tools, ToolRegistry)
    assert "new" in shelf.registry
    assert [*tools] == [*shelf.registry]
    assert tools.specs() == shelf.registry.specs()
    assert (len(tools), repr(tools)) == (
        6,
        repr(shelf.registry).replace("ToolRegistry", "RecordedTools"),
    )


def test_a_tool_taken_from_its_registry_is_recorded_too(twice):
    def use(_, tools):
        box = ToolRegistry()
        for name in tools:
            box._tools[name] = tools[
                name
            ]  # as an agent does with the tools it is given
        told = box.call(
            "asked", {"place": {"x": 1, "names": []}}, idempotency_key="k" * 9
        )
        assert (
            box.result({"name": "add", "arguments": {"a": -1}})["error"]["type"]
            == "ValueError"
        )
        return told, box.call("add", {"a": 1})

    live, again = twice(use)
    assert live == again == ("1 True", 2)


def test_bad_arguments_are_a_failure_of_the_run_past_the_registry_too(twice):
    def use(run, tools):
        box = ToolRegistry()
        box._tools["add"] = tools["add"]
        told = box.result({"name": "add", "arguments": {"a": "x"}})
        assert told["error"]["type"] == "ToolArgumentsError"
        (node,) = [n for n in run.snapshot.nodes() if n["kind"] == "tool"]
        assert node["error"]["type"] == "waybell_tools._errors.ToolArgumentsError"
        assert (node["given"], node["error"]["message"]) == (
            {"a": "x"},
            told["error"]["message"],
        )
        return told

    live, again = twice(use)
    assert live == again


def test_a_sync_tool_that_gives_a_coroutine_is_recorded_when_it_is_done(tmp_path):
    async def soon(a):
        return a + 1

    def later(**arguments):
        return soon(**arguments)

    registry = ToolRegistry()
    registry.define_tool(name="later", fn=later, schema={"type": "object"})
    for session in (Recording, Replay):
        with session(tmp_path / "run.json") as run:
            assert run.tools(registry)["later"].fn.__name__ == "run"
            box = ToolRegistry()
            box._tools["later"] = run.tools(registry)["later"]
            assert box.call("later", {"a": 1}) == 2


def test_a_tool_belongs_to_the_call_that_asked_for_it(tmp_path):
    calls = [ToolCall("1", "add", {"a": 1}), ToolCall("2", "add", {"a": 2})]
    with Recording(tmp_path / "run.json") as run:
        model = run.adapter(ScriptedAdapter([Reply(tool_calls=calls), "done"]))
        tools = run.tools(Shelf().registry)
        reply = model.generate("go")
        for call in reversed(reply.tool_calls):
            tools.result(call)
        tools.call("add", {"a": 2})
        model.generate("on")
    assert str(run.snapshot).splitlines() == [
        "run",
        "  model.generate()",
        "    add()",
        "    add()",
        "  add()",
        "  model.generate()",
    ]


async def test_an_agent_behind_a_tool_is_inside_of_it_and_comes_whole_from_the_recording(
    tmp_path,
):
    for session in (Recording, Replay):
        async with session(tmp_path / "run.json") as run:
            model = run.adapter(ScriptedAdapter(["inner"]))
            registry = ToolRegistry()

            @registry.tool
            async def ask(what: str) -> str:
                """Ask an agent."""
                return str(await agenerate(model, what))  # noqa: B023 - called in its round

            assert await run.tools(registry).acall("ask", {"what": "x"}) == "inner"
    assert str(run.snapshot) == "run\n  ask()\n    model.generate()"


def test_threads_with_a_context_keep_their_order_and_their_place(tmp_path):
    def agent(run, tools, number):
        with run.agent(f"agent{number}"):
            return [tools.call("add", {"a": number, "b": n}) for n in range(3)]

    async def main(run):
        tools = run.tools(Shelf().registry)
        with run.agent("lead"):
            return await asyncio.gather(
                *(asyncio.to_thread(agent, run, tools, n) for n in range(4)),
                *(asyncio.to_thread(tools.call, "add", {"a": 9}) for _ in range(2)),
            )

    with Recording(tmp_path / "run.json") as run:
        asyncio.run(main(run))
    for _ in range(5):
        with Replay(tmp_path / "run.json") as again:
            asyncio.run(main(again))
        assert again.snapshot.root == run.snapshot.root


def test_threads_of_a_pool_without_a_context_are_in_no_order(tmp_path):
    def work(tools, n):
        return [tools.call("add", {"a": n}), tools.call("add", {"a": n + 10})]

    for session in (Recording, Replay):
        with session(tmp_path / "run.json") as run, ThreadPoolExecutor(2) as pool:
            tools = run.tools(Shelf().registry)
            assert list(pool.map(partial(work, tools), range(4)))
    lanes = run.snapshot.root["lanes"]
    assert [len(lane["nodes"]) for lane in lanes] == [1] * 8


def test_agents_in_threads_of_a_pool_are_in_no_order_but_each_is_in_its_own(tmp_path):
    def agent(run, tools, number):
        with run.agent(f"agent{number}"):
            return [tools.call("add", {"a": number, "b": n}) for n in range(3)]

    seen = set()
    for round_ in range(8):
        session = Replay if round_ else Recording
        with session(tmp_path / "run.json") as run, ThreadPoolExecutor(2) as pool:
            tools = run.tools(Shelf().registry)
            assert len([*pool.map(partial(agent, run, tools), range(6))]) == 6
        seen.add(str(run.snapshot))
    assert seen == {
        "run\n"
        + "\n".join(
            f"  - agent{n}\n" + "\n".join(["      add()"] * 3) for n in range(6)
        )
    }
