"""How one handler is called: awaited, run, put in a thread, bounded, wrapped."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from waybell_bus._event import Event
from waybell_bus._limit import Limit, holding
from waybell_bus._loops import Loops
from waybell_bus._registry import Route


Call = Callable[[Event], Awaitable[Any]]
Middleware = Callable[[Event, "Next"], Awaitable[Any]]


class Next:
    """The rest of a delivery, as middleware sees it, to the named `handler`."""

    __slots__ = ("_call", "handler")

    def __init__(self, handler: str, call: Call) -> None:
        self.handler = handler
        self._call = call

    def __call__(self, event: Event) -> Awaitable[Any]:
        return self._call(event)


def bind(route: Route, fn: Any, loops: Loops, around: Sequence[Middleware]) -> Call:
    """One async callable doing all that the route and the middleware ask for."""
    timeout, concurrency = route.settings.timeout, route.settings.concurrency
    call: Call = fn
    if route.settings.thread:
        call = _in_thread(route, fn, loops)
    elif not route.awaits:
        call = _in_place(fn)
    elif timeout is not None:
        call = _timed(route.name, timeout, call)
    if concurrency is not None:
        call = _limited(route, concurrency, call)
    for middleware in reversed(around):
        call = _wrapped(middleware, Next(route.name, call))
    return call


def _wrapped(middleware: Middleware, inner: Next) -> Call:
    return lambda event: middleware(event, inner)


def waits(answer: Any) -> bool:
    """Whether what a sync callable gave is yet to be awaited."""
    return isinstance(answer, Awaitable)


def _in_place(fn: Any) -> Call:
    async def call(event: Event) -> Any:
        answer = fn(event)
        return await answer if waits(answer) else answer

    return call


def _in_thread(route: Route, fn: Any, loops: Loops) -> Call:
    async def call(event: Event) -> Any:
        work = loops.here()
        hold = await work.threads.take()
        context = copy_context()
        context.run(holding.set, hold)
        begun: list[bool] = []

        async def start(_: Event) -> Any:
            answer = await work.loop.run_in_executor(work.pool(), run)
            return await answer if waits(answer) else answer

        def run() -> Any:
            begun.append(True)
            try:
                return context.run(fn, event)
            finally:
                # A thread cannot be killed: it keeps its place until it is done,
                # however long that is after a timeout or a cancellation.
                with suppress(RuntimeError):  # The loop may have closed meanwhile.
                    work.loop.call_soon_threadsafe(work.threads.give, hold)

        try:
            # Its time begins here, where it has its place.
            return await _timed(route.name, route.settings.timeout, start)(event)
        finally:
            if not begun:
                work.threads.give(hold)

    return call


def _timed(name: str, seconds: float | None, inner: Call) -> Call:
    async def call(event: Event) -> Any:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await inner(event)
        except TimeoutError as error:
            if scope.expired():
                raise TimeoutError(f"{name} took longer than {seconds} s") from error
            raise

    return call


def _limited(route: Route, size: int, inner: Call) -> Call:
    async def call(event: Event) -> Any:
        loop = asyncio.get_running_loop()
        limit = route.limits.get(loop)  # One in all plans, under every topic.
        if limit is None:
            for closed in [each for each in [*route.limits] if each.is_closed()]:
                route.limits.pop(closed, None)
            limit = route.limits.setdefault(loop, Limit(route.name, size))
        hold = await limit.take()
        token = holding.set(hold)
        try:
            return await inner(event)
        finally:
            holding.reset(token)
            limit.give(hold)

    return call
