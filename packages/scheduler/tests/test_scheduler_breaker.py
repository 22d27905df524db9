"""When calls are refused, who may try, and what says that it is over."""

import asyncio
import logging
import pickle
from concurrent.futures import CancelledError
from contextvars import Context

import pytest

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_scheduler import AgentPool, CircuitOpenError


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock) -> AgentPool:
    return AgentPool(
        50, consecutive_failure_limit=3, recovery_timeout_s=30, clock=clock, now=clock
    )


class ApiError(Exception):
    """What a client raises: a status, and perhaps when to come again."""

    def __init__(self, status=None, retry_after=None) -> None:
        super().__init__(f"status {status}")
        if status is not None:
            self.status = status
        self.retry_after = retry_after


def failing(error):
    def fail():
        raise error

    return fail


def fail(pool: AgentPool, error: BaseException | None = None) -> None:
    error = error or OSError("down")
    with pytest.raises(type(error)) as caught:
        pool.call(failing(error))
    assert caught.value is error


def state(pool: AgentPool) -> str:
    return pool.status()["state"]


def test_a_guarded_call_gives_what_the_function_gives(pool) -> None:
    assert pool.call(lambda a, /, *, b: (a, b), 1, b=2) == (1, 2)
    assert pool.status() == {
        "state": "closed",
        "failures": 0,
        "retry_after": 0.0,
        "until": None,
        "reason": "",
        "active": 0,
        "queued": 0,
        "max_concurrent": 50,
    }


def test_failures_in_a_row_open_it_and_the_status_says_why_and_until_when(
    pool, caplog
) -> None:
    with caplog.at_level(logging.INFO, "waybell_scheduler"):
        for _ in range(3):
            assert state(pool) == "closed"
            fail(pool, ConnectionError("no route"))
    status = pool.status()
    assert (status["state"], status["failures"]) == ("open", 3)
    assert (status["retry_after"], status["until"]) == (30.0, 1030.0)
    assert status["reason"] == "ConnectionError: no route"
    assert caplog.messages == [
        "the circuit is open for 30 s after ConnectionError: no route"
    ]


def test_while_it_is_open_calls_are_refused_without_being_made(pool, clock) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 10
    made = []
    with pytest.raises(CircuitOpenError) as caught:
        pool.call(made.append, 1)
    assert (made, caught.value.retry_after) == ([], 20.0)
    assert (
        str(caught.value)
        == "the circuit is open after OSError: down; try again in 20 s"
    )
    assert isinstance(caught.value, ConnectionError)


def test_the_error_of_an_open_circuit_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(CircuitOpenError(1.5)))
    assert error.retry_after == 1.5
    assert str(error) == "the circuit is open; try again in 1.5 s"


def test_a_success_between_starts_the_count_again(pool) -> None:
    for _ in range(3):
        fail(pool)
        if state(pool) == "closed":
            pool.call(int)
            assert pool.status()["failures"] == 0
    assert state(pool) == "closed"


def test_a_probe_that_succeeds_closes_it(pool, clock, caplog) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 30
    assert pool.retry_after() == 0.0
    with caplog.at_level(logging.INFO, "waybell_scheduler"):
        assert pool.call(int) == 0
    assert (state(pool), pool.status()["reason"]) == ("closed", "")
    assert caplog.messages[-1] == "the circuit is closed again"
    fail(pool)
    assert state(pool) == "closed"


def test_a_probe_that_fails_opens_it_for_as_long_again(pool, clock) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 31
    fail(pool)
    assert pool.status()["retry_after"] == 30.0


def test_while_the_probe_is_under_way_all_others_are_refused(pool, clock) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 30

    def probe() -> None:
        assert state(pool) == "half_open"
        for _ in range(50):
            with pytest.raises(CircuitOpenError) as caught:
                Context().run(pool.call, int)  # outside of what the probe does
            assert 0 < caught.value.retry_after <= 1

    pool.call(probe)
    assert state(pool) == "closed"


def test_calls_inside_the_probe_are_part_of_it(pool, clock) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 30
    assert pool.call(lambda: pool.call(lambda: 7)) == 7
    assert state(pool) == "closed"


def test_the_inner_call_of_a_probe_can_open_it_again(pool, clock) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 30

    def probe() -> None:
        fail(pool)

    pool.call(probe)  # its success comes too late to mean anything
    assert state(pool) == "open"


# -- what asks to wait -------------------------------------------------------------------


def test_what_an_error_asks_for_opens_it_at_once_and_for_that_long(pool, clock) -> None:
    fail(pool, ApiError(429, retry_after=7))
    assert (state(pool), pool.retry_after()) == ("open", 7.0)
    clock.now += 7
    fail(pool, ApiError(503, retry_after=90))
    assert pool.retry_after() == 90.0


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), True, "5", None])
def test_a_wish_that_makes_no_sense_is_ignored(pool, bad) -> None:
    fail(pool, ApiError(429, retry_after=bad))
    assert state(pool) == "closed"


def test_a_wish_of_an_error_that_does_not_count_is_ignored(pool) -> None:
    fail(pool, ApiError(404, retry_after=60))
    assert pool.status()["failures"] == 0


async def test_a_late_wish_prolongs_what_is_open(pool, clock) -> None:
    go = asyncio.Event()

    async def late() -> None:
        await go.wait()
        raise ApiError(429, retry_after=100)

    task = asyncio.create_task(pool.acall(late))
    await asyncio.sleep(0)
    fail(pool, ApiError(429, retry_after=5))
    go.set()
    with pytest.raises(ApiError):
        await task
    assert pool.retry_after() == 100.0


# -- what counts ---------------------------------------------------------------------------


class Response:
    """What some clients hang on their errors."""

    def __init__(self, status_code) -> None:
        self.status_code = status_code


def with_response(status) -> OSError:
    error = OSError("http")
    error.response = Response(status)
    return error


def with_code(status) -> Exception:
    error = Exception("http")
    error.status_code = status
    return error


def overspent() -> BudgetExceeded:
    with pytest.raises(BudgetExceeded) as caught:
        BudgetPool(usd=1).acquire(2).__enter__()
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("reset"),
        TimeoutError(),
        ValueError("who knows"),
        ApiError(408),
        ApiError(429),
        ApiError(500),
        ApiError(529),
        with_code(503),
        with_response(502),
        ApiError("teapot"),
        ApiError(200),
        KeyError("x"),
    ],
    ids=repr,
)
def test_what_says_the_other_side_is_not_well_counts(pool, error) -> None:
    fail(pool, error)
    assert pool.status()["failures"] == 1


@pytest.mark.parametrize(
    "error",
    [
        ApiError(400),
        ApiError(401),
        ApiError(404),
        ApiError(422),
        with_code(403),
        with_response(404),
        asyncio.CancelledError(),
        CancelledError("of a future"),
        KeyboardInterrupt(),
        SystemExit(1),
        CircuitOpenError(1),
        overspent(),
    ],
    ids=repr,
)
def test_what_blames_the_request_or_the_caller_does_not_count(pool, error) -> None:
    for _ in range(5):
        fail(pool, error)
    assert (state(pool), pool.status()["failures"]) == ("closed", 0)


def test_what_does_not_count_neither_ends_a_row_of_failures(pool) -> None:
    fail(pool)
    fail(pool, ApiError(404))
    fail(pool)
    fail(pool)
    assert state(pool) == "open"


def test_a_function_of_yours_decides_what_counts(clock) -> None:
    pool = AgentPool(
        consecutive_failure_limit=1,
        counts=lambda error: isinstance(error, KeyError),
        clock=clock,
    )
    fail(pool, ConnectionError())
    assert state(pool) == "closed"
    fail(pool, KeyError("x"))
    assert state(pool) == "open"


def test_a_function_that_fails_to_decide_counts_and_hides_no_error(
    clock, caplog
) -> None:
    pool = AgentPool(
        consecutive_failure_limit=1, counts=lambda error: 1 / 0, clock=clock
    )
    fail(pool, ValueError("mine"))
    assert state(pool) == "open"
    assert "counts= failed" in caplog.text


# -- probes given back, and results that come late ---------------------------------------------


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), CancelledError(), ApiError(404)], ids=repr
)
def test_a_probe_that_says_nothing_is_given_back(pool, clock, error) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 30
    fail(pool, error)
    assert (state(pool), pool.retry_after()) == ("half_open", 0.0)
    pool.call(int)
    assert state(pool) == "closed"


async def test_a_cancelled_probe_is_given_back(pool, clock) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 30
    probe = asyncio.create_task(pool.acall(asyncio.Event().wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pool.status()["retry_after"] == 1.0
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert pool.retry_after() == 0.0
    await pool.acall(asyncio.sleep, 0)
    assert state(pool) == "closed"


async def hanging(pool, outcome):
    """A call that is under way, and the event that ends it."""
    go = asyncio.Event()

    async def wait() -> None:
        await go.wait()
        if outcome is not None:
            raise outcome

    task = asyncio.create_task(pool.acall(wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task, go


@pytest.mark.parametrize("outcome", [None, OSError("late"), ApiError(404)], ids=repr)
@pytest.mark.parametrize("then", ["open", "half_open", "closed"])
async def test_a_late_result_settles_nothing(pool, clock, outcome, then) -> None:
    late, go = await hanging(pool, outcome)
    for _ in range(3):
        fail(pool)
    probe = end = None
    if then != "open":
        clock.now += 30
        probe, end = await hanging(pool, None)
    if then == "closed":
        end.set()
        await probe
        fail(pool)
        fail(pool)
    before = pool.status()
    assert before["state"] == then
    go.set()
    await asyncio.wait([late])
    assert (late.exception() is None) == (outcome is None)
    assert pool.status() == {**before, "active": before["active"] - 1}
    if then == "half_open":
        end.set()
        await probe
        assert state(pool) == "closed"


async def test_a_probe_of_an_earlier_round_cannot_settle_a_later_one(
    pool, clock
) -> None:
    for _ in range(3):
        fail(pool)
    clock.now += 30
    first, go = await hanging(pool, None)
    pool._breaker._failed(pool._breaker.epoch, OSError("its inner call"))
    clock.now += 30
    second, end = await hanging(pool, OSError("still down"))
    go.set()
    await first
    assert (state(pool), pool.retry_after()) == ("half_open", 1.0)
    end.set()
    with pytest.raises(OSError, match="still down"):
        await second
    assert state(pool) == "open"


# -- sharing ---------------------------------------------------------------------------------------


def test_pools_may_share_one_breaker_and_keep_their_own_places(pool) -> None:
    other = AgentPool(2, breaker=pool)
    for _ in range(2):
        fail(pool)
    fail(other)
    with pytest.raises(CircuitOpenError):
        pool.call(int)
    assert other.status()["max_concurrent"] == 2
    assert other.status()["reason"] == "OSError: down"


async def test_what_a_probe_left_running_cannot_settle_the_next_probe(
    pool, clock
) -> None:
    fail_often(pool)
    clock.now += 30
    ends, left, inside = asyncio.Event(), asyncio.Event(), []

    async def late():
        await ends.wait()
        raise OSError("late")

    async def probe():
        inside.append(asyncio.create_task(pool.acall(late)))
        await left.wait()

    first = asyncio.create_task(pool.acall(probe))
    for _ in range(5):
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(pool.acall(left.wait))
    await asyncio.sleep(0)
    assert state(pool) == "half_open"
    ends.set()
    await asyncio.wait(inside)
    assert state(pool) == "half_open"
    left.set()
    await second
    assert state(pool) == "closed"


def fail_often(pool: AgentPool) -> None:
    while state(pool) == "closed":
        fail(pool)
