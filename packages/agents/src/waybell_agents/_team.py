"""Agents that belong together, and perhaps the tasks they are there for."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from waybell_agents._config import AgentConfig, Model, listed
from waybell_agents._keys import near
from waybell_scheduler import Task


_LIMITS = "usd", "tokens", "seconds", "max_concurrent", "stop_on_failure"


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """Agents by name, and the tasks and limits that a file gave them.

    Args:
        name: What it is called.
        agents: Its members.
        tasks: What `run_tasks` runs if it is given nothing else.
        limits: What `run_tasks` keeps to if it is told nothing else: `usd`, `tokens`,
            `seconds`, `max_concurrent`, `stop_on_failure`.

    Raises:
        TypeError: An agent is no `AgentConfig`.
        ValueError: It has no agent, or two of one name, or a limit that is none.
    """

    name: str
    agents: tuple[AgentConfig[Any], ...]
    tasks: tuple[Task, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        given: Any = self.agents
        members: tuple[Any, ...] = tuple(given) if listed(given) else (given,)
        object.__setattr__(self, "agents", members)
        if not self.name:
            raise ValueError(f"a team's name is some text, not {self.name!r}")
        odd = [one for one in members if not isinstance(one, AgentConfig)]
        if odd:
            raise TypeError(f"agents are AgentConfig objects, not {odd[0]!r}")
        if wrong := self.limits.keys() - {*_LIMITS}:
            raise ValueError(f"limits are {', '.join(_LIMITS)}, not {min(wrong)!r}")
        names = [*self]
        if not names:
            raise ValueError(f"team {self.name!r} has no agent: give it one")
        ((twice, count),) = Counter(names).most_common(1)
        if count > 1:
            raise ValueError(f"team {self.name!r} has two agents {twice!r}: rename one")

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, model: Model = None) -> "Team":
        """Read a team, its tasks and its limits from a file of TOML or JSON.

        Args:
            path: The file; folders that it names are sought beside it.
            model: What agents without a `model` of their own get, before the file's.

        Raises:
            TeamFileError: With the key path of every problem.
            OSError: It cannot be read.
        """
        from waybell_agents._file import read  # noqa: PLC0415 - tools only files need

        return cls(*read(path, model))

    def terms(self) -> dict[str, Any]:
        """Its limits as settings of a run, but for money."""
        rest = {name: self.limits[name] for name in self.limits if name in _LIMITS[2:]}
        return {"deadline" if name == "seconds" else name: rest[name] for name in rest}

    def __getitem__(self, name: str) -> AgentConfig[Any]:
        for config in self.agents:
            if config.name == name:
                return config
        raise KeyError(f"no agent {name!r}{near(name, self)}")

    def __iter__(self) -> Iterator[str]:
        return (config.name for config in self.agents)

    def __len__(self) -> int:
        return len(self.agents)
