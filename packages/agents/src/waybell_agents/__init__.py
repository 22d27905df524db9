"""Agents that call models and tools within budget and deadline, alone or as a team.

>>> from waybell_agents import Agent, AgentConfig
>>> from waybell_adapters import ScriptedAdapter, ToolCall
>>> def add(a: int, b: int) -> int:
...     "Add two numbers."
...     return a + b
>>> model = ScriptedAdapter([ToolCall("1", "add", {"a": 1, "b": 2}), "It is 3."])
>>> reply = Agent(AgentConfig("clerk", adapter=model, tools=[add])).run_sync("1 + 2?")
>>> reply.text, [result["text"] for result in reply.steps[0].results]
('It is 3.', ['3'])
"""

from waybell_agents._agent import Agent, AgentStream
from waybell_agents._config import AgentConfig
from waybell_agents._errors import (
    AgentError,
    NoModelError,
    OutputError,
    StepsExhausted,
    TeamFileError,
)
from waybell_agents._multi import OpenMultiAgent
from waybell_agents._reply import AgentReply, AgentStep
from waybell_agents._team import Team


__all__ = [
    "Agent",
    "AgentConfig",
    "AgentError",
    "AgentReply",
    "AgentStep",
    "AgentStream",
    "NoModelError",
    "OpenMultiAgent",
    "OutputError",
    "StepsExhausted",
    "Team",
    "TeamFileError",
]
