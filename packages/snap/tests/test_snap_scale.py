"""Many agents at once, and many inside of each other: work grows with the run only."""

# What a block complains of at its end is raised around all of it.
# ruff: noqa: PT012

import asyncio
import contextlib
import copy
import pickle
import sys

import pytest

from waybell_adapters import Reply, agenerate
from waybell_snap import (
    Recording,
    RecordingMissing,
    Replay,
    SnapMismatch,
    Snapshot,
    compare,
)
from waybell_snap._scope import Tasks
from waybell_snap._tree import Node


DEEP = 5_000


class Echo:
    """A model that gives back what it was asked, and lets others run meanwhile."""

    async def agenerate(self, prompt, **options):
        await asyncio.sleep(0)
        return Reply(f"to {prompt}")

    def generate(self, prompt, **options):
        return Reply(f"to {prompt}")

    stream = None


@contextlib.contextmanager
def counted():
    """Count what the interpreter executes meanwhile: lines, not seconds.

    A line that is a loop in itself counts each time it goes round.
    """
    steps = [0]

    def trace(frame, event, _):
        steps[0] += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield steps
    finally:
        sys.settrace(before)
    assert steps[0] > 0


async def crowd(run, many, *, given=(), apart=False):
    """Agents that are started at once and ask the same, twice."""
    model = run.adapter(Echo(), name="m")

    async def worker(number):
        with run.agent("worker", **dict.fromkeys(given, number)):
            await agenerate(model, "go")
            await agenerate(model, "on")

    async def unnamed(number):
        await agenerate(model, "go")

    work = unnamed if apart else worker
    await asyncio.gather(*(work(n) for n in range(many)))


CROWDS = {
    "equal agents": {},
    "equal calls of tasks": {"apart": True},
    "agents given different things": {"given": ["n"]},
}


def run_all(path, many, settings):
    """What recording, replaying and comparing take."""

    async def main():
        async with Recording(path) as first:
            await crowd(first, many, **settings)
        async with Replay(path, check=False) as again:
            await crowd(again, many, **settings)
        changed = Snapshot.load(path)
        for lane in changed.root["lanes"]:
            lane["nodes"][0]["got"] = {"text": "new", "usage": {}, "cost": "0"}
        assert len(compare(again.snapshot, changed).failures) >= many
        return again

    with counted() as steps:
        again = asyncio.run(main())
    assert again.compare().changes == ()
    return steps[0]


@pytest.mark.parametrize("kind", CROWDS)
def test_twice_as_many_equal_agents_at_once_are_twice_the_work(tmp_path, kind):
    small, large = (
        run_all(tmp_path / f"{many}.json", many, CROWDS[kind]) for many in (10, 50)
    )
    assert large < 5.3 * small


def test_a_crowd_whose_tasks_and_inputs_are_new_is_no_more_than_linear(tmp_path):
    def replayed(many):
        path = tmp_path / f"{many}.json"

        async def main(begin, name):
            async with begin(path) as run:
                await crowd(run, many, given=[name])
            return run

        asyncio.run(main(Recording, "n"))
        with counted() as steps, pytest.raises(SnapMismatch, match="input"):
            asyncio.run(main(Replay, "other"))
        return steps[0]

    small, large = replayed(10), replayed(50)
    assert large < 5.6 * small


def test_tasks_that_start_one_after_another_and_all_live_are_named_in_linear_work():
    def named(many):
        lanes, parent = Tasks(effort=500), Node("run", "run")

        async def one(ends):
            lanes.lane(parent)
            await ends.wait()

        async def main():
            ends = asyncio.Event()
            tasks = []
            for _ in range(many):
                tasks += [asyncio.create_task(one(ends)), asyncio.create_task(other())]
                await asyncio.sleep(0)
            ends.set()
            await asyncio.gather(*tasks)

        async def other():
            pass

        with counted() as steps:
            asyncio.run(main())
        return steps[0]

    small, large = named(100), named(500)
    assert large < 8 * small


def nest(run, depth=DEEP, *, last="end"):
    """Agents inside of agents, each of which asks a model."""
    model = run.adapter(Echo(), name="m")
    with contextlib.ExitStack() as stack:
        for number in range(depth):
            stack.enter_context(run.agent("a", n=number))
            if number % 10 == 0:
                model.generate("go")
        run.output(last)


def test_agents_nest_deeper_than_python_calls(tmp_path):
    path = tmp_path / "run.json"
    with Recording(path) as first:
        nest(first)
    with Replay(path) as again:
        nest(again)
    assert str(again.snapshot).count("\n") == DEEP + DEEP // 10
    assert again.snapshot == Snapshot.load(path) == first.snapshot
    assert path.stat().st_size < 10_000_000


def nested(end="end", depth=DEEP):
    """A snapshot of agents inside of agents, of whom the last has two lanes."""
    root = node = {"kind": "run", "name": "run"}
    for _ in range(depth):
        node["lanes"] = [{"nodes": [{"kind": "agent", "name": "a"}]}]
        node = node["lanes"][0]["nodes"][0]
    ends = [{"kind": "agent", "name": name, "got": end} for name in "xyz"]
    node["lanes"] = [{"task": "one", "nodes": ends[:2]}, {"nodes": ends[2:]}]
    return Snapshot(root)


def test_a_deep_snapshot_is_compared_shown_copied_and_pickled_as_any_other():
    run = nested()
    for one, two in ((run, nested()), (run.root, nested().root)):
        assert one == two
        assert not one != two  # noqa: SIM202 - another operator
        for other in (copy.copy(one), pickle.loads(pickle.dumps(one))):
            assert other == one
            assert type(other) is type(one)
    assert copy.deepcopy(run) == run
    for other in (nested("another"), nested(depth=DEEP - 1), nested(depth=DEEP + 1)):
        assert run != other
        assert other.root != run.root
    changes = compare(run, nested("another")).changes
    assert {(one.kind, one.old, one.new) for one in changes} == {
        ("output", "end", "another")
    }
    assert [one.path for one in changes] == [
        "/".join(["a"] * DEEP + [f"{name}.got"]) for name in "xyz"
    ]
    found = compare(nested(depth=1_500), nested(depth=1_499))
    kinds = [change.kind for change in found.changes]
    assert kinds == ["calls"] * 4
    assert "<5004 nodes, too deep to be shown" in repr(run)
    assert compare(run, pickle.loads(pickle.dumps(run)), allow=()).passed


def test_a_shallow_snapshot_shows_all_it_has_and_is_a_mapping_like_others():
    run = nested(depth=1)
    assert run.root == {**run.root}
    assert {**run.root} == run.root
    assert run.root != "a text"
    assert repr(run) == f"Snapshot(root={ {**run.root} })"
    again = pickle.loads(pickle.dumps(run))
    assert (again, repr(again)) == (run, repr(run))
    assert copy.deepcopy(run).root["lanes"] is not run.root["lanes"]
    assert copy.copy(run) == run


async def test_a_chain_of_tasks_nests_as_deep(tmp_path):
    async def chain(run, left, ends):
        with run.agent("turn"):
            if left:
                asyncio.get_running_loop().call_soon(
                    lambda: tasks.append(
                        asyncio.create_task(chain(run, left - 1, ends))
                    )
                )
            else:
                ends.set()
            await ends.wait()

    for begin in (Recording, Replay):
        async with begin(tmp_path / "run.json") as run:
            tasks, ends = [], asyncio.Event()
            await chain(run, 400, ends)
            await asyncio.gather(*tasks)
    assert len([*run.snapshot.nodes()]) == 402


async def test_one_that_asks_more_often_does_not_take_what_others_were_told(tmp_path):
    async def use(run, *, at_once):
        model = run.adapter(Counting(), name="m")

        async def team(name):
            with run.agent("team", n=name):
                if at_once and name == "first":
                    with run.agent("worker"):
                        return [str(await agenerate(model, "go")) for _ in range(2)]
                told = []
                for _ in range(2):
                    with run.agent("worker"):
                        told.append(str(await agenerate(model, "go")))
                return told

        return await asyncio.gather(team("first"), team("second"))

    async with Recording(tmp_path / "run.json") as run:
        live = await use(run, at_once=False)
    async with Replay(tmp_path / "run.json", check=False) as run:
        assert await use(run, at_once=True) == live
    assert {change.kind for change in run.compare().changes} == {"calls"}


class Counting(Echo):
    """A model that numbers what it is asked."""

    def __init__(self):
        self.asked = 0

    async def agenerate(self, prompt, **options):
        self.asked += 1
        return Reply(str(self.asked))


def test_of_many_calls_that_are_missing_only_the_first_are_explained_at_length(
    tmp_path,
):
    with Recording(tmp_path / "run.json") as run:
        run.adapter(Echo()).generate("what was asked")
    told = []
    with pytest.raises(RecordingMissing), Replay(tmp_path / "run.json") as run:
        for number in range(8):
            with pytest.raises(RecordingMissing) as failed:
                run.adapter(Echo()).generate(f"what is asked, {number}")
            told.append("nearest: " in str(failed.value))
    assert told == [True] * 5 + [False] * 3
