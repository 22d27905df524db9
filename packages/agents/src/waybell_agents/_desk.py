"""Where a team's agents answer while it runs: a bus of their own, or a shared one."""

import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

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
        self._agents: dict[str, tuple[Agent, int]] = {}  # with the number of runs
        self._lock = threading.Lock()

    @asynccontextmanager
    async def answering(
        self, agents: Sequence[Agent]
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
        self._enter(self.shared, agents)
        try:
            yield self.shared
        finally:
            self._leave(self.shared, agents)

    def _enter(self, bus: EventBus, agents: Sequence[Agent]) -> None:
        with self._lock:
            for agent in agents:
                other = self._agents.get(agent.name, (agent, 0))[0]
                if other.config is not agent.config:
                    raise AgentError(
                        f"another agent {agent.name!r} answers on this bus now: name it "
                        "otherwise, or use another bus",
                        agent=agent.name,
                    )
            for agent in agents:
                there, runs = self._agents.get(agent.name, (agent, 0))
                self._agents[agent.name] = there, runs + 1
                if there is agent:
                    agent.register(bus)

    def _leave(self, bus: EventBus, agents: Sequence[Agent]) -> None:
        with self._lock:
            for agent in agents:
                there, runs = self._agents.pop(agent.name)
                if runs > 1:
                    self._agents[agent.name] = there, runs - 1
                else:
                    there.unregister(bus)
