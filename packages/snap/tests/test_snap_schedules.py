"""A run of concurrent agents replays to the same snapshot under every schedule."""

import asyncio

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
    before = recorded.read_bytes()
    seen = set()

    async def replay(rng):
        async with Replay(recorded) as run:
            await team(run, ScriptedAdapter([]), rng)
        run.snapshot.save(recorded.with_suffix(".again"))
        seen.add(recorded.with_suffix(".again").read_bytes())

    assert simulate(replay, seeds=1000).runs
    assert seen == {before}


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
        simulate(replay, seeds=range(60))
