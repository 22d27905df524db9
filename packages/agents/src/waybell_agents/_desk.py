"""Where a team's agents answer while it runs: a bus of their own, or a shared one."""

import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from waybell_agents._agent import Agent
from waybell_agents._errors import AgentError
from waybell_bus import EventBus


class Desk:
    """The agents that answer on a bus now, each as long as some run wants it.

    Args:
        shared: The bus of all runs; each run gets a new one if None.
    """

    __slots__ = ("_agents", "_lock", "shared")

    def __init__(self, shared: EventBus | None) -> None:
        self.shared = shared
        self._agents: dict[str, tuple[Agent[Any], int]] = {}  # with the number of runs
        self._lock = threading.Lock()

    @asynccontextmanager
    async def answering(
        self, agents: Sequence[Agent[Any]]
    ) -> AsyncGenerator[EventBus, None]:
        """A bus on which these agents answer inside the block.

        Raises:
            AgentError: Another agent of the same name answers there.
        """
        if self.shared is None:
            async with EventBus() as bus:
                for agent in agents:
                    agent.register(bus)
                yield bus
            return
        with ExitStack() as stack:
            for agent in agents:
                self._enter(self.shared, agent)
                stack.callback(self._leave, self.shared, agent)
            yield self.shared

    def _enter(self, bus: EventBus, agent: Agent[Any]) -> None:
        with self._lock:
            there, runs = self._agents.get(agent.name, (agent, 0))
            if there.config is not agent.config:
                wrong = f"another agent {agent.name!r} answers on this bus now"
                remedy = "name it otherwise, or use another bus"
                raise AgentError(f"{wrong}: {remedy}", agent=agent.name)
            if there is agent:
                agent.register(bus)
            self._agents[agent.name] = there, runs + 1

    def _leave(self, bus: EventBus, agent: Agent[Any]) -> None:
        with self._lock:
            there, runs = self._agents.pop(agent.name)
            if runs > 1:
                self._agents[agent.name] = there, runs - 1
            else:
                there.unregister(bus)
