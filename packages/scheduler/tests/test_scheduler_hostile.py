"""Errors, answers and settings that nobody would think of."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from waybell_scheduler import AgentPool, SchedulerError, Task, TaskQueue


class Spiteful(Exception):
    """An error whose every part fails to be looked at."""

    @property
    def status(self):
        raise RuntimeError("no status")

    response = reply = retry_after = status

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Answer:
    """An answer that does not say what it took."""

    @property
    def tokens(self):
        raise RuntimeError("no count")


class Clock:
    """Time that passes when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def repr_of(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:8]}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock) -> AgentPool:
    return AgentPool(
        2,
        consecutive_failure_limit=1,
        recovery_timeout_s=30,
        requests_per_minute=600,
        tokens_per_minute=600_000,
        clock=clock,
        now=clock,
    )


def failing(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize("probe", [False, True])
def test_an_error_that_cannot_be_looked_at_is_a_failure_like_others(
    pool, clock, probe
) -> None:
    for _ in range(1 + probe):
        with pytest.raises(Spiteful):
            pool.call(failing(Spiteful()))
        status = pool.status()
        assert (status["state"], status["active"]) == ("open", 0)
        assert status["reason"] == "Spiteful: (its text cannot be had: RuntimeError)"
        clock.now += 30
    assert pool.call(int) == 0
    assert pool.status()["state"] == "closed"


@pytest.mark.parametrize(
    "wish", [10**400, 1e308, "30", [30], True, -(10**400)], ids=repr_of
)
def test_a_wish_that_is_no_number_of_seconds_is_ignored(pool, wish) -> None:
    error = OSError("down")
    error.retry_after = wish
    with pytest.raises(OSError, match="down"):
        pool.call(failing(error))
    assert pool.status()["retry_after"] == 30


@pytest.mark.parametrize(
    "tokens", [10**400, -(10**9), "many", None, float("nan")], ids=repr_of
)
def test_a_count_of_tokens_that_is_none_costs_nothing(pool, tokens) -> None:
    answer = type("Answer", (), {"tokens": tokens})()
    assert pool.call(lambda: answer) is answer
    assert pool.call(Answer) is not None
    for _ in range(100):
        pool.call(int)
    assert pool.status()["active"] == 0
    assert pool.status()["state"] == "closed"


def test_a_very_long_patience_is_no_error_in_a_thread() -> None:
    pool = AgentPool(1, wait_timeout=1e300)
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        inside.set()
        leave.wait(30)

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(pool.call, first)
        inside.wait(30)
        two = threads.submit(pool.call, int)
        while not pool.status()["queued"] and not two.done():
            pass
        leave.set()
        one.result(30)
        assert two.result(30) == 0


def test_a_failed_task_whose_error_cannot_be_shown_can_be_drawn() -> None:
    queue = TaskQueue([Task("a"), Task("b", depends_on=["a"])])
    queue.complete("a", success=False, error=Spiteful())
    assert "Spiteful" in queue.svg()
    assert "failed" in queue.mermaid()


def test_an_interrupt_while_a_probe_is_judged_gives_the_probe_back(clock) -> None:
    def counts(error: Exception) -> bool:
        if "second" in str(error):
            raise KeyboardInterrupt
        return True

    pool = AgentPool(
        2, consecutive_failure_limit=1, recovery_timeout_s=9, counts=counts, clock=clock
    )
    with pytest.raises(OSError, match="first"):
        pool.call(failing(OSError("first")))
    clock.now += 9
    with pytest.raises(KeyboardInterrupt):
        pool.call(failing(OSError("second")))
    assert pool.status()["state"] == "half_open"
    assert pool.call(int) == 0
    assert pool.status()["state"] == "closed"


@pytest.mark.parametrize(
    "policy", [{"run_if": []}, {"partial": {}}, {"safe_to_repeat": []}, {"retries": []}]
)
def test_a_policy_that_cannot_be_hashed_is_refused_by_name(policy) -> None:
    with pytest.raises(SchedulerError, match=next(iter(policy))):
        Task("a", **policy)


@pytest.mark.parametrize("verb", ["start", "complete", "suspend", "status", "inputs"])
def test_an_id_that_cannot_be_hashed_is_unknown(verb) -> None:
    with pytest.raises(SchedulerError, match=r"no task is called \[\]"):
        getattr(TaskQueue([]), verb)([])


def test_a_clock_that_goes_back_keeps_it_open_no_longer_than_was_asked(
    pool, clock
) -> None:
    with pytest.raises(OSError, match="down"):
        pool.call(failing(OSError("down")))
    clock.now -= 900  # as where the next loop's time begins anew
    assert pool.status()["retry_after"] == 30
    clock.now += 20
    assert pool.retry_after() == 10
    clock.now += 10
    assert pool.call(int) == 0


def test_a_clock_that_goes_back_makes_no_rate_wait_for_it(clock) -> None:
    pool = AgentPool(requests_per_minute=2, clock=clock, wait_timeout=31)
    pool.call(int)
    clock.now -= 900
    pool.call(int)
    clock.now += 60
    pool.call(int)
