"""What an agent answers: a reply that knows the steps it took."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Self

from waybell_adapters import Reply, Usage
from waybell_agents._settings import T_co


_NONE: Any = None
LAST = "model", "stop_reason", "request_id", "partial", "message"


@dataclass(frozen=True, slots=True)
class AgentStep:
    """One turn: what the model said, and what came of the tools it called.

    Args:
        number: From 1.
        reply: The model's.
        results: For each call, in the order of the calls, `id`, `name`, the `text` for
            the model, and the `error` (`type` and `message`) if it failed.
        recalled: The reply was paid for in an earlier run, and read from its journal.
    """

    number: int
    reply: Reply
    results: tuple[Mapping[str, Any], ...] = ()
    recalled: bool = False


class AgentReply(Reply, Generic[T_co]):
    """An agent's answer: the last reply's text, and what all of the run used.

    Args:
        text: The answer.
        agent: Who answered.
        value: The answer as `output_type`, None without one.
        steps: The turns it took.
        messages: All that was said, the prompt and the answer included: what to give
            `run` with the next question after it.
        **facts: As of `Reply`; usage and cost are those of all turns.
    """

    __slots__ = ("agent", "messages", "steps", "value")
    agent: str
    value: T_co
    steps: tuple[AgentStep, ...]
    messages: tuple[Mapping[str, Any], ...]

    def __new__(
        cls, text: str = "", *, agent: str = "", value: T_co = _NONE,
        steps: Iterable[AgentStep] = (), messages: Iterable[Any] = (), **facts: Any,
    ) -> Self:  # fmt: skip
        self = super().__new__(cls, text, **facts)
        own = {"agent": agent, "value": value, "steps": tuple(steps)}
        for name, item in (own | {"messages": tuple(messages)}).items():
            object.__setattr__(self, name, item)
        return self

    @classmethod
    def of(cls, reply: Reply, replies: Sequence[Reply], **own: Any) -> Self:
        """The answer that the last reply gives, with the sums of all that were paid."""
        usage, cost = totals(replies)
        tries = [attempt for each in replies for attempt in each.attempts]
        own |= {name: getattr(reply, name) for name in LAST}
        return cls(reply.text, **own, usage=usage, cost=cost, attempts=tries)

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        args, facts = super().__getnewargs_ex__()
        return args, facts | {name: getattr(self, name) for name in self.__slots__}


def totals(replies: Sequence[Reply]) -> tuple[Usage, Decimal | None]:
    """Tokens and dollars of all; one unknown cost makes the sum unknown."""
    usage = sum((reply.usage for reply in replies), Usage())
    known = [reply.cost for reply in replies if reply.cost is not None]
    return usage, sum(known, Decimal(0)) if len(known) == len(replies) else None
