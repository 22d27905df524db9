"""The doors that all patterns have: `run`, `run_sync`, and being a handler."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from waybell_bus import EventBus
from waybell_deadline import Deadline
from waybell_patterns._agent import Agent, caller, distinct, named
from waybell_patterns._errors import meant
from waybell_patterns._run import Pool, Run, Stage, Worker


R = TypeVar("R")
_MEANT = {"timeout": "give deadline=Deadline(seconds=...)"}


class Limits(TypedDict, total=False):
    """What a run may take: the pool (or hold) to spend from, and until when."""

    budget: Pool | None
    deadline: Deadline | None


class Setting(Limits, total=False):
    """What every pattern takes, beside the limits of its runs.

    Args:
        bus: Where agents that are topics are asked.
        log: Keeps decisions: anything with `record(decision=..., **fields)`.
        tracer: Keeps spans: anything with `span(name)`. Patterns inside this one
            inherit log and tracer unless they have their own.
    """

    bus: EventBus | None
    log: Any
    tracer: Any


class Pattern(ABC, Generic[R]):
    """Agents put together. It keeps nothing of a run, so that it can run any number."""

    __slots__ = ("_bus", "_limits", "_observers", "_pay")

    def __init__(self, **setting: Unpack[Setting]) -> None:
        own: dict[str, Any] | None = type(self).__init__.__kwdefaults__
        _known(type(self).__name__, setting, [*Setting.__annotations__, *(own or ())])
        self._bus = setting.get("bus")
        self._limits = _checked(setting.get("budget"), setting.get("deadline"))
        self._observers = (setting.get("log"), setting.get("tracer"))
        self._pay: list[str] = []

    def _hire(self, agent: Agent, name: str) -> Worker:
        """Make an agent ready, under its own name or this one."""
        stage = agent if isinstance(agent, Stage) else Stage(named(agent, name), agent)
        if stage.limited:
            self._pay.append(stage.name)
        return Worker(stage, caller(stage.agent, self._bus))

    def _crew(self, agents: Iterable[Agent], kind: str) -> dict[str, Worker]:
        """Make agents ready, by name; there must be one, and no two of one name."""
        crew: dict[str, Worker] = {}
        for number, agent in enumerate(agents, start=1):
            name = distinct(named(agent, f"{kind}{number}"), crew)
            stage = agent if isinstance(agent, Stage) else Stage(name, agent)
            if stage.name in crew:
                raise ValueError(f"two agents are called {stage.name!r}: rename one")
            crew[stage.name] = self._hire(stage, kind)
        if not crew:
            raise ValueError(f"a {type(self).__name__} needs at least one agent")
        return crew

    async def run(
        self,
        prompt: str,
        *,
        budget: Pool | None = None,
        deadline: Deadline | None = None,
    ) -> R:
        """Run the pattern once.

        Args:
            prompt: What is asked.
            budget: The pool to spend from, instead of the pattern's.
            deadline: The deadline to keep, instead of the pattern's.

        Raises:
            TypeError: A limit is of another type.
            ValueError: A stage names what it may spend, and there is no pool.
        """
        budget = self._limits[0] if budget is None else budget
        deadline = self._limits[1] if deadline is None else deadline
        _checked(budget, deadline)
        kind = type(self).__name__.casefold()
        if budget is None and self._pay:
            raise ValueError(f"{self._pay} have limits, but no pool: give budget=")
        run = Run(budget, deadline, *self._observers)
        with run.observed(kind):
            try:
                result = await self._run(run, prompt)
                run.heed()
            except BaseException as error:
                run.record(kind, None, error, prompt=prompt)
                raise
            run.record(kind, result, None, prompt=prompt)
            return result

    def run_sync(self, prompt: str, **limits: Unpack[Limits]) -> R:
        """The same from sync code, on a loop of its own; RuntimeError inside of one."""
        _known(f"{type(self).__name__}.run_sync", limits, Limits.__annotations__)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not None:
            raise RuntimeError("an event loop is running here: await run() instead")
        return asyncio.run(self.run(prompt, **limits))

    async def __call__(self, event: Mapping[str, Any], /) -> R:
        """Answer a topic: the event's `prompt`, within its `budget` if it has one."""
        return await self.run(event["prompt"], budget=event.get("budget"))

    @abstractmethod
    async def _run(self, run: Run, prompt: str) -> R: ...


def _known(taker: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse a keyword that nobody knows, and say what may be meant."""
    for name in given:
        if name not in known:
            hint = _MEANT.get(name) or meant(name, known)
            raise TypeError(f"{taker} does not take {name!r}; {hint}")


def _checked(budget: Any, deadline: Any) -> tuple[Any, Any]:
    if not (budget is None or hasattr(budget, "charge")):
        raise TypeError(f"{budget=}: give a BudgetPool or a Budget")
    if not (deadline is None or hasattr(deadline, "remaining")):
        raise TypeError(f"{deadline=}: give a Deadline, e.g. Deadline(seconds=5)")
    return budget, deadline
