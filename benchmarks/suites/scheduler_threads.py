"""Who gets through a half-open breaker from threads."""

# ruff: noqa: PLC0415 - a worker has only the peers of its own environment

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from benchmarks._cases import Case


CALLERS = 50
THREADS = Case(
    "half_open_threads",
    "The same from 50 threads",
    kind="value",
    unit="calls",
    note="Those that begin before the first one ends. pybreaker lets one through and has "
    "the others wait for its end; ours refuses them at once and says for how long.",
)


def through(breaker):
    """How many of 50 threads get through, once `breaker()` gives a call that has opened."""

    def down():
        raise ConnectionError

    def once():
        call, began, over = breaker(), [], threading.Event()
        start = threading.Barrier(CALLERS)
        with contextlib.suppress(Exception):  # peers replace it by their own
            call(down)
        time.sleep(0.03)

        def work():
            if not over.is_set():
                began.append(1)
            time.sleep(0.01)
            over.set()

        def caller(_):
            start.wait()
            with contextlib.suppress(Exception):
                call(work)

        with ThreadPoolExecutor(CALLERS) as threads:
            list(threads.map(caller, range(CALLERS)))
        return len(began)

    def run(times):
        return sum(once() for _ in repeat(None, times)) / times

    return run


@THREADS.limit("no breaker")
def _no_breaker():
    yield through(lambda: lambda function: function())


@THREADS.ours("waybell_scheduler")
def _pool():
    from waybell_scheduler import AgentPool

    yield through(
        lambda: AgentPool(64, consecutive_failure_limit=1, recovery_timeout_s=0.02).call
    )


@THREADS.peer("pybreaker", env="breakers", package="pybreaker")
def _pybreaker():
    from pybreaker import CircuitBreaker

    yield through(lambda: CircuitBreaker(fail_max=1, reset_timeout=0.02).call)


@THREADS.peer("circuitbreaker, decorated", env="breakers", package="circuitbreaker")
def _circuitbreaker():
    from circuitbreaker import CircuitBreaker

    def breaker():
        one = CircuitBreaker(failure_threshold=1, recovery_timeout=0.02)
        return lambda function: one(function)()

    yield through(breaker)


@THREADS.peer("purgatory", env="breakers", package="purgatory")
def _purgatory():
    from purgatory import SyncCircuitBreakerFactory

    def breaker():
        factory = SyncCircuitBreakerFactory(default_threshold=1, default_ttl=0.02)
        one = factory.get_breaker("model")

        def call(function):
            with one:
                function()

        return call

    yield through(breaker)


@THREADS.peer("aiobreaker", env="breakers", package="aiobreaker")
def _aiobreaker():
    from datetime import timedelta

    from aiobreaker import CircuitBreaker

    wait = timedelta(seconds=0.02)
    yield through(lambda: CircuitBreaker(fail_max=1, timeout_duration=wait).call)
