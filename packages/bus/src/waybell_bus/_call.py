"""How one handler is called: awaited, run, put in a thread, bounded, wrapped."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Any

from waybell_bus._event import Event
from waybell_bus._limit import Limit, holding
from waybell_bus._loops import Loops
from waybell_bus._registry import Route


Call = Callable[[Event], Awaitable[Any]]
Middleware = Callable[[Event, "Next"], Awaitable[Any]]


class Next:
    """The rest of a delivery, as middleware sees it.

    Args:
        handler: The qualified name of the handler at the end.
        call: What remains to be done.
    """

    __slots__ = ("_call", "handler")

    def __init__(self, handler: str, call: Call) -> None:
        self.handler = handler
        self._call = call

    def __call__(self, event: Event) -> Awaitable[Any]:
        return self._call(event)


def bind(route: Route, fn: Any, loops: Loops, around: Sequence[Middleware]) -> Call:
    """One async callable doing all that the route and the middleware ask for."""
    settings = route.settings
    call: Call
    if settings.thread:
        call = _in_thread(fn, loops)
    elif route.awaits:
        call = fn
    else:
        call = _in_place(fn)
    if settings.timeout is not None:
        call = _timed(route.name, settings.timeout, call)
    if settings.concurrency is not None:
        call = _limited(route, settings.concurrency, call)
    for middleware in reversed(around):
        call = _wrapped(middleware, Next(route.name, call))
    return call


def _wrapped(middleware: Middleware, inner: Next) -> Call:
    return lambda event: middleware(event, inner)


def _in_place(fn: Any) -> Call:
    async def call(event: Event) -> Any:
        answer = fn(event)
        return await answer if hasattr(type(answer), "__await__") else answer

    return call


def _in_thread(fn: Any, loops: Loops) -> Call:
    async def call(event: Event) -> Any:
        work = loops.here()
        hold = work.threads.place()
        await work.threads.take(hold)
        context = copy_context()
        context.run(holding.set, hold)
        begun: list[bool] = []

        def run() -> Any:
            begun.append(True)
            try:
                return context.run(fn, event)
            finally:
                # A thread cannot be killed: it keeps its place until it is done,
                # long after a timeout or a cancellation.
                work.call(work.threads.give, hold)

        try:
            return await work.loop.run_in_executor(work.pool(), run)
        finally:
            if not begun:
                work.threads.give(hold)

    return call


def _timed(name: str, seconds: float, inner: Call) -> Call:
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
    # Kept by the registration: it is the same one in every plan, under every topic.
    limits = route.limits

    async def call(event: Event) -> Any:
        loop = asyncio.get_running_loop()
        limit = limits.get(loop)
        if limit is None:
            for closed in [other for other in list(limits) if other.is_closed()]:
                limits.pop(closed, None)
            limit = limits.setdefault(loop, Limit(route.name, size))
        async with limit.place():
            return await inner(event)

    return call
