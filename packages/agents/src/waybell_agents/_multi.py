"""Teams of agents over graphs of tasks: the one door that three lines need."""

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias, Unpack, cast

from waybell_adapters import Reply
from waybell_agents._agent import Agent, AgentStream, Prompt
from waybell_agents._box import Approve
from waybell_agents._config import AgentConfig, Model
from waybell_agents._desk import Desk
from waybell_agents._errors import AgentError
from waybell_agents._feed import Feed
from waybell_agents._keys import near
from waybell_agents._reply import AgentReply, totals
from waybell_agents._settings import Limits, Settings
from waybell_agents._sync import T, run_blocking
from waybell_agents._team import Team
from waybell_agents._waits import whole
from waybell_budget import BudgetPool
from waybell_bus import EventBus
from waybell_scheduler import AgentPool, RunResult, Task, arun
from waybell_tools import ToolRegistry


Tasks: TypeAlias = Iterable[Task | Mapping[str, Any]]
Crew: TypeAlias = Team | AgentConfig[Any] | Iterable[AgentConfig[Any]]

_NEEDS = {
    "pool": ("acall", "an AgentPool"), "bus": ("request", "an EventBus"),
    "budget": ("charge", "a BudgetPool"), "registry": ("acall", "a ToolRegistry"),
    "approve": ("__call__", "a function of a tool's name and its arguments"),
}  # fmt: skip


class TeamStream(Feed[dict[str, Any], RunResult]):
    """The progress of a team's run, then its `result`.

    Each item is a dict: `event` ("task:started", "task:finished", ...), and what
    belongs to it, such as `task`. A reader that falls behind loses the oldest.
    """

    __slots__ = ()

    @property
    def result(self) -> RunResult:
        """What came of the run; it raises what `AgentStream.reply` does."""
        return self._result()


class OpenMultiAgent:
    """Runs agents, and teams of them over tasks that depend on each other.

    Args:
        pool: Bounds the agents that run at once, and stops calling a provider that is
            broken; share one with others that call it.
        adapter: The model, or its spec, of agents that name none.
        bus: Where agents answer while they run, and where progress is published; one
            of its own for each run if None.
        budget: What agents spend from if a run is given nothing else.
        registry: Where names of tools are found that agents have no registry for.
        approve: Asked for tools that need approval if the agent asks nobody.
        tracer: Gets spans of agents, models, tools and tasks.
        log: Gets records of what a run decides.
    """

    __slots__ = (
        "_adapter", "_approve", "_budget", "_desk", "_lock", "_log", "_registry",
        "_spent", "_tracer", "pool",
    )  # fmt: skip

    def __init__(
        self, pool: AgentPool | None = None, adapter: Model = None,
        bus: EventBus | None = None, budget: BudgetPool | None = None, *,
        registry: ToolRegistry | None = None, approve: Approve | None = None,
        tracer: Any = None, log: Any = None,
    ) -> None:  # fmt: skip
        given = {"pool": pool, "bus": bus, "budget": budget, "registry": registry}
        for name, value in (given | {"approve": approve}).items():
            if value is not None and not hasattr(value, _NEEDS[name][0]):
                raise TypeError(f"{name} is {_NEEDS[name][1]}, not {value!r:.80}")
        self.pool = AgentPool() if pool is None else pool
        self._adapter, self._desk, self._budget = adapter, Desk(bus), budget
        self._registry, self._approve = registry, approve
        self._tracer, self._log = tracer, log
        self._spent: dict[str, tuple[int, int, Decimal | None]] = {}
        self._lock = threading.Lock()

    @staticmethod
    def create_team(
        name: str, configs: Iterable[AgentConfig[Any]], *, tasks: Iterable[Task] = ()
    ) -> Team:
        """A team of agents; callable on the class, too."""
        return Team(name, cast("Any", configs), tuple(tasks))

    async def arun_agent(
        self, config: AgentConfig[T], task: Prompt, *, budget: Any = None, deadline: Any = None
    ) -> AgentReply[T]:  # fmt: skip
        """Have one agent do something; see `Agent.run` for what it raises.

        Args:
            config: The agent.
            task: What it is to do: text, or messages.
            budget: What it spends from, the façade's by default.
            deadline: A `Deadline`, or seconds.

        Raises:
            CircuitOpenError: The pool does not call for a while.
        """
        async with self._desk.answering([self._agent(config)]) as bus:
            topic, limits = f"agent:{config.name}", self._limits(budget, deadline)
            reply: AgentReply[T] = await self.pool.acall(
                bus.request, topic, prompt=task, **limits
            )
            return reply

    def run_agent(
        self, config: AgentConfig[T], task: Prompt, **limits: Unpack[Limits]
    ) -> AgentReply[T]:
        """`arun_agent` for code that cannot await; it works in a running loop, too."""
        return run_blocking(self.arun_agent(config, task, **limits))

    def stream_agent(
        self, config: AgentConfig[T], task: Prompt, *, budget: Any = None, deadline: Any = None
    ) -> AgentStream[T]:  # fmt: skip
        """`arun_agent`, with the text as it comes, for `async for` and `for`."""
        agent = self._agent(config)

        async def work(pieces: asyncio.Queue[str]) -> AgentReply[T]:
            limits = self._limits(budget, deadline)
            run = partial(agent.run_into, pieces.put, task, **limits)
            return await self.pool.acall(run)

        return AgentStream(work)

    async def arun_tasks(
        self, tasks: Tasks | None = None, *, team: Crew, **settings: Unpack[Settings]
    ) -> RunResult:
        """Run tasks, each as soon as those it depends on are done.

        Args:
            tasks: `Task` objects or their fields; the team's own by default. One that
                names no agent goes to a team's only one.
            team: Who does them.
            **settings: Of the scheduler's `arun`: `budget`, `deadline`, `journal`,
                `decisions` (by a key, a task's id or a tool's name), `stop_on_failure`,
                `max_concurrent`, `agent_limit`, `on_event`, `on_open`, `retry_failed`.
                The team's limits hold where nothing else is said.

        Returns:
            A mapping from each task's id to its `TaskResult`; those that failed or
            were skipped are in it.

        Raises:
            AgentError: A task names no agent of the team, or there is no task.
            NoModelError: An agent that is wanted has no model. Nothing was started.
            SchedulerError: The tasks or the settings make no sense.
        """
        team = team if isinstance(team, Team) else Team("team", cast("Any", team))
        given = team.tasks if tasks is None else tasks
        work = [self._task(task, team) for task in given]
        agents = self._agents(work, team)
        terms: dict[str, Any] = {"log": self._log, "tracer": self._tracer}
        terms |= {"pool": self.pool, **team.terms(), **settings}
        async with AsyncExitStack() as stack:
            if "budget" not in settings:
                terms["budget"] = await self._purse(team, work, stack)
            bus = await stack.enter_async_context(self._desk.answering(agents))
            result: RunResult = await partial(arun, work, bus=bus)(
                **whole(terms, {task.id for task in work})
            )
            return result

    async def _purse(
        self, team: Team, work: Iterable[Task], stack: AsyncExitStack
    ) -> Any:
        """What a run spends from: the team's share of what there is."""
        usd, tokens = (team.limits.get(axis) for axis in ("usd", "tokens"))
        limited = (usd, tokens) != (None, None)
        if self._budget is not None:
            if not limited:
                return self._budget
            hold = self._budget.acquire(usd, tokens, label=team.name)
            return await stack.enter_async_context(hold)
        capped = any((task.usd, task.tokens) != (None, None) for task in work)
        return BudgetPool(usd, tokens) if limited or capped else None

    def run_tasks(
        self, tasks: Tasks | None = None, *, team: Crew, **settings: Unpack[Settings]
    ) -> RunResult:
        """`arun_tasks` for code that cannot await; it works in a running loop, too."""
        return run_blocking(self.arun_tasks(tasks, team=team, **settings))

    def stream_tasks(
        self, tasks: Tasks | None = None, *, team: Crew, **settings: Unpack[Settings]
    ) -> TeamStream:
        """`arun_tasks`, with its progress as it happens, for `async for` and `for`."""
        too = settings.get("on_event")

        async def work(items: asyncio.Queue[dict[str, Any]]) -> RunResult:
            def on_event(event: str, fields: Mapping[str, Any]) -> None:
                if items.full():
                    items.get_nowait()
                items.put_nowait({"event": event, **fields})
                if too is not None:
                    too(event, fields)

            told: Settings = {**settings, "on_event": on_event}
            return await self.arun_tasks(tasks, team=team, **told)

        return TeamStream(work, ahead=10_000)

    def get_status(self) -> dict[str, Any]:
        """How things are, in figures.

        Returns:
            The pool's `status()`, and under `agents`, by name, `calls` to its model,
            `tokens`, and `usd` (None when a cost is unknown).
        """
        with self._lock:
            spent = {
                name: dict(zip(("calls", "tokens", "usd"), facts, strict=True))
                for name, facts in self._spent.items()
            }
        return {**self.pool.status(), "agents": spent}

    def _limits(self, budget: Any, deadline: Any) -> dict[str, Any]:
        own = self._budget if budget is None else budget
        return {"budget": own, "deadline": deadline}

    def _agent(self, config: AgentConfig[T]) -> Agent[T]:
        """An agent that is ready to run: it has a model."""
        agent = Agent(
            config, adapter=self._adapter, registry=self._registry,
            approve=self._approve, tracer=self._tracer, meter=self._count,
        )  # fmt: skip
        _ = agent.model  # raises if there is none
        return agent

    def _agents(self, work: Sequence[Task], team: Team) -> list[Agent[Any]]:
        """The agents that tasks want, ready to run."""
        if not work:
            raise AgentError(f"team {team.name!r} has no task: give tasks")
        wanted = {task.agent for task in work}
        return [self._agent(config) for config in team.agents if config.name in wanted]

    def _count(self, name: str, replies: Sequence[Reply]) -> None:
        usage, cost = totals(replies)
        with self._lock:
            calls, tokens, usd = self._spent.get(name, (0, 0, Decimal(0)))
            known = None if usd is None or cost is None else usd + cost
            self._spent[name] = calls + len(replies), tokens + usage.total, known

    def _task(self, given: Task | Mapping[str, Any], team: Team) -> Task:
        if not isinstance(given, Task | Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a task is a Task, or its fields, not {given!r}")
        task = given if isinstance(given, Task) else Task(**given)
        if task.run is None and task.agent is None and len(team) == 1:
            return replace(task, agent=team.agents[0].name)
        if task.run is None and task.agent not in {*team}:
            self._check_topic(task, team)
        return task

    def _check_topic(self, task: Task, team: Team) -> None:
        """Refuse what is for nobody: no agent of the team, and no topic of the bus."""
        if task.agent is None:
            wrong = f"names no agent of team {team.name!r}: give agent="
        elif self._desk.shared is not None and ":" in task.agent:
            return
        else:
            wrong = f"is for agent {task.agent!r}, who is not in team {team.name!r}"
            wrong += near(task.agent, team)
        raise AgentError(f"task {task.id!r} {wrong}", agent=task.agent)
