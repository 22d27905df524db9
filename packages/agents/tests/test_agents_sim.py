"""An agent among faults, under a thousand schedules."""

import asyncio

import pytest

from waybell_adapters import Reply, ScriptedAdapter, ToolCall, Usage
from waybell_agents import Agent, AgentConfig, OpenMultiAgent
from waybell_budget import BudgetExceeded, BudgetPool
from waybell_deadline import Deadline
from waybell_scheduler import AgentPool, Task
from waybell_sim import Faults, simulate


NANO = 10**9


def model_of(rng, prices):
    """A model that calls some tools for some turns, then answers; each reply is priced."""

    def say(messages):
        turn = sum(message["role"] == "assistant" for message in messages)
        price = rng.choice(["0", "0.01", "0.02"])
        prices.append(price)
        calls = []
        if turn < rng.randrange(4):
            calls = [
                ToolCall(f"{turn}.{n}", rng.choice(["work", "wrok"]), {"n": n})
                for n in range(rng.randrange(1, 4))
            ]
        return Reply(f"turn {turn}", usage=Usage(1, 1), cost=price, tool_calls=calls)

    return ScriptedAdapter([say], repeat=True)


def faulty_agent(rng, prices, running):
    faults = Faults(timeout=0.05, hang=0.05, rate_limit=0.05, cut=0.05, cancel=0.02)

    async def work(n: int) -> str:
        running.add(mine := object())
        try:
            await faults.delay()
            await faults.strike(faults._plan()[0])
            return f"{n}"
        finally:
            running.discard(mine)

    careless = rng.random() < 0.3  # a model that charges nothing itself

    class Slow:
        def __init__(self, inner):
            self.inner = inner

        async def agenerate(self, prompt, **options):
            running.add(mine := object())
            try:
                await faults.delay()
                await faults.strike(faults._plan()[0])
                if careless:
                    options.pop("budget", None)
                return await self.inner.agenerate(prompt, **options)
            finally:
                running.discard(mine)

    config = AgentConfig("a", "", Slow(model_of(rng, prices)), [work], max_steps=5)
    return Agent(config)


async def one_run(rng):
    prices, running = [], set()
    agent = faulty_agent(rng, prices, running)
    pool = BudgetPool(usd="0.06")
    run = asyncio.create_task(
        agent.run("go", budget=pool, deadline=Deadline(rng.choice([1, 5, 20])))
    )
    if rng.random() < 0.3:
        await asyncio.sleep(rng.choice([0, 1, 2]))
        run.cancel()
    try:
        reply = await run
    except asyncio.CancelledError:
        steps = ()
    except Exception as error:
        steps, name = error.steps, error.agent
        if name != "a":
            raise
    else:
        steps = reply.steps
        assert reply.cost == sum(step.reply.cost for step in steps)
    assert not running, "something was left running"
    for step in steps[:-1]:
        assert [result["id"] for result in step.results] == [
            call.id for call in step.reply.tool_calls
        ]
        for call, result in zip(step.reply.tool_calls, step.results, strict=True):
            told = result["text"]
            assert told == str(call.arguments["n"]) or "error" in result
    spent = pool.snapshot()
    booked = sum(int(float(price) * NANO + 0.5) for price in prices)
    assert int(spent.usd_spent * NANO) == booked, (
        "a reply was charged twice, or not at all"
    )
    assert (
        spent.usd_spent <= BUDGET + DEAREST
    )  # the last one may be too dear, and says so
    assert spent.usd_held == 0


BUDGET, DEAREST = 0.06, 0.02


async def a_team_run(rng):
    prices, running = [], set()
    agent = faulty_agent(rng, prices, running)
    pool = BudgetPool(usd="0.2")
    many = OpenMultiAgent(
        AgentPool(rng.choice([1, 2, 5]), recovery_timeout_s=1), budget=pool
    )
    tasks = [
        Task(
            f"{n}", "go", "a", depends_on=[f"{m}" for m in range(n) if rng.random() < 0.3],
            timeout=rng.choice([None, 2, 5]), retries=rng.choice([0, 1]),
        )
        for n in range(rng.randrange(1, 7))
    ]  # fmt: skip
    run = many.arun_tasks(tasks, team=[agent.config], deadline=30)
    task = asyncio.create_task(run)
    if rng.random() < 0.2:
        await asyncio.sleep(rng.choice([0, 1, 3]))
        task.cancel()
    try:
        result = await task
    except asyncio.CancelledError:
        pass
    else:
        ended = {"done", "failed", "skipped", "cancelled"}
        assert {one.status for one in result.values()} <= ended
        for one in result.values():
            assert one.status != "done" or one.value.startswith("turn")
    assert not running, "something was left running"
    spent = pool.snapshot()
    assert spent.usd_held == 0
    booked = sum(int(float(price) * NANO + 0.5) for price in prices)
    assert int(spent.usd_spent * NANO) == booked
    used = many.get_status()["agents"].get("a", {"calls": 0, "usd": 0})
    assert int(used["usd"] * NANO) == booked
    assert used["calls"] == len(prices)


@pytest.mark.soak
@pytest.mark.parametrize("main", [one_run, a_team_run])
def test_money_order_and_ends_hold_in_every_schedule(main):
    report = simulate(main, seeds=1000)
    assert report is not None


@pytest.mark.parametrize("cap", ["0.05", "0.06"])
async def test_an_overspent_or_used_up_budget_ends_the_run_before_the_next_call(cap):
    model = ScriptedAdapter(
        [
            Reply(
                "",
                cost="0.06",
                tool_calls=[ToolCall("1", "ping", {})],
                usage=Usage(1, 1),
            ),
            "x",
        ]
    )

    def ping() -> str:
        return "pong"

    pool = BudgetPool(usd=cap)
    with pytest.raises(BudgetExceeded):
        await Agent(AgentConfig("a", "", model, [ping])).run("go", budget=pool)
    assert len(model.calls) == 1
