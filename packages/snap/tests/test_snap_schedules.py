"""A run of concurrent agents replays to the same snapshot under every schedule."""

import asyncio
import json

import pytest

from waybell_adapters import Reply, ScriptedAdapter, ToolCall, agenerate
from waybell_bus import EventBus
from waybell_sim import simulate
from waybell_snap import Recording, Replay
from waybell_tools import ToolRegistry


class Numbered:
    """A model of which no two replies are alike, and which takes its time."""

    model = "numbered"

    def __init__(self, rng):
        self.rng, self.calls = rng, 0

    def _reply(self, prompt):
        self.calls += 1
        text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        if "look up" in text:
            call = ToolCall(f"id{self.rng.random()}", "look", {"what": text[:20]})
            return Reply(tool_calls=[call])
        return Reply(f"answer {self.calls} to: {text[:60]}")

    async def agenerate(self, prompt, **options):
        await asyncio.sleep(self.rng.choice([0, 0, 1, 2]))
        return self._reply(prompt)

    def generate(self, prompt, **options):
        return self._reply(prompt)

    stream = None


async def team(session, model, rng):
    """Three levels: a lead who asks workers at once, of whom each uses tools."""
    bus = EventBus()
    session.watch(bus)
    registry = ToolRegistry()

    @registry.tool
    async def look(what: str) -> str:
        """Look something up."""
        await asyncio.sleep(rng.choice([0, 1]))
        if "3" in what:
            raise ValueError(f"nothing on {what}")
        return f"about {what}"

    model = session.adapter(model, name="model")
    tools = session.tools(registry)

    @bus.on("worker")
    async def worker(event):
        asked = f"look up {event['item']}"
        reply = await agenerate(model, asked)
        results = await asyncio.gather(*(tools.aresult(c) for c in reply.tool_calls))
        messages = [
            {"role": "user", "content": asked},
            reply.message,
            *(
                {"role": "tool", "tool_call_id": r["id"], "content": r["text"]}
                for r in results
            ),
        ]
        return str(await agenerate(model, messages))

    @bus.on("judge")
    async def strict(event):
        return str(await agenerate(model, "judge"))

    @bus.on("judge")
    async def kind(event):
        first = await agenerate(model, "judge")
        return str(await agenerate(model, f"kinder: {first}"))

    @bus.on("lead")
    async def lead(event):
        plan = str(await agenerate(model, "plan"))
        work = [bus.request("worker", item=n, plan=plan) for n in (2, 2, 3)]
        done = await asyncio.gather(*work)
        votes = await bus.gather("judge", text="; ".join(sorted(done)))
        same = await asyncio.gather(*(agenerate(model, "sample") for _ in range(2)))
        return sorted([*done, *(vote.value for vote in votes), *map(str, same)])

    return session.output(await bus.request("lead", goal="all"))


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "run.json"

    async def record(rng):
        async with Recording(path) as run:
            await team(run, Numbered(rng), rng)

    simulate(record, seeds=[7])
    return path


@pytest.mark.soak
def test_a_recording_of_concurrent_agents_replays_to_the_same_snapshot(recorded):
    seen, last = set(), []

    async def replay(rng):
        async with Replay(recorded, check=False, redact=False) as run:
            await team(run, ScriptedAdapter([]), rng)
        seen.add(json.dumps(run.snapshot.root))
        last[:] = [run]

    assert simulate(replay, seeds=1000).runs
    (run,) = last
    run.check()
    run.snapshot.save(recorded.with_suffix(".again"))
    assert recorded.with_suffix(".again").read_bytes() == recorded.read_bytes()
    assert seen == {json.dumps(run.recorded.root)}


async def alike(session, model, rng):
    """Agents that begin alike and go on differently."""
    model = session.adapter(model, name="model")

    async def optimist():
        first = await agenerate(model, "guess")
        return await agenerate(model, f"praise {first}")

    async def pessimist():
        first = await agenerate(model, "guess")
        return await agenerate(model, f"blame {first}")

    async def part(number):
        first = await agenerate(model, "guess")
        return await agenerate(model, f"part {number} of {first}")

    await asyncio.gather(optimist(), pessimist(), *(part(n) for n in range(3)))


def test_agents_that_ask_the_same_first_get_their_own_replies(tmp_path):
    path = tmp_path / "run.json"

    async def record(rng):
        async with Recording(path) as run:
            await alike(run, Numbered(rng), rng)

    async def replay(rng):
        async with Replay(path) as run:
            await alike(run, ScriptedAdapter([]), rng)
        assert run.snapshot.root == run.recorded.root

    for seed in range(5):
        simulate(record, seeds=[seed])
        simulate(replay, seeds=range(30))


def invented(rng, depth, place="t"):
    """The steps of a program: calls, agents, and tasks, each named by its place."""
    kinds = ["call", "follow"] if depth == 0 else ["call", "follow", "agent", "tasks"]
    steps = []
    for number in range(rng.randint(1, 3)):
        kind, here = rng.choice(kinds), f"{place}.{number}"
        if kind in ("call", "follow"):
            steps.append((kind, rng.choice("xy"), here))
        elif kind == "agent":
            given = rng.choice([{}, {}, {"n": 1}, {"n": 2}])
            inner = invented(rng, depth - 1, here)
            steps.append((kind, (rng.choice("ab"), given, inner), here))
        else:
            places = [f"{here}.{part}" for part in range(rng.randint(2, 3))]
            parts = [(one, invented(rng, depth - 1, one)) for one in places]
            steps.append((kind, parts, here))
    return steps


async def perform(run, model, steps, rng):
    """Do them: what is asked next may depend on what was said, and is told of one only."""
    said, told = "", {}
    for kind, what, place in steps:
        await asyncio.sleep(rng.choice([0, 0, 1]))
        if kind == "agent":
            name, given, inner = what
            with run.agent(name, **given):
                told |= await perform(run, model, inner, rng)
        elif kind == "tasks":
            tasks = [
                asyncio.create_task(perform(run, model, inner, rng), name=name)
                for name, inner in what
            ]
            for part in await asyncio.gather(*tasks):
                told |= part
        else:
            said = str(await agenerate(model, what if kind == "call" else what + said))
            told[place] = said
    return told


@pytest.mark.soak
def test_any_program_whose_tasks_have_names_replays_under_every_schedule(tmp_path):
    async def main(rng):
        steps = invented(rng, 3)
        async with Recording(tmp_path / "run.json") as run:
            told = await perform(run, run.adapter(Numbered(rng)), steps, rng)
        for _ in range(2):
            async with Replay(tmp_path / "run.json") as run:
                model = run.adapter(ScriptedAdapter([]))
                assert await perform(run, model, steps, rng) == told
            assert run.snapshot.root == run.recorded.root

    assert simulate(main, seeds=60).runs
