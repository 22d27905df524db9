"""Broadcast: ask several at once, settle by quorum, name who failed or was late."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, Unpack

from waybell_deadline import Deadline
from waybell_patterns._agent import Agent
from waybell_patterns._crowd import PATIENCE, Audience, Crowd, Said, handlers_of
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import BroadcastResult
from waybell_patterns._run import Run, Stage, Till, Worker


@dataclass(slots=True)
class _Poll:
    """Who has said what so far. After `first` answers, the others are late."""

    first: float
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    late: dict[str, Any] = field(default_factory=dict[str, Any])
    missing: list[str] = field(default_factory=list[str])

    @property
    def count(self) -> int:
        """How many were asked, once all have been noted."""
        kinds = (self.answers, self.failures, self.late, self.missing)
        return sum(map(len, kinds))

    def note(self, said: Sequence[Said]) -> None:
        """Take what several have said."""
        for name, value, error in said:
            if error is None:
                early = len(self.answers) < self.first
                (self.answers if early else self.late)[name] = value
            elif isinstance(error, Exception):
                self.failures[name] = error
            elif isinstance(error, asyncio.CancelledError):
                self.missing.append(name)
            else:
                raise error

    async def take(self, crowd: Crowd | Audience, seconds: float, most: float) -> None:
        """Note what they say until there are so many answers, or the time is up."""
        deadline = Deadline.current()
        left = min(seconds, inf if deadline is None else deadline.remaining())
        try:
            async with asyncio.timeout(None if left == inf else left):
                while len(self.answers) < most and (said := await crowd.next()):
                    self.note(said)
        except TimeoutError:
            pass


class Broadcast(Pattern[BroadcastResult]):
    """Ask every agent the same, at once.

    >>> panel = Broadcast({"a": str.upper, "b": {}.__getitem__}, quorum=1)
    >>> result = panel.run_sync("hi")
    >>> result.answers, list(result.failures)
    ({'a': 'HI'}, ['b'])

    The holds of all agents that name `usd` or `tokens` are taken before any of them is
    asked: a pool that cannot pay for all refuses with `BudgetExceeded` and nobody
    starts. After that nothing raises: failures, late answers and a deadline that
    passes are in the result.

    Args:
        agents: Agents by name, or a sequence of them. Or one topic, or a stage with
            one: all its handlers are asked, and are called by their qualified names.
            They share the stage's hold and `timeout`, and none has limits of its own.
        quorum: How many answers make a result; by default `first`, else all.
        first: Settle as soon as so many have answered, not waiting for the rest.
        late: What happens to the rest then: "cancel", or "collect" their answers
            for `grace` seconds.
        grace: Seconds to wait for late answers, within the deadline.
        aggregate: An agent called with the dict of answers, whose answer is the
            result's `value`. The deadline's last seconds are kept for its `timeout`;
            where it has none, it has at least one second when the deadline has passed.
        **setting: As in every pattern.

    Raises:
        ValueError: No agents, two of one name, or a quorum or `first` out of range.
    """

    __slots__ = ("_agents", "_aggregate", "_first", "_grace", "_quorum", "_topic")

    def __init__(
        self,
        agents: Mapping[str, Agent] | Sequence[Agent] | Stage,
        *,
        quorum: int | None = None,
        first: int | None = None,
        late: Literal["cancel", "collect"] = "cancel",
        grace: float = 1.0,
        aggregate: Agent = None,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        count = self._staff(agents)
        self._quorum = first if quorum is None else quorum
        self._first = count if first is None else first
        limits = [n for n in (1, self._quorum, self._first, count) if n is not None]
        if limits != sorted(limits):
            raise ValueError(f"{quorum=}, {first=}: not within 1 to {count} agents")
        if late not in ("cancel", "collect") or not 0 <= grace < inf:
            raise ValueError(f"{late=}, {grace=}: not a way to be late")
        self._grace = {"cancel": 0.0, "collect": grace}[late]
        self._aggregate = aggregate and self._hire(aggregate, "aggregate")

    def _staff(self, agents: Mapping[str, Agent] | Sequence[Agent] | Stage) -> float:
        """Make the agents ready; say how many they are at the most."""
        self._topic: Stage | None = None
        self._agents: dict[str, Worker] = {}
        if isinstance(agents, str | Stage):
            self._topic = self._hire(agents, "topic").stage
            if not isinstance(self._topic.agent, str):
                raise TypeError(f"a broadcast asks several agents, not {agents!r}")
            return inf
        if isinstance(agents, Mapping):
            agents = [_called(name, agent) for name, agent in agents.items()]
        self._agents = self._crew(agents, "agent")
        return len(self._agents)

    async def _run(self, run: Run, prompt: str) -> BroadcastResult:
        poll = await self._polled(run, prompt)
        quorum = self._quorum or max(1, poll.count)
        order = [name for name in self._agents or poll.answers if name in poll.answers]
        answers = {name: poll.answers[name] for name in order}
        value = error = None
        if len(answers) >= quorum:
            try:
                value = await self._aggregated(run, answers)
            except Exception as raised:
                error = raised
        return BroadcastResult(
            answers=answers, failures=poll.failures, late=poll.late,
            missing=tuple(poll.missing), quorum=quorum, value=value, error=error,
            **run.spent(),
        )  # fmt: skip

    async def _polled(self, run: Run, prompt: str) -> _Poll:
        poll = _Poll(self._first)
        async with AsyncExitStack() as stack:
            if run.deadline is not None:
                reserve = self._aggregate.stage.timeout if self._aggregate else 0
                stack.enter_context(run.deadline.tighten(reserve=reserve or 0))
            if self._topic and self._topic.timeout is not None:
                stack.enter_context(Deadline(self._topic.timeout))
            crowd = await self._ask(run, prompt, stack)
            try:
                await poll.take(crowd, inf, self._first)
                await poll.take(crowd, self._grace, inf)
            finally:
                poll.first = len(poll.answers)
                poll.note(await crowd.end())
        return poll

    async def _ask(
        self, run: Run, prompt: str, stack: AsyncExitStack
    ) -> Crowd | Audience:
        if self._topic is None or self._bus is None:
            holds = await run.hold(self._agents.values(), stack)
            return Crowd({
                name: run.ask(worker, prompt, holds.get(name))
                for name, worker in self._agents.items()
            })  # fmt: skip
        make, topic = self._topic.prompt, str(self._topic.agent)
        asked = prompt if make is None else make(prompt, {})
        till = await stack.enter_async_context(Till(run, self._topic))
        stream = self._bus.stream(topic, prompt=asked, budget=till.hold)
        everybody = handlers_of(self._bus, topic)  # before those for once are gone
        await stack.enter_async_context(stream)
        return Audience(run, asked, till, stream, everybody)

    async def _aggregated(self, run: Run, answers: dict[str, Any]) -> Any:
        if self._aggregate is None:
            return answers
        left = inf if run.deadline is None else run.deadline.remaining()
        async with nullcontext() if left == inf else Deadline(max(left, PATIENCE)):
            return await run.ask(self._aggregate, answers)


def _called(name: str, agent: Agent) -> Stage:
    return replace(agent, name=name) if isinstance(agent, Stage) else Stage(name, agent)
