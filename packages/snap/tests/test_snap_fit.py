"""Which recorded call is given where two runs of a program are not the same."""

import asyncio
import contextlib

import pytest

from waybell_adapters import Reply, ScriptedAdapter, agenerate
from waybell_snap import Recording, RecordingMissing, Replay


class Numbering:
    """A model that says the how manieth time it is asked."""

    def __init__(self):
        self.asked = 0

    def generate(self, prompt, **options):
        self.asked += 1
        return Reply(f"{prompt}{self.asked}")

    async def agenerate(self, prompt, **options):
        await asyncio.sleep(0)
        return self.generate(prompt)

    stream = None


@pytest.fixture
def again(tmp_path):
    """Ask these in one lane, recorded; ask those in a replay; give what was said."""

    def run(before, after):
        with Recording(tmp_path / "run.json") as session:
            model = session.adapter(Numbering(), name="m")
            for prompt in before:
                model.generate(prompt)
        with Replay(tmp_path / "run.json", check=False) as session:
            model = session.adapter(ScriptedAdapter([]), name="m")
            found = []
            for prompt in after:
                try:
                    found.append(str(model.generate(prompt)))
                except RecordingMissing:
                    found.append(None)
        kinds = [change.kind for change in session.compare().changes]
        return found, kinds

    return run


@pytest.mark.parametrize(
    ("before", "after", "said", "kinds"),
    [
        ("xyx", "xxy", ["x1", "x3", "y2"], {"order"}),
        ("xyx", "yxx", ["y2", "x1", "x3"], {"order"}),
        ("xyx", "xx", ["x1", "x3"], {"calls"}),
        ("xyx", "xy", ["x1", "y2"], {"calls"}),
        ("xyz", "xz", ["x1", "z3"], {"calls"}),
        ("xyz", "xwyz", ["x1", None, "y2", "z3"], {"calls", "error"}),
        ("xyz", "xxyz", ["x1", None, "y2", "z3"], {"calls", "error"}),
    ],
)
def test_calls_that_are_missing_more_or_moved_leave_the_others_theirs(
    again, before, after, said, kinds
):
    found, told = again(before, after)
    assert (found, set(told)) == (said, kinds)


async def both(path, begin, model, tasks):
    """Tasks by name, each of which asks in turn; what each was told."""

    async def one(prompts):
        return [str(await agenerate(model_of_run, prompt)) for prompt in prompts]

    async with begin(path) as run:
        model_of_run = run.adapter(model)
        work = [asyncio.create_task(one(p), name=name) for name, p in tasks.items()]
        return dict(zip(tasks, await asyncio.gather(*work), strict=True)), run


async def test_lanes_that_are_swapped_are_known_by_their_names_then_stay_together(
    tmp_path,
):
    path = tmp_path / "run.json"
    tasks = {"one": "xxa", "two": "xxb", "three": "xx"}
    live, _ = await both(path, Recording, Numbering(), tasks)
    turned = dict(reversed(tasks.items()))
    told, run = await both(path, Replay, ScriptedAdapter([]), turned)
    assert told == live
    assert run.snapshot.root == run.recorded.root


async def test_a_task_of_another_name_takes_what_no_other_lane_is_known_to_be(
    tmp_path,
):
    path = tmp_path / "run.json"
    tasks = {"one": "ax", "two": "bx", "three": "cx"}
    live, _ = await both(path, Recording, Numbering(), tasks)
    renamed = {"three": "ax", "new": "bx", "one": "cx"}
    told, run = await both(path, Replay, ScriptedAdapter([]), renamed)
    assert [*told.values()] == [*live.values()]
    assert run.snapshot.root == run.recorded.root


async def test_a_lane_that_was_alone_is_the_same_whatever_its_task_is_called(tmp_path):
    async def use(begin, model):
        async with begin(tmp_path / "run.json") as run:
            model = run.adapter(model)

            async def part(name):
                return [str(await agenerate(model, prompt)) for prompt in "xy"]

            with run.agent("desk"):
                first = asyncio.create_task(part("first"), name="first")
                if begin is Recording:
                    await first
                found = [str(await agenerate(model, "y"))]
                return found, await first

    assert await use(Recording, Numbering()) == (["y3"], ["x1", "y2"])
    assert await use(Replay, ScriptedAdapter([])) == (["y3"], ["x1", "y2"])


async def test_tasks_are_numbered_among_those_that_are_not_known_to_be_elsewhere(
    tmp_path,
):
    async def use(begin, model, *, ends_early):
        began, enough = asyncio.Event(), asyncio.Event()
        async with begin(tmp_path / "run.json") as run:
            model = run.adapter(model)

            async def part(prompts, *, wait=False, late=False):
                for _ in range(9 * late):
                    await asyncio.sleep(0)
                said = [str(await agenerate(model, prompt)) for prompt in prompts]
                if wait:
                    began.set()
                    await enough.wait()
                return said

            outer = asyncio.create_task(part("o", wait=True))
            await began.wait()
            if ends_early:
                enough.set()
                await outer
            with run.agent("desk"):
                found = await asyncio.gather(part("xa", late=ends_early), part("xb"))
            enough.set()
            await outer
            return found

    live = await use(Recording, Numbering(), ends_early=False)
    again = await use(Replay, ScriptedAdapter([]), ends_early=True)
    assert (again, live) == ([["x2", "a4"], ["x3", "b5"]],) * 2


@pytest.mark.parametrize("depth", [0, 40])
async def test_calls_that_moved_to_another_task_are_still_known(tmp_path, depth):
    async def use(begin, model, tasks):
        async with begin(tmp_path / "run.json", **settings) as run:
            model = run.adapter(model)

            async def one(prompts):
                return [str(await agenerate(model, prompt)) for prompt in prompts]

            with contextlib.ExitStack() as around:
                for _ in range(depth):
                    around.enter_context(run.agent("a"))
                return [
                    await asyncio.create_task(one(prompts), name=name)
                    for name, prompts in tasks.items()
                ]

    settings = {}
    await use(Recording, Numbering(), {"one": "axx", "two": "b"})
    settings = {"check": False}
    said = await use(Replay, ScriptedAdapter([]), {"one": "a", "two": "bxx"})
    assert said == [["a1"], ["b4", "x2", "x3"]]
