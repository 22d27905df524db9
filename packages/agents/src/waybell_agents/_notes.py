"""What a run of an agent keeps in its task's journal, so that nothing is paid twice."""

import json
from collections.abc import Mapping
from hashlib import sha256
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from waybell_adapters import Reply, ToolCall, Usage
from waybell_agents._reply import LAST
from waybell_scheduler import Steps


# The runs that are under way or have ended well, of each task: attempt, what, number.
_taken: WeakKeyDictionary[Steps, set[tuple[int, str, int]]] = WeakKeyDictionary()


class Notes:
    """The steps of one run; without a journal nothing is kept, and all is new.

    Keys say which agent it was, what it was asked, how many like it the task had before,
    the turn and the call. A run that was cut short goes on with them at the task's next
    attempt. One that failed by what its model said does not: it begins anew.
    Instructions and tools do not count: whoever mends them after a crash does not want
    what was done to be done again.
    """

    __slots__ = ("_mine", "_prefix", "steps")

    def __init__(self, agent: str, opening: Any) -> None:
        self.steps = Steps.current()
        self._prefix = agent
        if self.steps is None:
            return
        said = json.dumps(opening, sort_keys=True, default=repr)
        name = f"{agent}.{sha256(said.encode(errors='replace')).hexdigest()[:12]}"
        taken = _taken.setdefault(self.steps, set())
        attempt = self.steps.attempt
        number = next(n for n in count(1) if (attempt, name, n) not in taken)
        self._mine = attempt, name, number
        taken.add(self._mine)
        tries = 0
        while self.steps.recall(f"{name}.{number}.{tries}/failed"):
            tries += 1
        self._prefix = f"{name}.{number}.{tries}"

    def release(self) -> None:
        """It was cut short: the next one like it goes on with what it has done."""
        if self.steps is not None:
            _taken[self.steps].discard(self._mine)

    def key(self, turn: int, call: int | None = None) -> str:
        """The name of a model call, or of a tool call in its turn."""
        where = f"{turn}" if call is None else f"{turn}.{call}"
        return f"{self._prefix}/{where}"

    def recall(self, key: str) -> Any:
        """What was recorded, or None."""
        return None if self.steps is None else self.steps.recall(key, None)

    def record(self, key: str, value: Any) -> None:
        """Keep it."""
        if self.steps is not None:
            self.steps.record(key, value)

    def fail(self) -> None:
        """Begin anew the next time."""
        self.record(f"{self._prefix}/failed", True)


def packed(reply: Reply) -> dict[str, Any]:
    """A reply as JSON, but for the attempts it took."""
    return {
        **{name: getattr(reply, name) for name in ("text", *LAST)},
        "usage": [{**reply.usage}, reply.usage.estimated],
        "cost": None if reply.cost is None else str(reply.cost),
        "calls": [[c.id, c.name, dict(c.arguments)] for c in reply.tool_calls],
    }


def unpacked(kept: Mapping[str, Any]) -> Reply:
    """The reply that `packed` kept."""
    facts = dict(kept)
    counts, estimated = facts.pop("usage")
    facts["usage"] = Usage(**counts, estimated=estimated)
    facts["tool_calls"] = [ToolCall(*call) for call in facts.pop("calls")]
    return Reply(facts.pop("text"), **facts)
