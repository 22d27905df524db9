"""One call of a tool: asked for, run, timed, cut, and told to the model."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from typing import Any, NoReturn, cast

from waybell_tools._errors import (
    ToolArgumentsError,
    ToolDenied,
    ToolError,
    ToolTimeoutError,
)
from waybell_tools._limits import DeadlineLike, capped, seconds_left, shown, text_of
from waybell_tools._threads import DAEMONS, HALT, Job
from waybell_tools._tool import Approve, Tool, is_async


_GRACE = 1.0  # seconds that what was asked to end has for that
_LONG = 1e6  # more seconds than any wait of the system takes


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose arguments are checked and which is counted.

    `given` are the arguments of the model, `filled` those of the caller. `approve` is who
    must say yes; None: nobody can; False: nobody needs to.
    """

    tool: Tool
    given: Mapping[str, Any]
    filled: Mapping[str, Any]
    deadline: DeadlineLike | None
    approve: Approve | bool | None
    job: Callable[[str, Callable[[], Any]], Job]

    def run(self) -> Any:
        """Run it and wait."""
        name = self.tool.name
        with self._counted():
            answer: Any = self.approve is False
            if callable(self.approve):
                answer = self._waited(_LONG, f"approval of {name}", self._ask)
            self._decide(answer)
        value = self._waited(self.tool.timeout, name, self._run)
        return capped(value, self.tool.max_output)

    def _waited(self, cap: float, name: str, fn: Callable[[], Any]) -> Any:
        """Wait for what a thread makes of it, which may be awaited there."""
        seconds = seconds_left(cap, self.deadline)
        job = self.job(name, partial(_settled, fn))
        try:
            return self._joined(job, seconds)
        except BaseException:
            job.abandon()
            raise

    def _joined(self, job: Job, seconds: float) -> Any:
        future = DAEMONS.submit(job)
        try:
            with suppress(TimeoutError):  # the wait's, or the tool's own, raised below
                return future.result(min(seconds, _LONG))
            if future.done():
                return future.result()
            if job.halt.ask():
                wait([future], _GRACE)
        finally:
            del future  # which would hold the error that holds this frame
        return self._late(seconds)

    async def arun(self) -> Any:
        """Run it and await."""
        with self._counted():
            self._decide(await self._timed(_LONG, self._answer))
        return capped(
            await self._timed(self.tool.timeout, self._value), self.tool.max_output
        )

    async def _answer(self) -> Any:
        if not callable(self.approve):
            return self.approve is False
        if is_async(self.approve):
            return self._ask()
        return await self._in_thread(f"approval of {self.tool.name}", self._ask)

    async def _value(self) -> Any:
        if self.tool.is_async:
            return self._run()
        return await self._in_thread(self.tool.name, self._run)

    def _ask(self) -> Any:
        return cast("Approve", self.approve)(self.tool.name, self.given)

    def _run(self) -> Any:
        return self.tool.fn(**self.given, **self.filled)

    async def _timed(self, cap: float, work: Callable[[], Awaitable[Any]]) -> Any:
        """What `work` gives, which may be to be awaited too, within the time."""
        seconds = seconds_left(cap, self.deadline)
        wall = asyncio.timeout(min(seconds, _LONG))
        try:
            async with wall:
                value = await work()
                return await value if isawaitable(value) else value
        except TimeoutError:
            if not wall.expired():
                raise  # the tool's own
            self._late(seconds)

    async def _in_thread(self, name: str, fn: Callable[[], Any]) -> Any:
        job = self.job(name, fn)
        future = asyncio.get_running_loop().run_in_executor(DAEMONS, job)
        try:
            return await future
        except asyncio.CancelledError:
            job.abandon()
            raise
        finally:
            del future  # which would hold the error that holds this frame

    def _decide(self, answer: Any) -> None:
        if answer is True:
            return
        name, reason = self.tool.name, "not approved"
        if isinstance(answer, str):
            reason = answer
        elif not callable(self.approve):
            reason = "nobody can be asked to approve it"
        raise ToolDenied(f"{name}: {reason}", tool=name)

    @contextmanager
    def _counted(self) -> Generator[None]:
        try:
            yield
        except BaseException:
            self.tool.quota.give_back()
            raise

    def _late(self, seconds: float) -> NoReturn:
        seconds_left(0, self.deadline)
        name = self.tool.name
        raise ToolTimeoutError(f"{name}: took longer than {seconds:g} s", tool=name)


def _settled(fn: Callable[[], Any]) -> Any:
    """What it returns, awaited on a loop of this thread's own if need be."""
    value = fn()
    return asyncio.run(_awaited(value)) if isawaitable(value) else value


async def _awaited(value: Awaitable[Any]) -> Any:
    task, loop = asyncio.ensure_future(value), asyncio.get_running_loop()
    if (halt := HALT.get()) is not None:
        halt.call(partial(_cancel, task, loop))
    return await task


def _cancel(task: "asyncio.Future[Any]", loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(task.cancel)


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
    raise ToolArgumentsError(
        f"a call needs the name of a tool: name {problem}", problems=[("name", problem)]
    )


def answer(call: Any, value: Any, *, failed: bool = False) -> dict[str, Any]:
    """What goes back to the model: what the tool returned or, if it failed, raised."""
    call_id, name, _ = parts(call)
    told = {"id": call_id, "name": name}
    if not failed:
        return {**told, "value": value, "text": text_of(value)}
    error = {"type": type(value).__name__, "message": capped(shown(value, str), 2000)}
    if isinstance(value, ToolError) and value.problems:
        error["problems"] = [list(pair) for pair in value.problems]
    return {**told, "error": error, "text": text_of({"error": error})}
