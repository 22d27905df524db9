"""Models that hold the worst case of each call by themselves, as the vendors' do."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from waybell_adapters import Reply, ToolCall, Usage
from waybell_agents import Agent, AgentConfig, OpenMultiAgent
from waybell_budget import BudgetExceeded, BudgetPool, Price
from waybell_scheduler import Task
from waybell_sim import Faults, simulate


PRICES = {"m": Price(input=1, output=1)}  # a micro-dollar a token
COST = Decimal("0.0001")  # of each reply
WORST = Decimal("0.0003")  # of each call


class Holding:
    """A model that sets the worst case of a call aside until it has answered."""

    model = "m"

    def __init__(self, *turns):
        self.turns = list(turns)
        self.calls = 0

    @asynccontextmanager
    async def held(self, budget):
        wanted = {"model": "m", "input_tokens": 50, "wait": True, "timeout": 30}
        async with budget.reserve(250, **wanted) as hold:
            self.calls += 1
            hold.check(tokens=50)
            turn = self.turns.pop(0)
            if isinstance(turn, BaseException):
                raise turn
            calls = turn if isinstance(turn, list) else []
            usage, text = Usage(50, 50), "" if calls else turn
            hold.charge(usd=COST, model="m", usage=usage)
            yield Reply(text, cost=COST, usage=usage, model="m", tool_calls=calls)

    async def agenerate(self, prompt, *, budget, **options):
        async with self.held(budget) as reply:
            return reply

    async def astream(self, prompt, *, budget, **options):
        return Pieces(self, budget)

    def generate(self, prompt, **options):
        raise AssertionError("agents await where they can")

    stream = generate


class Pieces:
    """A stream whose call is held until its block is left."""

    def __init__(self, model, budget):
        self.block = model.held(budget)

    async def __aenter__(self):
        self.reply = await self.block.__aenter__()
        self.left = iter(self.reply.split())
        return self

    async def __aexit__(self, *error):
        return await self.block.__aexit__(*error)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for piece in self.left:
            return piece
        raise StopAsyncIteration


class Refusing:
    """A budget with so many holds to give, and no other complaint."""

    def __init__(self, holds):
        self.holds, self.log = holds, []

    def check(self, **amounts):
        self.log.append("check")

    def charge(self, **amounts):
        self.log.append("charge")

    @asynccontextmanager
    async def reserve(self, most, **wanted):
        if not self.holds:
            raise BudgetExceeded("usd", WORST, Decimal(0))
        self.holds -= 1
        self.log.append("reserve")
        yield self


def call(name, number=1, **arguments):
    return ToolCall(str(number), name, arguments)


def agent(*turns, tools=(), **settings):
    return Agent(AgentConfig("a", "", Holding(*turns), tools, **settings))


def ping() -> str:
    return "pong"


async def test_a_call_is_charged_to_its_hold_and_nowhere_else():
    budget = Refusing(2)
    reply = await agent([call("ping")], "fin", tools=[ping]).run("go", budget=budget)
    assert (reply, reply.cost) == ("fin", 2 * COST)
    assert budget.log == ["check", "reserve", "check", "charge"] * 2


async def test_a_call_that_is_refused_its_hold_ends_the_run_with_what_was_done():
    one = agent([call("ping")], "never", tools=[ping])
    with pytest.raises(BudgetExceeded) as caught:
        await one.run("go", budget=Refusing(1))
    error = caught.value
    assert (error.agent, error.cost, error.usage.total) == ("a", COST, 100)
    assert [step.results[0]["text"] for step in error.steps] == ["pong"]
    assert one.model.calls == 1


async def test_a_first_call_that_is_refused_its_hold_has_cost_nothing():
    one = agent("never")
    with pytest.raises(BudgetExceeded) as caught:
        await one.run("go", budget=BudgetPool(usd="0.00005", prices=PRICES))
    assert (caught.value.steps, caught.value.cost, one.model.calls) == ((), 0, 0)


def test_a_recalled_reply_takes_no_hold(tmp_path):
    class Died(BaseException):
        pass

    def run(model, budget):
        many = OpenMultiAgent()
        team, tasks = [AgentConfig("a", "", model, [ping])], [Task("t", "go")]
        return many.run_tasks(tasks, team=team, journal=tmp_path / "j", budget=budget)

    with pytest.raises(Died):
        run(Holding([call("ping")], Died()), BudgetPool(usd=1, prices=PRICES))
    pool = BudgetPool(usd=WORST, prices=PRICES)  # enough for one call only
    result = run(model := Holding("fin"), pool)
    assert (result["t"].value, model.calls) == ("fin", 1)
    assert [step.recalled for step in result["t"].value.steps] == [True, False]
    assert (pool.snapshot().usd_spent, pool.snapshot().usd_held) == (COST, 0)


async def test_a_stream_holds_until_its_reply_is_there_and_not_while_tools_run():
    pool = BudgetPool(usd=WORST + COST, prices=PRICES)
    held = []

    async def look() -> str:
        held.append(pool.snapshot().usd_held)
        return "seen"

    one = agent([call("look")], "one two", tools=[look])
    async with one.stream("go", budget=pool) as stream:
        pieces = [piece async for piece in stream]
    assert (pieces, stream.reply.cost) == (["one", "two"], 2 * COST)
    assert (held, pool.snapshot().usd_held) == ([0], 0)


async def test_a_stream_that_is_left_early_holds_nothing():
    pool = BudgetPool(usd=1, prices=PRICES)
    async with agent("one two").stream("go", budget=pool) as stream:
        assert await anext(stream) == "one"
    shot = pool.snapshot()
    assert (shot.usd_held, shot.usd_spent) == (0, COST)


@pytest.mark.parametrize("streams", [False, True])
async def test_agents_inside_two_tools_at_once_share_a_pool_for_one_call(streams):
    pool = BudgetPool(usd=3 * COST + WORST, prices=PRICES)
    assert pool.snapshot().usd_cap < COST + 2 * WORST  # so that two do not fit at once

    async def ask(who: str) -> str:
        below = agent(f"I am {who}.")
        if not streams:
            return await below.run("who?", budget=pool)
        async with below.stream("who?", budget=pool) as stream:
            return " ".join([piece async for piece in stream])

    wanted = [call("ask", 1, who="Ann"), call("ask", 2, who="Bo")]
    one = agent(wanted, "fin", tools=[ask])
    reply = await asyncio.wait_for(one.run("go", budget=pool), 60)
    texts = [result["text"] for result in reply.steps[0].results]
    assert (texts, reply) == (["I am Ann.", "I am Bo."], "fin")
    assert (pool.snapshot().usd_spent, pool.snapshot().usd_held) == (4 * COST, 0)


@asynccontextmanager
async def held_by_others(pool):
    """A pool all of which another task holds; the function given gives it back."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold_all():
        async with pool.acquire(max_usd=pool.snapshot().usd_remaining) as hold:
            hold.charge(usd=0)
            entered.set()
            await leave.wait()

    task = asyncio.create_task(hold_all())
    await entered.wait()
    assert pool.snapshot().usd_remaining == 0
    yield leave.set
    leave.set()
    await task


def soon(function):
    """Call it when whoever is about to wait does so."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, function)


async def test_a_later_call_waits_too_for_what_others_only_hold():
    pool = BudgetPool(usd=WORST + COST, prices=PRICES)
    waited = []

    async def busy() -> str:
        block = held_by_others(pool)
        waited.append(block)
        soon(await block.__aenter__())
        return "they hold all"

    one = Agent(AgentConfig("a", "", Holding([call("busy")], "fin"), [busy]))
    assert await asyncio.wait_for(one.run("go", budget=pool), 60) == "fin"
    await waited[0].__aexit__(None, None, None)
    assert pool.snapshot().usd_spent == 2 * COST


async def test_so_does_the_first_call_after_a_recalled_one(tmp_path):
    async def run(model, pool, **terms):
        team, tasks = [AgentConfig("a", "", model, [ping])], [Task("t", "go")]
        terms |= {"journal": tmp_path / "j", "budget": pool}
        return await OpenMultiAgent().arun_tasks(tasks, team=team, **terms)

    pool = BudgetPool(usd=1, prices=PRICES)
    first = await run(Holding([call("ping")], OSError("cut")), pool)
    assert first["t"].status == "failed"
    pool = BudgetPool(usd=WORST, prices=PRICES)
    async with held_by_others(pool) as give_back:
        asyncio.get_running_loop().call_later(0.05, give_back)
        again = await run(Holding("fin"), pool, retry_failed=True)
    assert again["t"].value == "fin"


async def test_a_model_that_takes_no_hold_is_not_called_while_others_hold_all():
    class Careless:
        calls = 0

        def generate(self, prompt, **options):
            self.calls += 1
            calls = [call("take")] if self.calls == 1 else []
            return Reply("x", cost=COST, usage=Usage(1, 1), tool_calls=calls)

    pool = BudgetPool(usd=WORST)
    blocks = []

    async def take() -> str:
        blocks.append(held_by_others(pool))
        await blocks[0].__aenter__()
        return "taken"

    model = Careless()
    one = Agent(AgentConfig("a", "", model, [take]))
    with pytest.raises(BudgetExceeded):
        await one.run("go", budget=pool)
    assert model.calls == 1
    await blocks[0].__aexit__(None, None, None)


async def test_a_model_that_only_looks_for_reserve_is_charged_for():
    class Curious:
        def generate(self, prompt, *, budget, **options):
            assert hasattr(budget, "reserve")
            return Reply("x", cost=COST, usage=Usage(1, 1))

    pool = BudgetPool(usd=1)
    await Agent(AgentConfig("a", adapter=Curious())).run("go", budget=pool)
    assert pool.snapshot().usd_spent == COST


def tree(rng, depth=2):
    """What an agent does: its turns, each with the agents that it asks at once."""
    if not depth:
        return []
    return [
        [tree(rng, depth - 1) for _ in range(rng.randrange(1, 3))]
        for _ in range(rng.randrange(3))
    ]


def calls_of(turns):
    return 1 + sum(1 + sum(map(calls_of, below)) for below in turns)


async def agents_of_agents(rng):
    """Agents at once, some with agents for tools; the pool pays for all of them.

    It pays what they cost, and for the worst case of a call more: whoever waits for what
    others hold gets it, and nobody is refused.
    """
    faults, trees = Faults(), [tree(rng) for _ in range(rng.randrange(1, 5))]
    count = sum(map(calls_of, trees))
    pool = BudgetPool(usd=COST * (count - 1) + WORST, prices=PRICES)

    class Slow(Holding):
        @asynccontextmanager
        async def held(self, budget):
            await faults.delay()
            async with super().held(budget) as reply:
                await faults.delay()
                yield reply

    async def run(turns):
        async def ask(turn: int, n: int) -> str:
            await faults.delay()
            return await run(turns[turn][n])

        said = [
            [call("ask", n, turn=turn, n=n) for n in range(len(below))]
            for turn, below in enumerate(turns)
        ]
        one = Agent(AgentConfig("a", "", Slow(*said, "fin"), [ask]))
        if rng.random() < 0.5:
            return await one.run("go", budget=pool)
        async with one.stream("go", budget=pool) as stream:
            async for _ in stream:
                await faults.delay()
        return stream.reply

    assert await asyncio.gather(*map(run, trees)) == ["fin"] * len(trees)
    shot = pool.snapshot()
    assert (shot.usd_spent, shot.usd_held, shot.usd_overdrawn) == (count * COST, 0, 0)


@pytest.mark.soak
def test_a_pool_that_pays_for_all_refuses_nobody_in_any_schedule():
    assert simulate(agents_of_agents, seeds=1000) is not None


async def test_a_run_that_is_cancelled_while_it_waits_for_money_holds_nothing():
    pool = BudgetPool(usd=WORST, prices=PRICES)
    async with held_by_others(pool):
        task = asyncio.create_task(agent("never").run("go", budget=pool))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert pool.snapshot().usd_held == 0
    assert await agent("fin").run("go", budget=pool) == "fin"
