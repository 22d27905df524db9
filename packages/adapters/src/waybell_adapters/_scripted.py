"""A model that says what a test tells it to."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import cycle
from threading import Lock
from typing import Any, NamedTuple, TypeAlias, cast

from waybell_adapters._errors import AdapterError
from waybell_adapters._limits import admit, settle
from waybell_adapters._prompt import Prompt, count_tokens, messages, texts
from waybell_adapters._reply import Reply, ToolCall, Usage
from waybell_adapters._stream import ReplyStream


Line: TypeAlias = (
    str
    | ToolCall
    | Sequence[ToolCall]
    | BaseException
    | type[BaseException]
    | Callable[[Prompt], Any]
)


class ScriptedCall(NamedTuple):
    """One call that was made: the prompt, and the options that were given."""

    prompt: Prompt
    options: dict[str, Any]


class ScriptedAdapter:
    """A model that gives the lines of a script in turn, for tests.

    Args:
        replies: Texts, replies, tool calls (one or a list), exceptions to raise, or
            callables of the prompt that return one of these (or raise it; an async
            one needs the async doors).
        repeat: Begin again when the script has ended.
        model: The name that its replies carry.

    Raises:
        TypeError: The script is a single text.
    """

    __slots__ = ("_lines", "_lock", "calls", "model")

    def __init__(
        self, replies: Iterable[Line], *, repeat: bool = False, model: str = "scripted"
    ) -> None:
        if isinstance(replies, str):
            raise TypeError("replies is a list of lines; for one text write [text]")
        self._lines = iter(cycle(replies) if repeat else replies)
        self._lock = Lock()
        self.model = model
        self.calls: list[ScriptedCall] = []

    def generate(self, prompt: Prompt, **options: Any) -> Reply:
        """Give the next line; the options are those of `LLMAdapter.generate`.

        Raises:
            AdapterError: The script has ended.
            TypeError: The line is nothing that a model can say.
        """
        reply = self._reply(prompt, self._play(prompt, options), options)
        settle(options.get("budget"), reply)
        return reply

    def stream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        """Give the next line piece by piece."""
        reply = self._reply(prompt, self._play(prompt, options), options)
        return self._stream(reply, options)

    async def agenerate(self, prompt: Prompt, **options: Any) -> Reply:
        """Give the next line."""
        reply = self._reply(prompt, await _got(self._play(prompt, options)), options)
        settle(options.get("budget"), reply)
        return reply

    async def astream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        """Give the next line piece by piece."""
        reply = self._reply(prompt, await _got(self._play(prompt, options)), options)
        return self._stream(reply, options)

    def _play(self, prompt: Prompt, options: dict[str, Any]) -> Any:
        asked = messages(prompt)
        admit(options.get("deadline"), options.get("budget"), tokens=0)
        given = {name: value for name, value in options.items() if value is not None}
        call = ScriptedCall(prompt if isinstance(prompt, str) else asked, given)
        with self._lock:
            self.calls.append(call)
            number = len(self.calls)
            try:
                line = next(self._lines)
            except StopIteration:
                raise AdapterError(
                    f"the script has {number - 1} replies, and this is call {number}",
                    provider="scripted",
                ) from None
        if isinstance(line, type) or not callable(line):
            return line
        return line(prompt)

    def _reply(self, prompt: Prompt, line: Any, options: dict[str, Any]) -> Reply:
        if isinstance(line, BaseException):
            raise line
        if isinstance(line, type) and issubclass(line, BaseException):
            raise line
        if isinstance(line, Reply):
            return line
        text = line if isinstance(line, str) else ""
        calls = () if isinstance(line, str) else _tool_calls(line)
        read = (options.get("system") or "", *map(texts, messages(prompt)))
        return Reply(
            text,
            usage=Usage(sum(map(count_tokens, read)), count_tokens(text)),
            cost=Decimal(0),
            model=self.model,
            tool_calls=calls,
        )

    def _stream(self, reply: Reply, options: dict[str, Any]) -> ReplyStream:
        limits = {name: options.get(name) for name in ("deadline", "budget")}
        return ReplyStream.of(reply, **limits)


def _tool_calls(line: Any) -> tuple[ToolCall, ...]:
    calls = (line,) if isinstance(line, ToolCall) else line
    if isinstance(calls, list | tuple):
        calls = tuple(cast(Sequence[Any], calls))
        if calls and all(isinstance(call, ToolCall) for call in calls):
            return calls
    if inspect.iscoroutine(line):
        line.close()
        raise TypeError("an async line needs agenerate or astream")
    raise TypeError(
        f"a script has texts, tool calls, exceptions, callables; not {line!r}"
    )


async def _got(line: Any) -> Any:
    return await line if inspect.isawaitable(line) else line
