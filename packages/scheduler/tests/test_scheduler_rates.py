"""So many calls and tokens a minute, in turn, on a virtual clock."""

import asyncio
import threading

import pytest

from waybell_deadline import Deadline, DeadlineExceeded
from waybell_scheduler import AgentPool
from waybell_scheduler._rates import Bucket


class Answer(str):
    """An answer that says what it took."""

    __slots__ = ("tokens",)

    def __new__(cls, tokens):
        answer = super().__new__(cls, "text")
        answer.tokens = tokens
        return answer


def test_a_full_bucket_gives_a_minute_at_once_and_then_as_it_flows() -> None:
    bucket = Bucket(60)
    assert [bucket.take(1, 100) for _ in range(62)] == [0.0] * 60 + [1.0, 2.0]
    assert bucket.take(30, 105) == 27.0
    assert bucket.take(1, 1000) == 0.0


def test_what_is_put_back_can_be_taken_again() -> None:
    bucket = Bucket(60)
    for _ in range(60):
        bucket.take(1, 0)
    bucket.give(2)
    assert [bucket.take(1, 0) for _ in range(3)] == [0.0, 0.0, 1.0]
    bucket.give(-10)
    assert bucket.take(1, 0) == 12.0


def test_more_than_a_minute_holds_is_given_in_time() -> None:
    assert Bucket(60).take(120, 0) == 60.0


@pytest.mark.simulate(seeds=5)
async def test_calls_start_no_faster_than_may_and_in_turn(rng) -> None:
    pool = AgentPool(200, requests_per_minute=60)
    loop = asyncio.get_running_loop()
    asked, started = [], []

    async def call(number: int) -> None:
        started.append((loop.time(), number))

    async def caller(number: int) -> None:
        await asyncio.sleep(rng.choice((0, 1, 2)))
        asked.append(number)
        await pool.acall(call, number)

    await asyncio.gather(*(caller(n) for n in range(100)))
    times = [at for at, _ in started]
    for start in times:  # of any stretch of time, what was saved up and what flowed in
        for end in times:
            inside = sum(start <= at <= end for at in times)
            assert inside <= 60 + (end - start) + 1
    assert max(times) == pytest.approx(40, abs=1.01)
    late = [number for at, number in started if at > 3]
    assert late == [number for number in asked if number in set(late)]


@pytest.mark.simulate(seeds=1)
async def test_tokens_are_settled_after_each_call_and_guessed_before(rng) -> None:
    pool = AgentPool(10, tokens_per_minute=6000)
    loop = asyncio.get_running_loop()

    async def call(tokens: object) -> Answer:
        return Answer(tokens)

    await pool.acall(call, 9000)  # it cannot be known before
    begun = loop.time()
    await pool.acall(call, 0)
    # The debt of 3,000, and the guess of a fifth of the last one, at 100 a second.
    assert loop.time() - begun == pytest.approx(30 + 18)
    await pool.acall(call, "many")
    await pool.acall(asyncio.sleep, 0)


@pytest.mark.simulate(seeds=1)
async def test_a_cancelled_wait_for_tokens_puts_its_guess_back(rng) -> None:
    pool = AgentPool(10, tokens_per_minute=60)
    loop = asyncio.get_running_loop()

    async def call() -> Answer:
        return Answer(100)

    await pool.acall(call)
    for _ in range(5):
        waiting = asyncio.create_task(pool.acall(call))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
    await pool.acall(call)
    assert loop.time() == pytest.approx(60)  # for a debt of 40 and a guess of 20


@pytest.mark.simulate(seeds=1)
async def test_a_failed_call_pays_for_the_reply_it_carries(rng) -> None:
    pool = AgentPool(10, tokens_per_minute=60)
    loop = asyncio.get_running_loop()

    async def fail() -> None:
        error = ValueError("bad reply")
        error.reply = Answer(90)
        raise error

    with pytest.raises(ValueError, match="bad reply"):
        await pool.acall(fail)
    await pool.acall(asyncio.sleep, 0)
    assert loop.time() >= 30


@pytest.mark.simulate(seeds=1)
async def test_a_wait_that_would_outlast_its_bound_fails_at_once(rng) -> None:
    pool = AgentPool(10, requests_per_minute=1, wait_timeout=50)
    loop = asyncio.get_running_loop()
    await pool.acall(asyncio.sleep, 0)
    with pytest.raises(TimeoutError, match="the rate leaves room in 60 s"):
        await pool.acall(asyncio.sleep, 0)
    assert loop.time() == 0
    assert pool.status()["active"] == 0
    await asyncio.sleep(30)
    await pool.acall(asyncio.sleep, 0)
    assert loop.time() == 60


@pytest.mark.simulate(seeds=1)
async def test_a_wait_for_the_rate_ends_with_the_deadline(rng) -> None:
    pool = AgentPool(10, requests_per_minute=1)
    await pool.acall(asyncio.sleep, 0)
    with pytest.raises((TimeoutError, DeadlineExceeded)):
        async with Deadline(seconds=5):
            await pool.acall(asyncio.sleep, 0)
    assert asyncio.get_running_loop().time() <= 5


@pytest.mark.simulate(seeds=1)
async def test_a_cancelled_wait_puts_back_what_it_drew(rng) -> None:
    pool = AgentPool(10, requests_per_minute=1, tokens_per_minute=1000)
    loop = asyncio.get_running_loop()
    await pool.acall(asyncio.sleep, 0)
    waiting = asyncio.create_task(pool.acall(asyncio.sleep, 0))
    await asyncio.sleep(10)
    waiting.cancel()
    await asyncio.wait([waiting])
    await pool.acall(asyncio.sleep, 0)
    assert loop.time() == 60
    assert pool.status()["active"] == 0


def test_in_a_thread_the_rate_is_waited_for_too() -> None:
    pool = AgentPool(10, requests_per_minute=6000)
    done = []

    def calls() -> None:
        done.extend(pool.call(int) for _ in range(6003))

    thread = threading.Thread(target=calls)
    thread.start()
    thread.join(30)
    assert len(done) == 6003
