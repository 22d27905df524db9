"""Broadcast: ask several at once, settle by quorum, name who failed or was late."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack as Stack
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any, Literal, Unpack

from waybell_deadline import Deadline
from waybell_patterns._agent import Agent, distinct, handlers_of, timed
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import Result
from waybell_patterns._run import Holds, Run, Stage, Till, Worker, log, unwrapped


Asks = list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]
# Seconds for a cancelled agent to end, and for an aggregate after the deadline.
PATIENCE = 1.0
_left_behind = set[asyncio.Task[None]]()  # a loop keeps its tasks weakly


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastResult(Result):
    """Who answered, who failed, who was late.

    Args:
        answers: Answers by agent, in the agents' order.
        failures: Errors by agent.
        late: Answers by agent that came after the result was settled.
        missing: The agents that had not answered at the end and were cancelled.
        quorum: How many answers were asked for.
        value: What `aggregate` made of the answers, by default the answers; None below
            the quorum.
        error: What `aggregate` raised, or None.
    """

    answers: Mapping[str, Any]
    failures: Mapping[str, Exception]
    late: Mapping[str, Any]
    missing: tuple[str, ...]
    quorum: int
    value: Any = None

    @property
    def lack(self) -> str | None:
        """Which answers are missing, and why."""
        if self.error is not None:
            return f"{len(self.answers)} answers, but {self.error!r}"
        if len(self.answers) >= self.quorum:
            return None
        why = [f"{name} failed ({error!r})" for name, error in self.failures.items()]
        why += [f"{name} was late" for name in self.late]
        why += [f"{name} is missing" for name in self.missing]
        return f"{len(self.answers)} of {self.quorum} answers: {'; '.join(why)}"


@dataclass(slots=True)
class _Poll:
    """Who has said what so far; once it is settled, answers are late."""

    first: float  # so many answers settle it
    asked: list[str]
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    late: dict[str, Any] = field(default_factory=dict[str, Any])
    settled: asyncio.Future[None] = field(default_factory=asyncio.Future[None])

    def note(self, name: str, value: Any, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            self.failures[name] = error
        elif error is None:
            (self.late if self.settled.done() else self.answers)[name] = value
            if len(self.answers) >= self.first:
                self.settle()

    def settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def missing(self) -> list[str]:
        said = self.answers | self.failures | self.late
        return [name for name in self.asked if name not in said]


class Broadcast(Pattern[BroadcastResult]):
    """Ask every agent the same, at once.

    >>> panel = Broadcast({"a": str.upper, "b": {}.__getitem__}, quorum=1)
    >>> result = panel.run_sync("hi")
    >>> result.answers, list(result.failures)
    ({'a': 'HI'}, ['b'])

    The holds of all agents that name `usd` or `tokens` are taken before any of them is
    asked: a pool that cannot pay for all refuses with `BudgetExceeded` and nobody
    starts. After that nothing raises: failures, late answers and a deadline that
    passes are in the result. An agent that goes on for a second after its cancellation
    is left behind: it is `missing`, and what comes of it is lost.

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
            raise ValueError(f"{late=}, {grace=}: not cancel or collect, or no seconds")
        self._grace = {"cancel": 0.0, "collect": grace}[late]
        self._aggregate = self._hire(aggregate, "aggregate") if aggregate else None

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
            agents = [
                replace(agent, name=name) if isinstance(agent, Stage)
                else Stage(name, agent) for name, agent in agents.items()
            ]  # fmt: skip
        self._agents = self._crew(agents, "agent")
        return len(self._agents)

    async def _run(self, run: Run, prompt: str) -> BroadcastResult:
        poll = await self._polled(run, prompt)
        answers = {n: poll.answers[n] for n in poll.asked if n in poll.answers}
        quorum = self._quorum or max(1, len(poll.asked))
        value = error = None
        if len(answers) >= quorum:
            try:
                value = await self._aggregated(run, answers)
            except Exception as raised:
                error = raised
        return BroadcastResult(
            answers=answers, failures=dict(poll.failures), late=dict(poll.late),
            missing=tuple(poll.missing()), quorum=quorum, value=value, error=error,
            **run.spent(),
        )  # fmt: skip

    async def _polled(self, run: Run, prompt: str) -> _Poll:
        poll = _Poll(self._first, [*self._agents])
        async with Stack() as stack:
            if run.deadline is not None:
                reserve = self._aggregate.stage.timeout if self._aggregate else 0
                stack.enter_context(run.deadline.tighten(reserve=reserve or 0))
            asks = await self._asks(run, prompt, poll, stack)
            await _conduct(run, asks, poll, self._grace)
        return poll

    async def _asks(self, run: Run, prompt: str, poll: _Poll, stack: Stack) -> Asks:
        """What asks them all, by name, once the money for all is there."""
        if self._bus is None or (stage := self._topic) is None:
            crew = self._agents.values()
            holds = await stack.enter_async_context(run.hold(crew))
            ask = partial(partial, _ask, run, holds, poll, prompt)
            return [(worker.stage.name, ask(worker)) for worker in crew]
        if stage.timeout is not None:
            stack.enter_context(Deadline(stage.timeout))
        if stage.prompt is not None:
            prompt = stage.prompt(prompt, {})
        till = await stack.enter_async_context(Till(run, stage))
        fields = timed({"prompt": prompt, "budget": till.hold})
        stream = self._bus.stream(topic := str(stage.agent), **fields)
        poll.asked += handlers_of(self._bus, topic)
        return [(stage.name, partial(_hear, run, stream, prompt, till, poll))]

    async def _aggregated(self, run: Run, answers: dict[str, Any]) -> Any:
        if self._aggregate is None:
            return answers
        left = inf if run.deadline is None else run.deadline.remaining()
        async with nullcontext() if left == inf else Deadline(max(left, PATIENCE)):
            return await run.ask(self._aggregate, answers)


async def _wait(futures: Sequence[asyncio.Future[Any]], seconds: float) -> None:
    """Wait for one of them, within the deadline."""
    deadline = Deadline.current()
    left = min(seconds, inf if deadline is None else deadline.remaining())
    limit = None if left == inf else left
    await asyncio.wait(futures, timeout=limit, return_when=asyncio.FIRST_COMPLETED)


async def _conduct(run: Run, asks: Asks, poll: _Poll, grace: float) -> None:
    """Ask all at once, until it is settled and the time for late answers is over."""
    tasks = [asyncio.create_task(ask(), name=name) for name, ask in asks]
    until = asyncio.FIRST_EXCEPTION  # what _ask lets through ends it all
    through = asyncio.create_task(asyncio.wait(tasks, return_when=until))
    try:
        await _wait([poll.settled, through], inf)
        poll.settle()
        await _wait([through], grace)
    finally:
        await _end(run, [*tasks, through])
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error


async def _end(run: Run, tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel them and wait for their end, though not for ever."""
    for task in tasks:
        task.add_done_callback(_retrieve)
        task.cancel()
    time = asyncio.get_running_loop().time
    until, cancelled, running = time() + PATIENCE, None, {*tasks}
    while running and (left := until - time()) > 0:
        try:
            _, running = await asyncio.wait(running, timeout=left)
        except asyncio.CancelledError as error:  # later: who is cancelled may end first
            cancelled = error
    for task in running:
        _left_behind.add(task)
        name = task.get_name()
        log.warning("%r ignores its cancellation and is left behind", name)
        run.record("left", agent=name)
    if cancelled:
        raise cancelled


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at an outcome that may interest nobody, so that asyncio need not warn."""
    _left_behind.discard(task)
    _ = task.cancelled() or task.exception()


async def _ask(run: Run, holds: Holds, poll: _Poll, prompt: str, who: Worker) -> None:
    name = who.stage.name
    try:
        poll.note(name, await run.ask(who, prompt, holds.get(name)), None)
    except Exception as error:
        poll.note(name, None, error)


async def _hear(run: Run, stream: Any, prompt: str, till: Till, poll: _Poll) -> None:
    """Ask all handlers of a topic."""
    silent, heard, gone = set(poll.asked), set[str](), asyncio.CancelledError()
    try:
        async with stream:
            async for handler, value, error, seconds in stream:
                heard.add(name := distinct(handler, heard))
                silent.discard(name)
                try:
                    till.take(value)
                    end = unwrapped(value), error
                except Exception as raised:
                    end = None, raised
                run.record("answer", *end, agent=name, prompt=prompt, seconds=seconds)
                poll.note(name, *end)
    finally:
        for name in silent:
            run.record("answer", None, gone, agent=name, prompt=prompt)
