"""Agents that call models and tools within budget and deadline, alone or as a team."""

from waybell_agents._agent import Agent, AgentStream
from waybell_agents._config import AgentConfig
from waybell_agents._errors import (
    AgentError,
    NoModelError,
    OutputError,
    StepsExhausted,
    TeamFileError,
)
from waybell_agents._reply import AgentReply, AgentStep


__all__ = [
    "Agent",
    "AgentConfig",
    "AgentError",
    "AgentReply",
    "AgentStep",
    "AgentStream",
    "NoModelError",
    "OutputError",
    "StepsExhausted",
    "TeamFileError",
]
