"""Tools whose calls are recorded, or answered from a recording."""

# Tools work for their session, most of which is nothing to users.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import fields
from functools import cache, partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from waybell_snap._tree import Node
from waybell_snap._values import decode, decode_error
from waybell_tools import ToolArgumentsError, ToolRegistry


if TYPE_CHECKING:
    from waybell_snap._session import Session


class RecordedTools(ToolRegistry):
    """The tools of a registry in a run: one set of tools, seen through both."""

    __slots__ = ("_session",)

    def __init__(self, session: "Session", registry: ToolRegistry) -> None:
        # All of it is shared, also what comes later.
        for name in ToolRegistry.__slots__:
            setattr(self, name, getattr(registry, name))
        self._session = session

    def __getitem__(self, name: str) -> Any:
        """A tool that is part of the run too, whoever checks and calls it."""
        tool: Any = super().__getitem__(name)
        parts = {part.name: getattr(tool, part.name) for part in fields(tool)}
        kind: Any = tool.__class__
        return _watched(kind)(**parts | {"fn": self._recorded(tool)})

    def call(self, name: str, arguments: Any = None, **options: Any) -> Any:
        """Call a tool, or give what was recorded."""
        work = super().call
        call = _Call(self._session, name, "call", _parsed(arguments))
        return call.run(lambda: work(name, arguments, **options))

    async def acall(self, name: str, arguments: Any = None, **options: Any) -> Any:
        """Await a tool, or what was recorded."""
        work = super().acall
        call = _Call(self._session, name, "call", _parsed(arguments))
        deadline = options.get("deadline")
        return await call.arun(lambda: work(name, arguments, **options), deadline)

    def _entered(self, name: str) -> bool:
        """Whether this tool was called through the door of the registry, and is noted."""
        here = self._session._here()
        return (here.kind, here.name, here.op) == ("tool", name, "call")

    def _refused(self, name: str, given: Any, error: Exception) -> None:
        """Note a call whose arguments do not fit: it gets no further."""
        if not self._entered(name):
            node = self._session._begin("tool", name, "", _parsed(given))
            self._session._fail(node, error, self._session.clock())

    def _recorded(self, tool: Any) -> Any:
        fn, name = tool.fn, tool.name

        def call(arguments: dict[str, Any]) -> _Call | None:
            if self._entered(name):
                return None
            given = {k: v for k, v in arguments.items() if k not in tool.injected}
            return _Call(self._session, name, "", given)

        def run(**arguments: Any) -> Any:
            begun = call(arguments)
            return begun.run(lambda: fn(**arguments)) if begun else fn(**arguments)

        async def arun(**arguments: Any) -> Any:
            begun = call(arguments)
            work = partial(fn, **arguments)
            return await (begun.arun(work) if begun else work())

        recorded: Any = arun if tool.is_async else run
        recorded.refused = partial(self._refused, name)
        return recorded


@cache
def _watched(kind: Any) -> Any:
    """A tool's class whose function is told of the arguments that are refused."""

    def check(self: Any, arguments: Any) -> Any:
        try:
            return kind.check(self, arguments)
        except ToolArgumentsError as error:
            self.fn.refused(arguments, error)
            raise

    return type(kind.__name__, (kind,), {"__slots__": (), "check": check})


class _Call:
    """One call of a tool; `op` is "call" through a registry, "" of the tool itself."""

    __slots__ = ("_node", "_played", "_session", "_started")

    def __init__(self, session: "Session", name: str, op: str, given: Any) -> None:
        self._session = session
        self._node = session._begin("tool", name, op, given)
        self._started = session.clock()
        self._played = session._play(self._node)

    def run(self, work: Callable[[], Any]) -> Any:
        if self._played is not None:
            return self._known(self._played)
        with self._noting():
            value = work()
        if isawaitable(value):  # A sync tool that gives a coroutine.
            return self.arun(lambda: value)
        self._session._end(self._node, value, self._started)
        return value

    async def arun(self, work: Callable[[], Awaitable[Any]], deadline: Any = None) -> Any:  # fmt: skip
        if self._played is not None:
            await asyncio.sleep(0)
            await self._session._hang(self._node, self._played, deadline)
            return self._known(self._played)
        with self._noting():
            value = await work()
        self._session._end(self._node, value, self._started)
        return value

    def _noting(self) -> Any:
        return self._session._inside(self._node, self._started)

    def _known(self, played: Node) -> Any:
        """What was recorded, with all that happened inside."""
        self._session._answerable(self._node, played)
        node = self._node
        node.got, node.error, node.latency = played.got, played.error, played.latency
        node.lanes = played.lanes
        if played.error is not None:
            raise decode_error(played.error)
        return decode(played.got)


def _parsed(arguments: Any) -> Any:
    """Arguments as a mapping where they are the JSON text of one."""
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments
