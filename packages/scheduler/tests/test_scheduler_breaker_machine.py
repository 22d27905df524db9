"""The breaker beside a plain model that keeps its whole history."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from waybell_scheduler import CircuitOpenError
from waybell_scheduler._breaker import STATES, Breaker, counted


LIMIT, RECOVERY = 3, 30.0


class Wish(ConnectionError):
    """A failure that asks to wait."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("wait")
        self.retry_after = retry_after


@dataclass(eq=False)
class Call:
    """One call: its epoch for the breaker, and the history as it was for the model."""

    epoch: int
    born: int


class Both(RuleBasedStateMachine):
    """Calls begin and end in any order; the model says what may come of it."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(LIMIT, RECOVERY, counted, lambda: self.now)
        self.history = ["closed"]
        self.row = 0
        self.until = 0.0
        self.probe: Call | None = None

    def turn(self, state: str) -> None:
        self.history.append(state)
        self.probe = None

    def fresh(self, call: Call) -> bool:
        """Whether nothing has changed since a call began."""
        if self.history[-1] == "half_open":
            return call is self.probe
        return call.born == len(self.history)

    @rule(seconds=st.sampled_from([0.5, 1, 29.5, 30, 100]))
    def wait(self, seconds) -> None:
        self.now += seconds

    @rule(target=calls)
    def begin(self):
        state = self.history[-1]
        early = state == "open" and self.now < self.until
        if early or (state == "half_open" and self.probe is not None):
            with pytest.raises(CircuitOpenError) as caught:
                self.breaker.admit()
            assert caught.value.retry_after == (self.until - self.now if early else 1.0)
            return None
        if state == "open":
            self.turn("half_open")
        call = Call(self.breaker.admit(), len(self.history))
        if state != "closed":
            self.probe = call
        return call

    @rule(call=consumes(calls))
    def succeed(self, call) -> None:
        if call is None:
            return
        self.breaker.succeeded(call.epoch)
        if self.fresh(call):
            self.row = 0
            if self.history[-1] == "half_open":
                self.turn("closed")

    @rule(call=consumes(calls), wish=st.sampled_from([0, 0, 5.0, 200.0]))
    def fail(self, call, wish) -> None:
        if call is None:
            return
        self.breaker.ended(call.epoch, Wish(wish) if wish else OSError())
        until = self.now + (wish or RECOVERY)
        if self.fresh(call):
            self.row += 1
            if wish or self.history[-1] == "half_open" or self.row >= LIMIT:
                self.turn("open")
                self.until = until
        elif wish and self.history[-1] == "open":
            self.until = max(self.until, until)

    @rule(
        call=consumes(calls),
        error=st.sampled_from([KeyboardInterrupt(), CircuitOpenError(1)]),
    )
    def say_nothing(self, call, error) -> None:
        if call is None:
            return
        self.breaker.ended(call.epoch, error)
        if call is self.probe:
            self.probe = None

    @invariant()
    def they_agree(self) -> None:
        assert STATES[self.breaker.state] == self.history[-1]
        assert self.breaker.failures == self.row
        left = {
            "closed": 0.0,
            "open": max(0.0, self.until - self.now),
            "half_open": 1.0 if self.probe else 0.0,
        }[self.history[-1]]
        assert self.breaker.retry_after() == left
        assert self.breaker.report()[1:3] == (self.row, left)


TestBreakerAndModel = Both.TestCase
TestBreakerAndModel.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None
)
