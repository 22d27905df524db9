"""What a call passes before it may be made: the line, the rate, the breaker."""

import asyncio
import threading
from collections.abc import Callable, Generator
from functools import partial

from waybell_deadline import Deadline
from waybell_scheduler._breaker import Breaker, Clock, running_loop
from waybell_scheduler._errors import PoolTimeoutError, SchedulerError, fact
from waybell_scheduler._places import Hold, Places, holding
from waybell_scheduler._rates import Rates


_MOST = 10**12  # tokens of one call: more is no count
_Steps = Generator[tuple[bool, float], None, Hold]  # wait to be woken, or sleep


class Gate:
    """Lets calls in, off the hot path; what it decides is the same for both doors.

    Args:
        breaker: Asked before and after the wait.
        places: For each call one, in turn.
        rates: What may start in a minute, or None.
        patience: Seconds a call waits at most.
        clock: Seconds.
    """

    __slots__ = ("_clock", "_patience", "breaker", "places", "rates")

    def __init__(
        self,
        breaker: Breaker,
        places: Places,
        rates: Rates | None,
        patience: float,
        clock: Clock,
    ) -> None:
        self.breaker = breaker
        self.places = places
        self.rates = rates
        self._patience = patience
        self._clock = clock

    def enter(self, slow: object) -> Hold:
        """Wait in a thread; `slow` is what was taken on the hot path, if anything."""
        woken = threading.Event()
        steps = self._steps(slow, woken.set)
        try:
            while True:
                for_turn, seconds = next(steps)
                if running_loop() is not None:
                    raise SchedulerError(
                        "waiting for a place here would stop the event loop: "
                        "use 'await pool.acall(...)', or call from a thread"
                    )
                (woken if for_turn else threading.Event()).wait(
                    min(seconds, threading.TIMEOUT_MAX)
                )
        except StopIteration as end:
            hold: Hold = end.value
            return hold
        finally:
            steps.close()

    async def aenter(self, slow: object) -> Hold:
        """Wait in a task."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        steps = self._steps(slow, partial(_wake, woken))
        try:
            while True:
                for_turn, seconds = next(steps)
                if for_turn:
                    timer = loop.call_later(seconds, _set, woken)
                    try:
                        await woken
                    finally:
                        timer.cancel()
                else:
                    await asyncio.sleep(seconds)
        except StopIteration as end:
            hold: Hold = end.value
            return hold
        finally:
            steps.close()

    def _steps(self, slow: object, wake: Callable[[], object]) -> _Steps:
        """All that happens until the call may be made; to be closed in any case."""
        places, breaker = self.places, self.breaker
        if slow is places.LAST:
            places.give(slow)  # taken on the hot path; here, what runs inside sees it
        probe = breaker.probe(holding.get())
        if probe is None:
            breaker.refuse()
        ends, deadline = self._clock() + self._patience, Deadline.current()
        turn = places.join(wake)
        try:
            if turn.hold is None:
                yield True, self._left(ends, deadline)
            hold = turn.hold
            if hold is None:
                raise self._late(deadline)  # noqa: TRY301 - cleaned up as any other end
            yield from self._admission(hold, probe, ends, deadline)
        except BaseException:  # the caller's cancellation comes as GeneratorExit
            places.leave(turn)
            raise
        holding.set(hold)
        return hold

    def _admission(
        self, hold: Hold, probe: int | None, ends: float, deadline: Deadline | None
    ) -> Generator[tuple[bool, float], None, None]:
        """Keep to the rate, then ask the breaker."""
        rates, pause = self.rates, 0.0
        if rates is not None:
            pause, hold.guess = rates.take(self._clock())
        try:
            if pause > self._left(ends, deadline):
                raise self._late(deadline, pause)  # noqa: TRY301 - as any other end
            if pause:
                yield False, pause
            hold.breaker = self.breaker
            hold.epoch = self.breaker.admit() if probe is None else probe
        except BaseException:
            if rates is not None:
                rates.give(hold.guess)
            raise

    def _left(self, ends: float, deadline: Deadline | None) -> float:
        left = ends - self._clock()
        return max(0.0, left if deadline is None else min(left, deadline.remaining()))

    def _late(self, deadline: Deadline | None, pause: float = 0.0) -> Exception:
        if deadline is not None:
            deadline.check()
        if pause:
            return PoolTimeoutError(f"the rate leaves room in {pause:.3g} s: too late")
        return PoolTimeoutError(
            f"none of {self.places.size} places came free in time; "
            f"{len(self.places.line)} more wait"
        )

    def leave(self, hold: Hold | None, result: object) -> None:
        """Give the place back, and settle what the call took."""
        if hold is None:
            self.places.give(None)
            return
        if holding.get() is hold:  # not where a collection happens to close it
            holding.set(hold.outer)
        self.places.release(hold)
        if self.rates is not None:
            tokens = fact(result, "tokens")
            known = isinstance(tokens, int) and 0 <= tokens <= _MOST
            self.rates.settle(hold.guess, tokens if known else 0)


def _wake(woken: "asyncio.Future[None]") -> None:
    loop = woken.get_loop()
    if running_loop() is loop:
        _set(woken)
    else:
        loop.call_soon_threadsafe(_set, woken)


def _set(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)
