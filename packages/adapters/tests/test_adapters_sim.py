import asyncio

import pytest

from waybell_adapters import Reply, ReplyStream, ScriptedAdapter, agenerate, astream


class Plain:
    """An adapter of two methods, so that it is awaited through threads."""

    def generate(self, prompt, **options):
        return self.stream(prompt, **options).read()

    def stream(self, prompt, *, deadline=None, budget=None):
        return ReplyStream(prompt.split(), deadline=deadline, budget=budget)


@pytest.mark.soak
@pytest.mark.simulate(seeds=200)
async def test_whoever_cancels_a_stream_is_charged_once(rng, spies):
    async def read(model, budget, taken):
        async with await astream(model, "a b c d e", budget=budget) as stream:
            async for piece in stream:
                taken.append(piece)
                await asyncio.sleep(rng.choice((0, 0, 1)))
        return stream

    async def slow(prompt):
        await asyncio.sleep(rng.choice((0, 1)))
        return Reply("a b c d e")

    for model in (Plain(), ScriptedAdapter([slow])):
        budget, taken = spies.Budget(), []
        task = asyncio.create_task(read(model, budget, taken))
        await asyncio.sleep(rng.choice((0, 1, 2, 3)))
        cancelled = task.cancel() if rng.random() < 0.7 else False
        await asyncio.wait({task})
        assert len(budget.charged) == 1 or (cancelled and not taken)
        assert task.cancelled() == cancelled or task.result().reply


@pytest.mark.simulate(seeds=50)
async def test_calls_awaited_together_each_have_their_reply(rng):
    said = await asyncio.gather(*(agenerate(Plain(), f"n {n}") for n in range(5)))
    assert said == [f"n{n}" for n in range(5)]
