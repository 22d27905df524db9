"""The pool that agents' calls go through: so many at once, and not while it is open."""

import time
from collections.abc import Awaitable, Callable
from math import inf
from types import CoroutineType
from typing import Any, ParamSpec, TypedDict, TypeVar

from waybell_scheduler._breaker import Breaker, Clock, Counts, counted, loop_clock
from waybell_scheduler._errors import QueueError, fact
from waybell_scheduler._gate import Gate
from waybell_scheduler._places import Hold, Places
from waybell_scheduler._rates import Rates


_P = ParamSpec("_P")
_T = TypeVar("_T")


class PoolStatus(TypedDict):
    """How a pool is, in figures that can be shown or sent."""

    state: str
    failures: int
    retry_after: float
    until: float | None
    reason: str
    active: int
    queued: int
    max_concurrent: int


class AgentPool:
    """Bounded concurrency and a circuit breaker around calls, for threads and tasks.

    Share one pool among all that call one provider. Failures in a row open its breaker;
    so does at once, and for so long, an error that says `retry_after` (seconds). Then
    calls are refused, until one is let through to try: its end decides. A call within
    a call of the same pool uses the outer one's place, one at a time.

    Args:
        max_concurrent: Calls that run at once; the others wait in turn.
        consecutive_failure_limit: Failures in a row that open the breaker.
        recovery_timeout_s: Seconds until it lets one call through to try.
        requests_per_minute: Calls that start in a minute; a minute's worth may start
            at once if it was saved up.
        tokens_per_minute: The same for the `tokens` of what calls return.
        counts: Which errors are failures; by default all but statuses that blame the
            request (4xx without 408 and 429), cancellations and used-up budgets.
        breaker: Another pool, whose breaker is shared instead of an own one.
        wait_timeout: Seconds a call may wait for its turn; its deadline may be sooner.
        clock: Seconds, for what opens when; the running loop's time by default.
        now: Seconds since 1970, for `status()`.

    Raises:
        QueueError: A number that makes no sense.
    """

    __slots__ = ("_breaker", "_free", "_gate", "_line", "_now")
    _breaker: Breaker

    def __init__(
        self,
        max_concurrent: int = 16,
        *,
        consecutive_failure_limit: int = 5,
        recovery_timeout_s: float = 30.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        counts: Counts = counted,
        breaker: "AgentPool | None" = None,
        wait_timeout: float = 3600.0,
        clock: Clock = loop_clock,
        now: Clock = time.time,
    ) -> None:
        _check_count(max_concurrent, "max_concurrent")
        _check_count(consecutive_failure_limit, "consecutive_failure_limit")
        _check_above(recovery_timeout_s, "recovery_timeout_s")
        _check_above(requests_per_minute, "requests_per_minute")
        _check_above(tokens_per_minute, "tokens_per_minute")
        _check_above(wait_timeout, "wait_timeout")
        own = Breaker(consecutive_failure_limit, recovery_timeout_s, counts, clock)
        self._breaker = own if breaker is None else breaker._breaker  # noqa: SLF001 - ours
        unlimited = requests_per_minute is tokens_per_minute is None
        rates = None if unlimited else Rates(requests_per_minute, tokens_per_minute)
        places = Places(max_concurrent)
        self._gate = Gate(self._breaker, places, rates, wait_timeout, clock)
        # What the hot path looks at; with a rate there is none, so nothing is free.
        self._free = places.free if unlimited else []
        self._line = places.line
        self._now = now

    def call(  # budget: what a guarded call costs, in one piece
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Call a function in its turn, unless the breaker is open.

        Raises:
            CircuitOpenError: At once: the breaker is open, or its probe is under way.
            PoolTimeoutError: It waited too long for its turn.
            DeadlineExceeded: The same, by the deadline around it.
            SchedulerError: It would have to wait on an event loop's thread.
            TypeError: The function is async.
        """
        breaker, free = self._breaker, self._free
        epoch = breaker.epoch  # before the state: what changes between makes it stale
        try:
            slow = breaker.state or self._line or free.pop()
        except IndexError:
            slow = True
        if slow:
            return self._call(slow, fn, args, kwargs)
        try:
            result = fn(*args, **kwargs)
            if result.__class__ is CoroutineType:
                _refuse_async(fn, result)
        except BaseException as error:
            self._failed(None, epoch, error)
            raise
        if breaker.failures:
            self._succeeded(None, epoch, result)
            return result
        free.append(None)
        if self._line:
            self._gate.places.serve()
        return result

    async def acall(
        self, fn: Callable[_P, Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Await an async function in its turn, unless the breaker is open.

        Cancelling the caller cancels it, gives its place back, and counts as nothing.

        Raises:
            CircuitOpenError: At once: the breaker is open, or its probe is under way.
            PoolTimeoutError: It waited too long for its turn.
            DeadlineExceeded: The same, by the deadline around it.
            TypeError: The function is not async.
        """
        breaker, free = self._breaker, self._free
        epoch = breaker.epoch
        try:
            slow = breaker.state or self._line or free.pop()
        except IndexError:
            slow = True
        if slow:
            return await self._acall(slow, fn, args, kwargs)
        waiting: Any = ...
        try:
            waiting = fn(*args, **kwargs)
            result: _T = await waiting
        except BaseException as error:
            self._failed(None, epoch, error)
            _check_awaitable(fn, waiting, error)
            raise
        if breaker.failures:
            self._succeeded(None, epoch, result)
            return result
        free.append(None)
        if self._line:
            self._gate.places.serve()
        return result

    def retry_after(self) -> float:
        """Seconds until the breaker may let a call through; 0 if it may now."""
        return self._breaker.retry_after()

    def status(self) -> PoolStatus:
        """The breaker's state, why it is open and until when, and how busy it is."""
        state, failures, left, reason = self._breaker.report()
        places = self._gate.places
        return {
            "state": state,
            "failures": failures,
            "retry_after": left,
            "until": self._now() + left if state == "open" else None,
            "reason": reason,
            "active": places.size - len(places.free),
            "queued": len(places.line),
            "max_concurrent": places.size,
        }

    # -- off the hot path: with a hold, which what runs inside can see ----------------

    def _call(
        self, slow: object, fn: Callable[..., _T], args: Any, kwargs: dict[str, Any]
    ) -> _T:
        hold = self._gate.enter(slow)
        try:
            result = fn(*args, **kwargs)
            if result.__class__ is CoroutineType:
                _refuse_async(fn, result)
        except BaseException as error:
            self._failed(hold, hold.epoch, error)
            raise
        self._succeeded(hold, hold.epoch, result)
        return result

    async def _acall(
        self,
        slow: object,
        fn: Callable[..., Awaitable[_T]],
        args: Any,
        kwargs: dict[str, Any],
    ) -> _T:
        hold = await self._gate.aenter(slow)
        waiting: Any = ...
        try:
            waiting = fn(*args, **kwargs)
            result: _T = await waiting
        except BaseException as error:
            self._failed(hold, hold.epoch, error)
            _check_awaitable(fn, waiting, error)
            raise
        self._succeeded(hold, hold.epoch, result)
        return result

    def _failed(self, hold: Hold | None, epoch: int, error: BaseException) -> None:
        self._gate.leave(hold, fact(error, "reply"))
        self._breaker.ended(epoch, error)

    def _succeeded(self, hold: Hold | None, epoch: int, result: object) -> None:
        self._gate.leave(hold, result)
        self._breaker.succeeded(epoch)


def _refuse_async(fn: object, coroutine: Any) -> None:
    coroutine.close()
    raise TypeError(f"{fn!r} is async: use 'await pool.acall(...)'")


def _check_awaitable(fn: object, waiting: object, error: BaseException) -> None:
    """Say it better, if the error is that there is nothing to await."""
    if waiting is not ... and not isinstance(waiting, Awaitable):
        raise TypeError(
            f"{fn!r} is not async: use 'pool.call(...)', in a thread"
        ) from error


def _check_count(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise QueueError(f"{name} must be a whole number from 1 up, not {value!r}")


def _check_above(value: float | None, name: str) -> None:
    known: bool = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (known and 0 < value < inf):
        raise QueueError(f"{name} must be more than 0 and finite, not {value!r}")
