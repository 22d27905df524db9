"""Whatever door the agents come through, a pool's cap is a cap."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from waybell_adapters import OpenAIAdapter
from waybell_agents import Agent, AgentConfig, OpenMultiAgent
from waybell_budget import BudgetExceeded, BudgetPool, Price, UnknownPriceError
from waybell_patterns import Broadcast, Fallback, Router
from waybell_scheduler import Task, arun


COUNT = 12  # calls at once, of which the money pays five and a bit
CAP = Decimal("0.00105")
PRICES = {"m": Price(input=1, output=1)}  # a micro-dollar a token
ANSWER = """\
data: {"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}

data: {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": %d}}

data: [DONE]

"""


class Model(BaseHTTPRequestHandler):
    """Answers each call with a reply of 190 tokens, or fewer if it is told so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        size = min(190, asked.get("max_tokens", 190))
        self.server.billed.append(Decimal(10 + size) / 10**6)
        answer = (ANSWER % size).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    made.billed = []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def model(server):
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    with OpenAIAdapter("m", base_url=url, api_key="k", attempts=1) as made:
        yield made


@pytest.fixture(params=["a wide limit", "a narrow limit"])
def limits(request):
    """Of the output: more than the pool can pay, or a fifth of it."""
    return {} if request.param == "a wide limit" else {"max_tokens": 190}


async def all_of(start):
    tasks = [start(n) for n in range(COUNT)]
    return await asyncio.gather(*tasks, return_exceptions=True)


async def awaited(model, pool, limits):
    await all_of(lambda n: model.agenerate(f"{n}?", budget=pool, **limits))


async def streamed(model, pool, limits):
    async def one(n):
        async with await model.astream(f"{n}?", budget=pool, **limits) as stream:
            return [piece async for piece in stream]

    await all_of(one)


async def threaded(model, pool, limits):
    def one(n):
        try:
            model.generate(f"{n}?", budget=pool, **limits)
        except BudgetExceeded:
            return

    with ThreadPoolExecutor(COUNT) as executor:
        await asyncio.to_thread(lambda: list(executor.map(one, range(COUNT))))


async def agents(model, pool, limits):
    agent = Agent(AgentConfig("clerk", adapter=model, **limits))
    await all_of(lambda n: agent.run(f"{n}?", budget=pool))


async def facade(model, pool, limits):
    desk, config = (
        OpenMultiAgent(adapter=model, budget=pool),
        AgentConfig("clerk", **limits),
    )
    await all_of(lambda n: desk.arun_agent(config, task=f"{n}?"))


async def routed(model, pool, limits):
    agent = Agent(AgentConfig("clerk", adapter=model, **limits))
    router = Router({"any": agent}, classify=lambda _: "any")
    await all_of(lambda n: router.run(f"{n}?", budget=pool))


async def broadcast(model, pool, limits):
    each = {
        f"clerk{n}": Agent(AgentConfig(f"clerk{n}", adapter=model, **limits))
        for n in range(COUNT)
    }
    await Broadcast(each).run("?", budget=pool)


async def fallen_back(model, pool, limits):
    agent = Agent(AgentConfig("clerk", adapter=model, **limits))
    await all_of(lambda n: Fallback(agent, agent).run(f"{n}?", budget=pool))


async def scheduled(model, pool, limits):
    async def work(ctx):
        return await model.agenerate("?", budget=pool, **limits)

    await arun([Task(f"t{n}", "ask", run=work) for n in range(COUNT)])


DOORS = [
    awaited, streamed, threaded, agents, facade, routed, broadcast, fallen_back,
    scheduled,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
async def test_no_door_leads_past_the_cap(server, model, limits, door):
    pool = BudgetPool(usd=CAP, prices=PRICES)
    await asyncio.wait_for(door(model, pool, limits), 60)
    shot = pool.snapshot()
    assert shot.usd_overdrawn == shot.usd_held == 0
    assert shot.usd_spent == sum(server.billed) <= CAP
    # What others only hold is waited for, until not even a word could be paid.
    assert shot.usd_remaining < Decimal("0.00004")


@pytest.mark.parametrize("door", DOORS)
async def test_nothing_is_sent_to_a_model_whose_price_nobody_knows(
    server, model, limits, door
):
    pool = BudgetPool(usd=1, prices={})
    if door is threaded:
        with pytest.raises(UnknownPriceError):
            await door(model, pool, limits)
    else:
        await asyncio.wait_for(door(model, pool, limits), 60)
    assert server.billed == []
    assert pool.snapshot().usd_spent == 0


def test_a_stream_that_nobody_closed_is_charged_by_the_next_call(server, model):
    pool = BudgetPool(usd="0.01", prices=PRICES)
    stream = model.stream("?", budget=pool)
    assert next(stream) == "Yes."
    assert pool.snapshot().usd_held > 0
    del stream
    model.generate("?", budget=pool)
    shot = pool.snapshot()
    assert (shot.usd_held, shot.usd_overdrawn) == (0, 0)
    assert shot.usd_spent > sum(server.billed[1:])


async def test_a_deadline_ends_the_wait_for_money(server, model):
    from waybell_deadline import Deadline, DeadlineExceeded

    pool = BudgetPool(usd="0.001", prices=PRICES)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def holder():
        async with pool.acquire(max_usd="0.001") as hold:
            entered.set()
            await leave.wait()
            hold.charge(usd=0)

    task = asyncio.create_task(holder())
    await entered.wait()
    with pytest.raises(DeadlineExceeded):
        await model.agenerate("?", budget=pool, deadline=Deadline(seconds=0.05))
    waiting = asyncio.create_task(model.agenerate("?", budget=pool))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    leave.set()
    await task
    assert server.billed == []
    assert await model.agenerate("?", budget=pool) == "Yes."
    assert pool.snapshot().usd_held == 0
