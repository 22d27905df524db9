"""The errors of this package, drawn once; each carries what was done before it."""

from collections.abc import Iterable
from typing import Any


class AgentError(Exception):
    """An agent could not do its work; the root of this package's errors.

    Any other error that ends a run, of a model, a budget or a deadline, gets the same
    attributes `agent`, `steps`, `usage` and `cost`.

    Args:
        message: What happened, and what to do about it.
        agent: The agent's name.
        reply: The last reply, which was paid for.
        problems: What is wrong: pairs of a path and a text.

    Attributes:
        steps: Each `AgentStep` done so far.
        usage: Tokens of all replies so far, None if there were none.
        cost: Dollars of all replies so far, None if unknown.
        status: As in HTTP, where 4xx are no sign of a broken server: so that no breaker
            counts it, and whoever repeats failed calls may.
    """

    status = 424

    def __init__(
        self, message: str = "", *, agent: str | None = None, reply: Any = None,
        problems: Iterable[tuple[str, str]] = (),
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.agent, self.reply = agent, reply
        self.problems = tuple(problems)
        self.steps: tuple[Any, ...] = ()
        self.usage: Any = None
        self.cost: Any = None


class NoModelError(AgentError, LookupError):
    """Nobody said which model an agent asks, and none is assumed: models cost money."""

    status = 422  # there is no use in repeating it


class StepsExhausted(AgentError, RuntimeError):
    """The model still wanted tools when `max_steps` were used up."""


class OutputError(AgentError, ValueError):
    """The model answered what cannot be used more often than `repairs` allows."""


class TeamFileError(AgentError, ValueError):
    """A file of a team is wrong: `problems` has every key path and what is wrong."""

    status = 422
