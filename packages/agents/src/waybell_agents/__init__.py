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
