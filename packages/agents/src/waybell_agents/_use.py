"""One tool call of a turn: recalled, approved, noted, run, and told to the model."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import Any, cast

from waybell_adapters import ToolCall
from waybell_agents._box import Approve, Toolbox, gate
from waybell_agents._data import text_of
from waybell_agents._notes import Notes
from waybell_deadline import Deadline
from waybell_scheduler import Pending, Steps


_NEVER = Deadline.never()


class Use:
    """One call, what is known of it, and the key under which its notes keep it."""

    __slots__ = ("_box", "_call", "_key", "_notes", "_pending")

    def __init__(self, box: Toolbox, notes: Notes, key: str, call: ToolCall) -> None:
        self._box, self._notes, self._key, self._call = box, notes, key, call
        self._pending: Pending | None = None

    async def run(self, deadline: Any, span: Callable[[], Any]) -> Mapping[str, Any]:
        """The result as data for the model, from the journal if it is there.

        Raises:
            Pending: Somebody outside has to decide first.
        """
        steps, kept = self._notes.steps, self._notes.recall(self._key)
        if kept is not None:
            return {"id": self._call.id, "name": self._call.name, **_kept(kept)}
        key = None if steps is None else steps.idempotency_key(self._key)
        gate.set(self.open)  # in a task of its own
        with span():
            result = await self._box.aresult(
                self._call, deadline=deadline, idempotency_key=key
            )
        if self._pending is not None:
            raise self._pending
        result.pop("value", None)  # which need not be JSON
        told = {name: result[name] for name in ("text", "error") if name in result}
        self._notes.record(self._key, ["result", told])
        return result

    async def open(
        self, ask: Approve | None, name: str, arguments: Mapping[str, Any]
    ) -> Any:
        """See `Gate`: what is not True keeps the call from being made."""
        steps = self._notes.steps
        answer: Any = True
        try:
            if ask is not None:
                answer = await self._approval(ask, name, arguments)
            if answer is True and steps is not None:
                safe = self._box[name].safe_to_repeat
                told = {"tool": name, "arguments": dict(arguments)}
                steps.begin(self._key, safe_to_repeat=safe, **told)
        except Pending as pending:  # which the registry would tell the model
            self._pending = pending
            return "suspended"
        return answer

    async def _approval(
        self, ask: Approve, name: str, arguments: Mapping[str, Any]
    ) -> Any:
        steps, key = self._notes.steps, f"{self._key}?"
        if steps is not None:
            decided = steps.decision(key)
            if decided is not Steps.MISSING:
                return decided if isinstance(decided, bool | str) else bool(decided)
        try:
            answer = await _asked(ask, name, arguments)
        except Pending as pending:  # raised, where it might have been returned
            answer = pending
        if not isinstance(answer, Pending):
            return answer
        if steps is None:
            return (
                f"its approval is pending ({answer.reason}), and there is no journal in "
                "which the run could wait for it: run it as a task with journal="
            )
        told = {"tool": name, **answer.data}  # by which a decision may name it
        return steps.suspend(key, Pending(answer.reason, **told))


def _kept(recorded: Any) -> Mapping[str, Any]:
    """A recorded result; or one that somebody stated of a call of unknown outcome."""
    match recorded:
        case ["result", {"text": _} as told]:
            return cast("Mapping[str, Any]", told)
        case _:
            return {"text": text_of(recorded)}


async def _asked(ask: Approve, name: str, arguments: Mapping[str, Any]) -> Any:
    """What an approval says; one that cannot await is asked in a thread."""
    kinds = ask, getattr(ask, "__call__", None)  # noqa: B004 - an object with an async one
    if any(map(iscoroutinefunction, kinds)):
        return await ask(name, arguments)
    answer = await _NEVER.run_in_thread(partial(ask, name, arguments))
    return await answer if isawaitable(answer) else answer
