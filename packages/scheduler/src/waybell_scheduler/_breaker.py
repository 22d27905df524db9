"""The circuit breaker: after failures in a row it refuses calls, then lets one try."""

import asyncio
import logging
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from threading import RLock
from time import monotonic

from waybell_scheduler._errors import CircuitOpenError, fact, message
from waybell_scheduler._places import Hold


CLOSED, OPEN, HALF_OPEN = range(3)
STATES = ("closed", "open", "half_open")
Clock = Callable[[], float]
Counts = Callable[[Exception], bool]
_MOST = 1e9  # seconds that an error may ask for: more is no number of seconds
_log = logging.getLogger("waybell_scheduler")


running_loop = asyncio.events._get_running_loop  # noqa: SLF001 - it is in __all__, and the other one raises, which is slow


def loop_clock() -> float:
    """The running loop's time, which a simulation may shift, else the monotonic one."""
    loop = running_loop()
    return monotonic() if loop is None else loop.time()


def counted(error: Exception) -> bool:
    """Whether an error says that the other side is not well.

    Connection errors, timeouts, the statuses 408, 429 and 5xx do, and whatever says
    nothing about itself. Other statuses, cancellations, an inner breaker's refusal and
    a budget that is used up do not.
    """
    status = _status(error)
    if status is not None:
        return status in {408, 429} or status >= 500
    if isinstance(error, CircuitOpenError | CancelledError):
        return False
    budget = sys.modules.get("waybell_budget")  # nobody raises it who has not loaded it
    return budget is None or not isinstance(error, budget.BudgetError)


def _status(error: Exception) -> int | None:
    for source in (error, fact(error, "response")):
        for name in ("status", "status_code"):
            status = fact(source, name)
            if isinstance(status, int) and status >= 400:
                return status
    return None


def asked_to_wait(error: BaseException) -> float:
    """The seconds that an error asks for in `retry_after`; 0 if it does not."""
    seconds = fact(error, "retry_after")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return 0.0
    return float(seconds) if 0 < seconds <= _MOST else 0.0


class Breaker:
    """CLOSED, OPEN or HALF_OPEN, for threads and tasks alike; it makes no calls itself.

    Each call is admitted in an epoch, and each change of state and each probe begins a
    new one: what a call of an earlier epoch reports can settle nothing any more.

    Args:
        limit: Failures in a row that open it.
        recovery: Seconds until a probe is let through; what an error asks for in
            `retry_after` comes before, and opens it at once.
        counts: Which errors are failures.
        clock: Seconds.
    """

    __slots__ = (
        "_asked", "_clock", "_counts", "_limit", "_lock", "_probing", "_recovery",
        "_until", "epoch", "failures", "reason", "state",
    )  # fmt: skip

    def __init__(
        self, limit: int, recovery: float, counts: Counts, clock: Clock
    ) -> None:
        self._limit = limit
        self._recovery = recovery
        self._counts = counts
        self._clock = clock
        self._lock = RLock()  # a collection inside may close a call
        self._until = self._asked = 0.0
        self._probing = False
        self.epoch: int = 0
        self.failures = 0
        self.reason = ""
        self.state = CLOSED

    def admit(self) -> int:
        """The epoch to report the call's end with.

        Raises:
            CircuitOpenError: It is open, or the one probe is under way.
        """
        with self._lock:
            self.refuse()
            if self.state:
                self.state = HALF_OPEN
                self._probing = True
                self.epoch += 1
            return self.epoch

    def probe(self, hold: Hold | None) -> int | None:
        """The probe's epoch, if this is called from inside the probe."""
        while hold is not None:
            if (
                hold.breaker is self
                and hold.open
                and hold.epoch == self.epoch
                and self._probing
            ):
                return hold.epoch
            hold = hold.outer
        return None

    def refuse(self) -> None:
        """Raise what `admit` would, without taking the probe.

        Raises:
            CircuitOpenError: It is open, or the one probe is under way.
        """
        with self._lock:
            left = self._left() if self.state else 0.0
            if left > 0:
                raise CircuitOpenError(left, self.reason)

    def report(self) -> tuple[str, int, float, str]:
        """State, failures in a row, seconds until a call may come, and the reason."""
        with self._lock:
            left = self._left() if self.state else 0.0
            return STATES[self.state], self.failures, left, self.reason

    def retry_after(self) -> float:
        """Seconds until a call may be let through; 0 if it may now."""
        with self._lock:
            return self._left() if self.state else 0.0

    def _left(self) -> float:
        if self.state == HALF_OPEN:  # nobody knows; soon enough to ask again
            return min(1.0, self._recovery) if self._probing else 0.0
        now = self._clock()
        if self._until - now > self._asked:  # it went back, or is another loop's
            self._until = now + self._asked
        return max(0.0, self._until - now)

    def succeeded(self, epoch: int) -> None:
        """A call ended well."""
        with self._lock:
            if epoch != self.epoch:
                return
            self.failures = 0
            closes = self.state != CLOSED
            if closes:
                self.state = CLOSED
                self._probing = False
                self.epoch += 1
                self.reason = ""
        if closes:
            _log.info("the circuit is closed again")

    def ended(self, epoch: int, error: BaseException) -> None:
        """A call ended with an error; one that does not count gives a probe back."""
        fails = False
        try:
            fails = isinstance(error, Exception) and self._fails(error)
        finally:  # also where an interrupt comes
            if not fails:
                self.abandoned(epoch)
        if fails:
            self._failed(epoch, error)

    def abandoned(self, epoch: int) -> None:
        """A call came to no end that says anything."""
        with self._lock:
            if epoch == self.epoch and self.state:
                self._probing = False

    def _fails(self, error: Exception) -> bool:
        try:
            return bool(self._counts(error))
        except Exception:
            _log.exception("counts= failed; its error is taken as a failure")
            return True

    def _failed(self, epoch: int, error: BaseException) -> None:
        wait = asked_to_wait(error)
        reason = f"{type(error).__name__}: {message(error)}".rstrip(": ")[:200]
        seconds = wait or self._recovery
        with self._lock:
            until = self._clock() + seconds
            opens = epoch == self.epoch and self._count(bool(wait))
            if opens:
                self.state = OPEN
                self._probing = False
                self.epoch += 1
                self._until, self._asked = until, seconds
                self.reason = reason
            elif wait and self.state == OPEN:  # what it asks for is news all the same
                self._until = max(self._until, until)
                self._asked = max(self._asked, wait)
        if opens:
            _log.warning("the circuit is open for %.3g s after %s", seconds, reason)

    def _count(self, asked: bool) -> bool:
        """Count a failure; whether that opens it."""
        self.failures += 1
        return asked or self.state != CLOSED or self.failures >= self._limit
