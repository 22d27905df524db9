"""The tools that a model may call, and how one is called."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from math import ceil
from os import getpid
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar, overload

from waybell_tools._call import Call, answer, failed, named
from waybell_tools._docs import described
from waybell_tools._errors import ToolLimitError, UnknownToolError
from waybell_tools._limits import DeadlineLike, Quota, now, positive, seconds_left
from waybell_tools._threads import Job, Turns
from waybell_tools._tool import (
    Approve,
    Tool,
    checked_name,
    declared,
    function_of,
    is_async,
    validator_of,
)


F = TypeVar("F", bound=Callable[..., Any])
_FORMS = {  # and what they call the schema
    **dict.fromkeys(("neutral", "anthropic"), "input_schema"),
    **dict.fromkeys(("openai", "ollama"), "parameters"),
}


class Running(NamedTuple):
    """A call in a thread: since when, and whether nobody waits for it any more."""

    name: str
    seconds: float
    abandoned: bool


class ToolRegistry:
    """Functions that a model may call by name, each within its limits.

    Args:
        tools: Functions to start with.
        timeout: Seconds that a call may take where a tool says nothing; `inf` for ever.
        max_output: Characters that a call may return where a tool says nothing.
        approve: Asked, with name and arguments, for tools of `approve=True`: it
            returns or awaits True, or the call is denied (text says why).
        max_abandoned: Calls of a tool left behind and running at which no other starts.
        max_threads: Awaited calls of a sync tool at once; others wait their turn first.
        clock: What `rate` goes by, the running loop's or the monotonic time if None.
    """

    __slots__ = (
        "_approve", "_clock", "_jobs", "_max", "_output", "_timeout", "_tools", "_turns"
    )  # fmt: skip

    def __init__(
        self,
        tools: Iterable[Callable[..., Any]] = (),
        *,
        timeout: float = 60.0,
        max_output: float = 100_000,
        approve: Approve | None = None,
        max_abandoned: int = 32,
        max_threads: int = 128,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._tools: dict[str, Tool] = {}
        self._jobs: set[Job] = set()
        self._timeout = positive(timeout, "timeout")
        self._output = positive(max_output, "max_output")
        self._approve, self._clock = approve, clock or now
        self._max = positive(max_abandoned, "max_abandoned")
        self._turns = Turns(ceil(positive(max_threads, "max_threads")))
        for fn in tools:
            self.define_tool(fn=fn)

    def define_tool(
        self,
        *,
        fn: Callable[..., Any],
        name: str | None = None,
        description: str | None = None,
        schema: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        max_uses: int | None = None,
        rate: str | None = None,
        max_output: float | None = None,
        approve: Approve | bool = False,
        safe_to_repeat: bool = False,
    ) -> Tool:
        """Add a tool.

        Args:
            fn: A function, sync (it will run in threads) or async. Its parameters
                `idempotency_key` and `deadline` are filled by the caller of the tool
                and hidden from the model.
            name: What the model calls it, the function's if None.
            description: What the model is told, from the docstring if None.
            schema: JSON schema of the arguments, from the signature if None. With one
                the arguments are passed on as they are.
            timeout: Seconds that a call may take; `inf` for ever.
            max_uses: Calls in all.
            rate: Calls per time: "10/minute", "2/second".
            max_output: Characters, or bytes of bytes; more is cut, with a mark.
            approve: Asked before each call, or True to ask the registry's.
            safe_to_repeat: Whether a call whose outcome is unknown may be repeated.

        Raises:
            TypeError: A parameter's type has no JSON schema.
            ValueError: The name is bad or taken, the schema or a limit wrong.
        """
        plain = function_of(fn)
        name = checked_name(plain.__name__ if name is None else name)
        if name in self._tools:
            raise ValueError(f"there is a tool {name!r} already")
        about = described(plain.__doc__)[0] if description is None else description
        schema, convert, injected = declared(fn, schema)
        output = self._output if max_output is None else max_output
        self._tools[name] = tool = Tool(
            name=name,
            description=about,
            fn=fn,
            schema=schema,
            timeout=positive(self._timeout if timeout is None else timeout, "timeout"),
            max_output=positive(output, "max_output"),
            approve=approve,
            safe_to_repeat=safe_to_repeat,
            quota=Quota(max_uses, rate, self._clock),
            validator=validator_of(name, schema),
            convert=convert,
            injected=injected,
            is_async=is_async(fn),
        )
        return tool

    @overload
    def tool(self, fn: F, /, **settings: Any) -> F: ...
    @overload
    def tool(self, fn: None = None, /, **settings: Any) -> Callable[[F], F]: ...
    def tool(self, fn: Any = None, /, **settings: Any) -> Any:
        """Add a function as a tool, as decorator or call; it is returned unchanged.

        Args:
            fn: The function.
            **settings: As of `define_tool`.
        """
        if fn is None:
            return partial(self.tool, **settings)
        self.define_tool(fn=fn, **settings)
        return fn

    def __getitem__(self, name: str) -> Tool:
        if (tool := self._tools.get(name)) is not None:
            return tool
        from difflib import get_close_matches  # noqa: PLC0415 - only for the error

        told = str(name)[:100]
        near = get_close_matches(told, self._tools, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UnknownToolError(f"no tool {told!r}{hint}", tool=told, near=near)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self._tools) or 'empty'}>"

    def specs(self, form: str = "neutral") -> list[dict[str, Any]]:
        """What a model is told of the tools.

        Args:
            form: "neutral" (name, description, input_schema; Anthropic's too) or
                "openai" (Ollama's too).
        """
        if form not in _FORMS:
            raise ValueError(f"form is one of {', '.join(_FORMS)}, not {form!r}")
        key, wrap = _FORMS[form], _FORMS[form] == "parameters"
        made: list[dict[str, Any]] = [
            {"name": t.name, "description": t.description, key: deepcopy(t.schema)}
            for t in self._tools.values()
        ]
        return [{"type": "function", "function": one} if wrap else one for one in made]

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | None = None,
        *,
        deadline: DeadlineLike | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Call a tool and give its value back; an async one runs on a loop of its own.

        Args:
            name: The tool.
            arguments: By name, or the JSON text of that.
            deadline: When to stop; also handed to the tool if it asks for it.
            idempotency_key: Handed to the tool if it asks for it, so that it can tell
                a repetition; a fresh one if None.

        Raises:
            UnknownToolError: No tool has this name.
            ToolArgumentsError: The arguments do not fit, with every problem.
            ToolLimitError: Its uses or its rate are used up.
            ToolDenied: It was not approved.
            ToolTimeoutError: It took too long.
        """
        return self._ready(name, arguments, deadline, idempotency_key).run()

    async def acall(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | None = None,
        *,
        deadline: DeadlineLike | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Await a tool's value; a sync one runs in a thread. See `call`."""
        return await self._ready(name, arguments, deadline, idempotency_key).arun()

    def result(
        self, call: Any, *, deadline: DeadlineLike | None = None, **options: Any
    ) -> dict[str, Any]:
        """Call a tool for a model: errors are data too, but for a passed deadline.

        Args:
            call: What has `id`, `name` and `arguments`, as attributes or keys.
            deadline: As for `call`.
            **options: As for `call`.

        Returns:
            `id`, `name`, the `value` or the `error` (its `type`, `message` and
            `problems` if there are), and either as `text` for the model.
        """
        try:
            name, arguments = named(call)
            value = self.call(name, arguments, deadline=deadline, **options)
        except Exception as error:
            return failed(call, error, deadline)
        return answer(call, value)

    async def aresult(
        self, call: Any, *, deadline: DeadlineLike | None = None, **options: Any
    ) -> dict[str, Any]:
        """Await a tool's value or error as data; see `result`."""
        try:
            name, arguments = named(call)
            value = await self.acall(name, arguments, deadline=deadline, **options)
        except Exception as error:
            return failed(call, error, deadline)
        return answer(call, value)

    def running(self) -> tuple[Running, ...]:
        """The calls that run in threads now, also those nobody waits for."""
        time, jobs = self._clock(), self._alive()
        return tuple(Running(j.name, time - j.started, j.abandoned) for j in jobs)

    def _alive(self) -> Iterator[Job]:
        here = getpid()  # after a fork the threads of the other process are not here
        return (job for job in tuple(self._jobs) if job.pid == here)

    def _ready(
        self, name: str, arguments: Any, deadline: DeadlineLike | None, key: str | None
    ) -> Call:
        tool = self[name]
        given = tool.check(arguments)
        seconds_left(tool.timeout, deadline)
        filled: dict[str, Any] = {}
        if "deadline" in tool.injected:
            filled["deadline"] = deadline
        if "idempotency_key" in tool.injected:
            filled["idempotency_key"] = key or token_hex(16)
        ask = self._approve if tool.approve is True else tool.approve
        token = tool.quota.take(name)
        return Call(tool, given, filled, deadline, ask, self._job, self._turns, token)

    def _job(self, name: str, fn: Callable[[], Any]) -> Job:
        left = sum(job.abandoned and job.name == name for job in self._alive())
        if left >= self._max:
            text, tool = (
                f"{name}: {left} abandoned calls still run",
                name.rsplit(maxsplit=1)[-1],
            )
            raise ToolLimitError(text, tool=tool)
        return Job(name, fn, clock=self._clock, jobs=self._jobs)
