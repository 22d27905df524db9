"""What a team's run may be told, for those who check types."""

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from waybell_agents._box import Approve
from waybell_deadline import Deadline
from waybell_scheduler import AgentPool
from waybell_tools import ToolRegistry


if TYPE_CHECKING:  # of an answer's `value`, which is None without `output_type`
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=None)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)


class Choices(TypedDict, total=False):
    """What an `AgentConfig` may be told besides, for those who check types."""

    max_steps: int
    approve: Approve | None
    registry: ToolRegistry | None
    repairs: int
    max_tokens: int | None
    temperature: float | None
    options: Mapping[str, Any]


class Limits(TypedDict, total=False):
    """What one agent's run keeps to: a budget, and a `Deadline` or seconds."""

    budget: Any
    deadline: Deadline | float | None


class Attempts(Limits, total=False):
    """These, and how often a model may be asked for one reply."""

    attempts: int | None


class Settings(Limits, total=False):
    """What a team's run may be told; the scheduler's `arun` says what it means."""

    journal: str | PathLike[str] | None
    decisions: Mapping[str, Any] | None
    retry_failed: bool
    stop_on_failure: bool
    max_concurrent: int
    agent_limit: int | Mapping[str, int] | None
    on_event: Callable[[str, Mapping[str, Any]], object] | None
    on_open: Literal["hold", "fail"]
    pool: AgentPool | None
    log: Any
    tracer: Any
