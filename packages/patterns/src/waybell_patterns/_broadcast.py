"""Broadcast: ask several at once, settle by quorum, name who failed or was late."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from waybell_deadline import Deadline
from waybell_patterns._call import Agent
from waybell_patterns._pattern import Pattern, Run, Stage, Worker
from waybell_patterns._results import BroadcastResult


_log = logging.getLogger("waybell.patterns")
_PATIENCE = 1.0  # seconds that a cancelled agent is given to end


@dataclass(slots=True)
class _Poll:
    """Who has answered so far, and who has failed."""

    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])

    def note(self, name: str, task: "asyncio.Task[Any]") -> None:
        """Take what a finished task has to say."""
        if task.cancelled():
            self.failures[name] = RuntimeError(f"{name} cancelled itself")
        elif (error := task.exception()) is None:
            self.answers[name] = task.result()
        elif isinstance(error, Exception):
            self.failures[name] = error
        else:
            raise error


class _Crowd:
    """The agents under way, each in a task that this object owns."""

    __slots__ = ("_pending",)

    def __init__(self, work: Mapping[str, Coroutine[Any, Any, Any]]) -> None:
        self._pending = {
            name: asyncio.ensure_future(coroutine) for name, coroutine in work.items()
        }

    async def next(self, until: float, poll: _Poll) -> bool:
        """Note whoever finishes next; whether somebody did before `until`.

        Args:
            until: A time of the running loop; the current deadline holds as well.
            poll: Where to note it.
        """
        if not self._pending:
            return False
        deadline = Deadline.current()
        left = inf if deadline is None else deadline.remaining()
        left = max(0.0, min(left, until - asyncio.get_running_loop().time()))
        await asyncio.wait(
            self._pending.values(),
            timeout=None if left == inf else left,
            return_when=asyncio.FIRST_COMPLETED,
        )
        return self._sift(poll)

    def _sift(self, poll: _Poll) -> bool:
        finished = [name for name, task in self._pending.items() if task.done()]
        for name in finished:
            poll.note(name, self._pending.pop(name))
        return bool(finished)

    async def end(self, late: _Poll) -> tuple[str, ...]:
        """Cancel whoever is left; their names. What they still return is late."""
        asked_to_stop = dict(self._pending)
        for task in asked_to_stop.values():
            task.cancel()
        if asked_to_stop:
            await asyncio.wait(asked_to_stop.values(), timeout=_PATIENCE)
        for name, task in asked_to_stop.items():
            if not task.done():
                _log.warning("%s ignored its cancellation; it is left behind", name)
            elif not task.cancelled() and task.exception() is None:
                late.answers[name] = task.result()
        return tuple(name for name in asked_to_stop if name not in late.answers)


class Broadcast(Pattern[BroadcastResult]):
    """Ask every agent the same, at once.

    The holds of all agents that name `usd` or `tokens` are taken before any of them is
    asked: a pool that cannot pay for all refuses with `BudgetExceeded` and nobody
    starts. After that nothing raises: failures, late answers and a deadline that
    passes are in the result.

    Args:
        agents: Agents by name, or a sequence of stages or topics.
        quorum: How many answers make a result; all of them by default.
        first: Settle as soon as so many have answered, not waiting for the rest.
        late: What happens to the rest then: "cancel", or "collect" their answers
            for `grace` seconds.
        grace: Seconds to wait for late answers, within the deadline.
        aggregate: An agent called with the dict of answers, whose answer is the
            result's `value`; without it the value is that dict.
        bus, budget, deadline, log, tracer: As in every pattern.

    Raises:
        ValueError: No agents, two of one name, or a quorum or `first` out of range.
    """

    __slots__ = ("_aggregate", "_first", "_grace", "_late", "_quorum", "_workers")

    def __init__(
        self,
        agents: Mapping[str, Agent] | Sequence[Agent],
        *,
        quorum: int | None = None,
        first: int | None = None,
        late: Literal["cancel", "collect"] = "cancel",
        grace: float = 1.0,
        aggregate: Agent = None,
        **setting: Any,
    ) -> None:
        super().__init__(**setting)
        if isinstance(agents, str):
            raise TypeError(f"a broadcast asks several agents, not the one {agents!r}")
        given = (
            [a if isinstance(a, Stage) else Stage(n, a) for n, a in agents.items()]
            if isinstance(agents, Mapping)
            else agents
        )
        self._workers: dict[str, Worker] = {}
        for number, agent in enumerate(given, start=1):
            worker = Worker(agent, self._bus, f"agent{number}")
            if worker.stage.name in self._workers:
                raise ValueError(f"two agents are called {worker.stage.name!r}")
            self._workers[worker.stage.name] = worker
        count = len(self._workers)
        self._quorum = (first or count) if quorum is None else quorum
        self._first = max(self._quorum, count if first is None else first)
        if not 1 <= self._quorum <= count or not 1 <= self._first <= count:
            raise ValueError(
                f"quorum={quorum!r} and first={first!r} must be 1 to {count}, "
                "the number of agents"
            )
        if late not in ("cancel", "collect") or not 0 <= grace < inf:
            raise ValueError(f"late={late!r}, grace={grace!r}: not a way to be late")
        self._late, self._grace = late, grace
        self._aggregate = (
            None if aggregate is None else Worker(aggregate, self._bus, "aggregate")
        )

    async def _run(self, run: Run, prompt: str) -> BroadcastResult:
        poll, late = _Poll(), _Poll()
        async with AsyncExitStack() as stack:
            holds = await run.hold(self._workers.values(), stack)
            if run.deadline is not None:
                stack.enter_context(run.deadline)
            asked = {
                name: run.ask(worker, prompt, holds.get(name))
                for name, worker in self._workers.items()
            }
            crowd = _Crowd(asked)
            try:
                while len(poll.answers) < self._first and await crowd.next(inf, poll):
                    continue
                if self._late == "collect":
                    until = asyncio.get_running_loop().time() + self._grace
                    while await crowd.next(until, late):
                        continue
            finally:
                missing = await crowd.end(late)
            answers = {n: poll.answers[n] for n in self._workers if n in poll.answers}
            value, error = await self._aggregated(run, answers)
        failures = {**poll.failures, **late.failures}
        run.record(
            "broadcast", prompt=prompt, answered=list(answers), late=list(late.answers),
            failed={name: repr(why) for name, why in failures.items()},
            missing=list(missing), quorum=self._quorum,
        )  # fmt: skip
        return BroadcastResult(
            answers, failures, late.answers, missing, self._quorum, value, error,
            run.usd, run.seconds,
        )  # fmt: skip

    async def _aggregated(
        self, run: Run, answers: dict[str, Any]
    ) -> tuple[Any, Exception | None]:
        if len(answers) < self._quorum:
            return None, None
        if self._aggregate is None:
            return answers, None
        try:
            return await run.ask(self._aggregate, answers), None
        except Exception as error:
            return None, error
