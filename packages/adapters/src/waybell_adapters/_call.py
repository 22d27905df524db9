"""One call: its attempts, what they cost, and the pieces of its reply."""

import re
from collections import deque
from contextlib import suppress
from decimal import Decimal
from functools import partial
from json import dumps
from typing import Any, NoReturn, cast

from waybell_adapters._attempt import LOST, Attempt
from waybell_adapters._dialect import Ask, Dialect
from waybell_adapters._engine import Engine
from waybell_adapters._errors import BadReply, ModelUnavailable
from waybell_adapters._held import Held
from waybell_adapters._limits import admit
from waybell_adapters._line import Line, LineCut
from waybell_adapters._refusals import Refusal
from waybell_adapters._reply import CallAttempt, Reply, Usage
from waybell_adapters._retry import Terms, insist
from waybell_adapters._wait import Steps, Wait


PATIENCE = 60.0  # seconds that a call waits for money that others hold
_NOTHING = Usage(estimated=True)
_ENDED = "the call was ended"
# Words of connection errors that another try would only repeat.
_HOPELESS = re.compile(f"{_ENDED}|CERTIFICATE_VERIFY|Tunnel connection failed: 4")


class Call:
    """One reply, asked for when `run` is begun; its pieces come into `pieces`.

    Args:
        engine: Sends it.
        dialect: Writes and reads it.
        ask: What is asked.
        terms: What bounds it.
    """

    __slots__ = (
        "_ask", "_closed", "_dialect", "_engine", "_failed", "_looped", "_made", "_now",
        "_paid", "_terms", "line", "pieces",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, dialect: Dialect, ask: Ask, terms: Terms
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._ask = ask
        self._terms = terms
        self._made: list[CallAttempt] = []  # attempts that have failed
        self._now: Attempt | None = None
        self._failed = False
        self._paid = False
        self._closed = False
        self._looped = False
        self.line = Line()
        self.pieces: deque[str] = deque()

    def run(self) -> Steps[None]:
        """Ask and read: None where there are pieces; else what a loop must wait for.

        Raises:
            AdapterError: There is no reply, or no more of it.
        """
        error: Exception | None = None
        try:
            yield from self._begin()
            while (now := self._now) is not None:
                if self.pieces:
                    yield None
                if now.reader.done:
                    yield from self._guard(now.drain())
                    break
                yield from self._guard(now.pull())
        except Exception as failure:
            error = self._told(failure)
        self.close()
        if self.pieces:
            yield None  # what came before an error is given out first
        if error is not None:
            raise error

    def drive(self, *, looped: bool) -> None:
        """Go on in a loop, which is told of all waits, or in a thread, which waits."""
        if looped != self._looped:
            self._looped = looped
            if self._now is not None:
                self._now.exchange.drive(looped=looped)

    def close(self) -> None:
        """Give the connection back, or end it if the reply is not whole."""
        if self._closed:
            return
        self._closed = True
        if self._now is not None:
            self._now.exchange.close()
        self._engine.leave(self.line)

    def abandon(self) -> None:
        """End one that nobody has ended; by no lock that might be held right now."""
        if not self._closed:
            self.line.shut()
            if self._now is not None:
                self._now.exchange.abandon()
            self._engine.leave(self.line)

    def finish(self, text: str, cut: bool) -> Reply:
        """The reply, of what has come."""
        now, made = self._now, [*self._made]
        if now is None:
            return Reply(
                text, usage=_NOTHING, cost=0, model=self._ask.model, partial=cut
            )
        usage, cost = _NOTHING, cast(Decimal | None, Decimal(0))
        # A request that was sent may be paid for, though no answer came.
        if self._paid or (self.line.up and not self._failed):
            usage = self._usage(now, text, cut=cut)
            cost = self._terms.cost(usage, self._ask.model)
        if not self._failed:
            made.append(now.record("cut short" if cut else None, usage))
        facts: dict[str, Any] = {"model": self._ask.model}
        with suppress(ValueError):  # an error has said it already
            facts |= now.facts(text, cut=cut)
        if str(facts["model"]).startswith(self._ask.model):
            facts["model"] = self._ask.model  # a dated name has the price of its model
        return Reply(
            text, usage=usage, cost=cost, attempts=made, partial=cut, request_id=now.id,
            **facts,
        )  # fmt: skip

    def _begin(self) -> Steps[None]:
        deadline, line = self._terms.deadline, self.line
        self._engine.enter(line)
        if deadline is not None:
            self._engine.watcher.add(line, deadline)
        while self._looped and not (line.cut or self._engine.turns.enter(line)):
            yield Wait("pause")
        if isinstance(self._terms.budget, Held):
            yield from self._set_aside(self._terms.budget)
        yield from insist(
            self._try, self._terms, pause=self._pause, before=self._charge
        )

    def _set_aside(self, held: Held) -> Steps[None]:
        """Hold the worst case; what does not fit now is waited for."""
        deadline = self._terms.deadline
        try:
            held.take()
        except Exception:
            left = None if deadline is None else deadline.timeout()
            seconds = PATIENCE if left is None else min(left, PATIENCE)
            try:
                if self._looped:
                    yield Wait("money", None, partial(held.atake, seconds))
                else:
                    held.take(seconds)
            except LineCut:
                return  # the attempt will find it out too
            except Exception:
                if deadline is not None:
                    deadline.check()
                raise
        self._ask.max_tokens = held.allows(self._ask.max_tokens)

    def _try(self) -> Steps[None]:
        """One attempt, repeated at once while the server only dislikes its form."""
        while True:
            try:
                return (yield from self._attempt())
            except Refusal as refusal:
                error, now = refusal.error, self._now
                if error.status not in (400, 422) or now is None:
                    raise
                if not self._dialect.adjust(now.body, f"{error.args[0]} {error.body}"):
                    raise

    def _attempt(self) -> Steps[None]:
        terms, ask, line = self._terms, self._ask, self.line
        if isinstance(terms.budget, Held):
            terms.budget.renew()
        admit(terms.deadline, terms.budget, tokens=ask.size)
        line.up = line.reused = self._failed = self._paid = False
        cap = None if terms.deadline is None else terms.deadline.timeout()
        exchange = self._engine.exchange(line, cap, looped=self._looped)
        self._now = now = Attempt(line, self._dialect, exchange, self.pieces)
        now.body = self._dialect.body(ask)
        text = dumps(now.body, ensure_ascii=False, separators=(",", ":"))
        body = text.encode("utf-8", "replace")  # a lone surrogate is no text anywhere
        yield from self._guard(now.open(self._engine.request(body)))
        while not (now.reader.begun or now.reader.done):
            yield from self._guard(now.pull())

    def _guard(self, steps: Steps[None]) -> Steps[None]:
        """Take them, and say in this package's words what went wrong."""
        try:
            yield from steps
        except LOST as error:
            self._lost(error)
        except Refusal as refusal:
            self._fail(refusal)
        except ValueError as error:
            self._fail(Refusal(BadReply(str(error)), again=False, paid=True))

    def _lost(self, error: Exception) -> NoReturn:
        """Something on the way broke: say what, and whether it may be tried again."""
        deadline, line = self._terms.deadline, self.line
        late = isinstance(error, TimeoutError)
        if deadline is not None and (late or line.cut):
            deadline.check()
        said = _said(error, late=late, cut=line.cut)
        # A kept connection that ends before any answer was closed while it was idle.
        now = self._now
        idle = line.reused and not late and (now is None or now.status is None)
        paid = line.up and not idle
        again = _HOPELESS.search(said) is None
        self._fail(Refusal(ModelUnavailable(said), again=again, paid=paid))

    def _fail(self, found: Refusal) -> NoReturn:
        now, error, scrub = self._now, found.error, self._terms.scrub
        assert now is not None
        if now.reader.begun:
            found.again = False  # what was given out cannot be taken back
            found.paid = True
        if error.body is None and isinstance(error, BadReply):
            error.body = now.last[:10_000]
        error.args = (scrub(str(error.args[0])),)
        error.body = None if error.body is None else scrub(error.body)
        error.status = error.status or now.status
        now.id = None if now.id is None else scrub(now.id)
        self._failed, self._paid = True, found.paid
        usage = self._usage(now, "", cut=True) if found.paid else None
        said = f"{type(error).__name__}: {error.args[0]}"
        self._made.append(now.record(said, usage))
        now.exchange.close()
        raise found

    def _told(self, failure: Exception) -> Exception:
        if not isinstance(failure, Refusal):
            return failure
        error = failure.error
        error.provider = self._dialect.provider
        error.model = self._ask.model
        error.request_id = None if self._now is None else self._now.id
        error.attempts = tuple(self._made)
        return error

    def _charge(self, found: Refusal) -> None:
        """Book an attempt that failed after the server may have done its work."""
        budget, now = self._terms.budget, self._now
        if not found.paid or budget is None or now is None:
            return
        self._paid = False  # it is booked here, and not with the reply
        usage = self._usage(now, "", cut=True)
        model = self._ask.model
        usd = self._terms.cost(usage, model)
        budget.charge(usd=usd, model=model, usage=usage, line="estimated")

    def _pause(self, seconds: float) -> Steps[None]:
        if self._looped:
            yield Wait("pause", seconds)
            seconds = 0
        try:
            self.line.sleep(seconds)
        except LineCut as error:
            self._lost(error)

    def _usage(self, now: Attempt, text: str, *, cut: bool) -> Usage:
        return now.counts(text, size=self._ask.size, cut=cut)


def _said(error: Exception, *, late: bool, cut: bool) -> str:
    if cut:
        return _ENDED
    if late:
        return "no answer in time"
    return f"the connection failed: {str(error) or type(error).__name__}"
