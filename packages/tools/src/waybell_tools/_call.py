"""One call of a tool: asked for, run, timed, cut, and told to the model."""

import asyncio
from asyncio import Timeout
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from typing import Any, NoReturn, TypeAlias, cast

from waybell_tools._errors import (
    ToolArgumentsError,
    ToolDenied,
    ToolError,
    ToolTimeoutError,
)
from waybell_tools._limits import DeadlineLike, capped, seconds_left, shown, text_of
from waybell_tools._threads import DAEMONS, HALT, Job, Turns
from waybell_tools._tool import Approve, Tool, is_async


_Fn: TypeAlias = Callable[[], Any]
_GRACE = 1.0  # seconds that what was asked to end has for that
_LONG = 1e6  # more seconds than any wait of the system takes


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose arguments are checked and which is counted.

    `given` are the arguments of the model, `filled` those of the caller. `approve` must
    say yes; None: nobody can; False: nobody needs to. `counted` can be given back.
    """

    tool: Tool
    given: Mapping[str, Any]
    filled: Mapping[str, Any]
    deadline: DeadlineLike | None
    approve: Approve | bool | None
    job: Callable[[str, _Fn], Job]
    turns: Turns
    counted: list[float]

    def run(self) -> Any:
        """Run it and wait."""
        name, asked = self.tool.name, callable(self.approve)
        with self._counted():
            title = f"approval of {name}"
            self._decide(asked and self._waited(_LONG, title, self._ask))
            return self._waited(self.tool.timeout, name, self._run)

    def _waited(self, cap: float, name: str, fn: _Fn) -> Any:
        """Wait for what a thread makes of it, which may be awaited there."""
        seconds = seconds_left(cap, self.deadline)
        job, future = self.job(name, partial(_settled, fn)), None
        try:
            future = DAEMONS.submit(job)
            with suppress(TimeoutError):  # the wait's, or the tool's own, raised below
                return future.result(min(seconds, _LONG))
            if future.done():
                return future.result()
            if job.halt.ask():
                wait([future], _GRACE)
            return self._late(seconds)
        except BaseException:
            job.abandon()
            raise
        finally:
            del future  # which would hold the error that holds this frame

    async def arun(self) -> Any:
        """Run it and await."""
        tool, asked = self.tool, callable(self.approve)
        with self._counted():
            title, here = f"approval of {tool.name}", is_async(self.approve)
            self._decide(asked and await self._made(_LONG, title, self._ask, here))
            return await self._made(tool.timeout, tool.name, self._run, tool.is_async)

    def _ask(self) -> Any:
        return cast("Approve", self.approve)(self.tool.name, self.given)

    def _run(self) -> Any:
        self.counted.pop()  # it counts; if it was given back, nobody waits for it
        value = self.tool.fn(**self.given, **self.filled)
        if isawaitable(value):
            return self._later(value)
        return capped(value, self.tool.max_output)  # in the thread: it takes a while

    async def _later(self, value: Awaitable[Any]) -> Any:
        return capped(await value, self.tool.max_output)

    async def _made(self, cap: float, name: str, fn: _Fn, here: bool) -> Any:
        """What `fn`, called here or in a thread, gives, awaited if need be, in time."""
        seconds = seconds_left(cap if here else _LONG, self.deadline)
        wall = asyncio.timeout(min(seconds, _LONG))
        try:
            async with wall:
                value = fn() if here else await self._in_thread(cap, name, fn, wall)
                return await value if isawaitable(value) else value
        except TimeoutError:
            if not wall.expired():
                raise  # the tool's own
            self._late(min(seconds, cap))

    async def _in_thread(self, cap: float, name: str, fn: _Fn, wall: Timeout) -> Any:
        """What it returns there; the time of `cap` begins when its turn has come."""
        loop = asyncio.get_running_loop()
        async with self.turns.of(name):
            wall.reschedule(loop.time() + min(seconds_left(cap, self.deadline), _LONG))
            job = self.job(name, fn)
            future = loop.run_in_executor(DAEMONS, job)
            try:
                return await future
            except asyncio.CancelledError:
                job.abandon()
                raise
            finally:
                del future  # which would hold the error that holds this frame

    def _decide(self, answer: Any) -> None:
        if answer is True or self.approve is False:
            return
        name, reason = self.tool.name, "not approved"
        if not callable(self.approve):
            reason = "nobody can be asked to approve it"
        elif isinstance(answer, str):
            reason = answer
        raise ToolDenied(f"{name}: {reason}", tool=name)

    @contextmanager
    def _counted(self) -> Generator[None]:
        try:
            yield
        except BaseException:
            self.tool.quota.give_back(self.counted)
            raise

    def _late(self, seconds: float) -> NoReturn:
        seconds_left(0, self.deadline)
        name = self.tool.name
        raise ToolTimeoutError(f"{name}: took longer than {seconds:g} s", tool=name)


def _settled(fn: _Fn) -> Any:
    """What it returns, awaited on a loop of this thread's own if need be."""
    value = fn()
    return asyncio.run(_awaited(value)) if isawaitable(value) else value


async def _awaited(value: Awaitable[Any]) -> Any:
    task, loop = asyncio.ensure_future(value), asyncio.get_running_loop()

    def cancel() -> None:
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(task.cancel)

    if (halt := HALT.get()) is not None:
        halt.call(cancel)
    return await task


def parts(call: Any) -> list[Any]:
    """The id, name and arguments of a tool call, a mapping or object, None where missing."""
    names = "id", "name", "arguments"
    if isinstance(call, Mapping):
        return [cast("Mapping[str, Any]", call).get(name) for name in names]
    return [getattr(call, name, None) for name in names]


def named(call: Any) -> tuple[str, Any]:
    """The name and arguments of a tool call; `ToolArgumentsError` if it has no name."""
    _, name, arguments = parts(call)
    if isinstance(name, str):
        return name, arguments
    problem = "is required" if name is None else "is not text"
    text = f"a call needs the name of a tool: name {problem}"
    raise ToolArgumentsError(text, problems=[("name", problem)])


def answer(call: Any, value: Any) -> dict[str, Any]:
    """What goes back to the model: what the tool returned."""
    call_id, name, _ = parts(call)
    return {"id": call_id, "name": name, "value": value, "text": text_of(value)}


def failed(call: Any, error: Exception, deadline: Any) -> dict[str, Any]:
    """What goes back to the model: what was raised, unless the deadline has passed."""
    seconds_left(0, deadline)
    call_id, name, _ = parts(call)
    told: dict[str, Any] = {"type": type(error).__name__}
    told["message"] = capped(shown(error, str), 2000)
    if isinstance(error, ToolError) and error.problems:
        told["problems"] = [list(pair) for pair in error.problems]
    text = text_of({"error": told})
    return {"id": call_id, "name": name, "error": told, "text": text}
