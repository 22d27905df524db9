"""A call's worst case is set aside in a budget that can do so, and given back."""

import asyncio

import pytest

from waybell_adapters import ModelUnavailable
from waybell_adapters._held import Held


class TooDear(Exception):
    """There is not so much."""


class Hold:
    """What a call may cost, of a purse."""

    def __init__(self, purse, most):
        self.purse, self.max_tokens, self.limited = purse, most, purse.limited
        self.charges, self.open = [], True

    def check(self, **amounts):
        assert self.open

    def charge(self, **amounts):
        assert self.open
        self.charges.append(amounts)
        self.purse.charged.append(amounts)

    def __exit__(self, *_):
        assert self.open
        self.open = False
        self.purse.holds.remove(self)
        for waiter in self.purse.waiting:
            waiter.set()


class Reserved:
    """One hold, taken when its block is entered."""

    def __init__(self, purse, wait, most):
        self.purse, self.wait, self.most = purse, wait, most

    def __enter__(self):
        if len(self.purse.holds) >= self.purse.at_once:
            raise TooDear
        hold = Hold(self.purse, min(self.most, self.purse.most))
        self.purse.holds.append(hold)
        return hold

    async def __aenter__(self):
        assert self.wait
        came = asyncio.Event()
        self.purse.waiting.append(came)
        self.purse.entered.set()
        while len(self.purse.holds) >= self.purse.at_once:
            came.clear()
            await came.wait()
        self.purse.waiting.remove(came)
        return self.__enter__()


class Purse:
    """Gives so many holds at once, each of so many tokens."""

    def __init__(self, at_once=1, most=100, limited=True):
        self.at_once, self.most, self.limited = at_once, most, limited
        self.holds, self.waiting, self.charged, self.asked = [], [], [], []
        self.entered = asyncio.Event()

    def check(self, **amounts):
        """Nothing is ever too much."""

    def charge(self, **amounts):
        self.charged.append(amounts)

    def reserve(self, max_tokens, *, wait=False, timeout=60, **told):
        self.asked.append({"max_tokens": max_tokens, **told})
        return Reserved(self, wait, max_tokens)


@pytest.mark.parametrize("most", [None, 50, 5000])
def test_a_call_writes_no_more_than_its_hold_pays_for(serve, connect, wire, most):
    server, purse = serve(wire.whole("openai")), Purse()
    model = connect(server, price={"input": 1, "output": 2})
    reply = model.generate("one two", budget=purse, max_tokens=most)
    assert server.requests[0].json["max_tokens"] == min(most or 4096, 100)
    asked = purse.asked[0]
    assert (asked["max_tokens"], asked["model"]) == (most or 4096, "m")
    assert asked["input_tokens"] >= 2
    assert asked["price"] == {"input": 1, "output": 2}
    assert [amounts["usd"] for amounts in purse.charged] == [reply.cost]
    assert purse.holds == []


def test_a_price_that_only_the_budget_knows_is_the_replys_cost(serve, connect, wire):
    purse = Purse()
    purse.quote = lambda *, model, usage: len(model) * usage.total
    reply = connect(serve(wire.whole("openai"))).generate("hi", budget=purse)
    assert reply.cost == 9
    assert purse.charged[0]["usd"] == 9

    def unknown(**_):
        raise LookupError

    purse.quote = unknown
    reply = connect(serve(wire.whole("openai"))).generate("hi", budget=purse)
    assert reply.cost is None


def test_where_nothing_is_limited_nothing_is_said_of_it(serve, connect, wire):
    server, purse = serve(wire.whole("openai")), Purse(limited=False)
    connect(server).generate("hi", budget=purse)
    assert "max_tokens" not in server.requests[0].json
    assert purse.holds == []


def test_a_failed_call_gives_back_what_it_held(serve, connect, wire):
    server, purse = serve(wire.http(401, {"error": "no"})), Purse()
    with pytest.raises(Exception, match="no"):
        connect(server).generate("hi", budget=purse)
    assert purse.holds == []
    assert all(amounts["usd"] == 0 for amounts in purse.charged)


def test_another_attempt_holds_the_worst_case_again(serve, connect, wire):
    half = wire.head() + b"5\r\n: hi\n\r\n"

    def broken(conn, request):
        conn.sendall(half)
        raise OSError("gone")

    server, purse = serve(broken, wire.whole("openai")), Purse()
    assert connect(server).generate("hi", budget=purse) == "Hello there"
    assert len(purse.asked) == 2
    assert purse.holds == []
    assert [amounts.get("line") for amounts in purse.charged] == ["estimated", None]


async def test_a_call_waits_for_what_others_hold(serve, connect, wire):
    server, purse = serve(wire.whole("openai")), Purse(at_once=2)
    model = connect(server)
    said = await asyncio.gather(
        *(model.agenerate("hi", budget=purse) for _ in range(9))
    )
    assert said == ["Hello there"] * 9
    assert (len(purse.charged), purse.holds, purse.waiting) == (9, [], [])


@pytest.mark.parametrize("how", ["cancel", "close the stream", "close the adapter"])
async def test_a_wait_for_money_can_be_ended(serve, connect, wire, how):
    server, purse = serve(wire.whole("openai")), Purse(at_once=0)
    model = connect(server)
    stream = await model.astream("hi", budget=purse)
    task = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(5):
        await purse.entered.wait()
    if how == "cancel":
        task.cancel()
    elif how == "close the stream":
        await stream.aclose()
    else:
        await asyncio.to_thread(model.close)
    kinds = (asyncio.CancelledError, StopAsyncIteration, ModelUnavailable)
    with pytest.raises(kinds):
        await asyncio.wait_for(task, 5)
    assert server.requests == []
    assert purse.holds == []


async def test_money_that_comes_when_nobody_wants_it_is_given_back(
    serve, connect, wire
):
    purse = Purse(at_once=0)
    stream = await connect(serve(wire.whole("openai"))).astream("hi", budget=purse)
    task = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(5):
        await purse.entered.wait()
    purse.at_once = 1
    for waiter in purse.waiting:
        waiter.set()
    stream.close()  # in the same turn
    with pytest.raises(StopAsyncIteration):
        await task
    assert purse.holds == []


def test_a_hold_that_was_given_up_is_not_taken_anew():
    purse = Purse()
    held = Held(purse, max_tokens=5)
    held.take()
    held.charge(usd=1)
    held.release()
    held.renew()
    assert purse.holds == []
    assert [amounts["usd"] for amounts in purse.charged] == [1, 0]
