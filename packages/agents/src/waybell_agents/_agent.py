"""An agent: a model with instructions and tools, that answers a prompt or an event."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Generic, Self, TypeAlias, Unpack, cast

from waybell_adapters import LLMAdapter, Reply
from waybell_agents._box import Approve
from waybell_agents._config import AgentConfig, Model
from waybell_agents._data import with_results
from waybell_agents._feed import Feed
from waybell_agents._reply import AgentReply
from waybell_agents._settings import Attempts, T_co
from waybell_agents._sync import run_blocking
from waybell_agents._turns import Feeder, Turns
from waybell_bus import EventBus
from waybell_deadline import Deadline
from waybell_scheduler import Pending
from waybell_tools import ToolRegistry


Prompt: TypeAlias = str | Sequence[Mapping[str, Any]]


class AgentStream(Feed[str, AgentReply[T_co]], Generic[T_co]):
    """The pieces of an agent's text as they are written, of all turns, then its `reply`.

    `async with agent.stream(prompt) as stream: async for piece in stream: ...`; leaving
    the block early ends the model's work, and its tools'. Plain `with` and `for` do too.
    """

    __slots__ = ()

    @property
    def reply(self) -> AgentReply[T_co]:
        """The answer.

        Raises:
            RuntimeError: The stream has not ended.
            CancelledError: It was left early, so that there is none.
        """
        return self._result()


def walled(deadline: Any) -> Deadline:
    """A wall from seconds, or from anything with `remaining()`."""
    if isinstance(deadline, Deadline):
        return deadline
    seconds = deadline.remaining() if hasattr(deadline, "remaining") else deadline
    if isinstance(seconds, int | float):
        return Deadline(seconds)
    raise TypeError(f"deadline is seconds, such as 30, or a Deadline, not {deadline!r}")


def _task_prompt(event: Mapping[str, Any]) -> str:
    """What a task asks, and what it is given; empty if it is given nothing."""
    asked, given = event.get("description"), event.get("results")
    if not (isinstance(asked, str) and isinstance(given, Mapping) and given):
        return ""
    return with_results(asked, cast("Mapping[str, Any]", given))


class Agent(Generic[T_co]):
    """A model with instructions and tools; `agent:<name>` on a bus, when registered.

    Args:
        config: What it is.
        adapter: Its model if the config names none; None: what WAYBELL_MODEL names.
        registry: Where names of tools are found if the config has none.
        approve: Asked for tools that need approval if the config asks nobody.
        tracer: Gets a span of each model call and tool call.
        meter: Called after each run with the agent's name and the replies it paid for.

    Raises:
        ValueError: A tool's name cannot be found.
    """

    __slots__ = ("_adapter", "_box", "_meter", "_model", "_tracer", "config")

    def __init__(
        self, config: AgentConfig[T_co], *, adapter: Model = None,
        registry: ToolRegistry | None = None, approve: Approve | None = None,
        tracer: Any = None, meter: Callable[[str, Sequence[Reply]], object] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(config, AgentConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"an agent is AgentConfig('name', ...), not {config!r}")
        self.config = config
        self._adapter, self._tracer, self._meter = adapter, tracer, meter
        self._box = config.box(registry, approve)
        self._model: LLMAdapter | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.config.name

    @property
    def model(self) -> LLMAdapter:
        """The model it asks, settled when it is first wanted.

        Raises:
            NoModelError: Nobody named one.
        """
        if self._model is None:
            self._model = self.config.model(self._adapter)
        return self._model

    async def run(
        self, prompt: Prompt, *, budget: Any = None, deadline: Any = None,
        attempts: int | None = None,
    ) -> AgentReply[T_co]:  # fmt: skip
        """Answer a prompt.

        Inside a task of a journaled run, each model reply and each tool's result is
        recorded, and recalled when the task is run again.

        Args:
            prompt: Text, or messages.
            budget: Charged for each model call, and asked before it; see the README.
            deadline: A `Deadline`, or seconds, after which models and tools are stopped.
            attempts: Requests for one reply; 1 where somebody else repeats the run.

        Returns:
            The last reply's text, with the usage and the cost of all of them.

        Raises:
            NoModelError: It has no model.
            StepsExhausted: The model still wanted tools after `max_steps`.
            OutputError: What it said could not be used.
            Pending: An approval, or a tool call of unknown outcome, waits for a
                decision; only inside a journaled task.
            AdapterError: The model failed. This, and what a budget or a deadline
                raises, has `agent`, `steps`, `usage` and `cost` of what was done.
        """
        return await self._run(prompt, deadline, budget=budget, attempts=attempts)

    def run_sync(self, prompt: Prompt, **limits: Unpack[Attempts]) -> AgentReply[T_co]:
        """`run` for code that cannot await; it works inside a running loop, too."""
        return run_blocking(self.run(prompt, **limits))

    def stream(
        self, prompt: Prompt, *, budget: Any = None, deadline: Any = None
    ) -> AgentStream[T_co]:
        """`run`, with the model's text as it comes; see `AgentStream`."""
        limits = {"budget": budget, "deadline": deadline}
        return AgentStream(lambda pieces: self.run_into(pieces.put, prompt, **limits))

    async def _run(self, prompt: Any, deadline: Any, **facts: Any) -> AgentReply[T_co]:
        turns = Turns(self.config, self.model, self._box, self._tracer, **facts)
        wall = nullcontext(Deadline.current()) if deadline is None else walled(deadline)
        tracer = self._tracer
        try:
            async with wall as turns.deadline:
                with nullcontext() if tracer is None else tracer.agent(self.name):
                    return await turns.run(prompt)
        except Pending:
            raise
        except Exception as error:
            turns.tell(error)
            raise
        finally:
            if self._meter is not None:
                self._meter(self.name, turns.paid)

    async def run_into(
        self, feed: Feeder, prompt: Prompt, *, budget: Any = None, deadline: Any = None
    ) -> AgentReply[T_co]:
        """`run` with pieces of text given to an async function as they come."""
        return await self._run(prompt, deadline, budget=budget, feed=feed)

    async def handle(self, event: Mapping[str, Any]) -> AgentReply[T_co]:
        """Answer an event: its `prompt`, within its `budget` and its `deadline`.

        A scheduled task's `results` are given to the model as data, fenced off.
        """
        prompt: Any = event.get("prompt")
        if prompt is None:
            raise ValueError(f"agent {self.name!r} wants prompt=, not only {[*event]}")
        if "task" in event:
            prompt = _task_prompt(event) or prompt
        facts = {name: event.get(name) for name in ("budget", "attempts")}
        return await self._run(prompt, event.get("deadline"), **facts)

    def register(self, bus: EventBus, **settings: Any) -> Self:
        """Answer the bus's events at `agent:<name>`; `bus.on`'s settings are taken."""
        bus.on(f"agent:{self.name}", self.handle, **settings)
        return self

    def unregister(self, bus: EventBus) -> None:
        """Answer them no more."""
        bus.off(f"agent:{self.name}", self.handle)

    def __repr__(self) -> str:
        return f"<Agent {self.name}>"
