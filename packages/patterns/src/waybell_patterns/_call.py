"""One way to call an agent, however it is given."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from waybell_bus import EventBus
from waybell_deadline import Deadline


Agent = Any
"""A topic (str), a sync or async callable of the prompt, or an object with
`run(prompt)`, `agenerate(prompt)` or `generate(prompt)`."""

Call = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


def named(agent: Agent, fallback: str) -> str:
    """A readable name for an agent that came without one."""
    if isinstance(agent, str):
        return agent
    name = getattr(agent, "name", None) or getattr(agent, "__name__", None)
    return name if isinstance(name, str) and name != "<lambda>" else fallback


def caller(agent: Agent, bus: EventBus | None) -> Call:
    """One async function `(prompt, extras)` for any form of agent.

    Raises:
        TypeError: The agent is of no known form, or is a topic and there is no bus.
    """
    if isinstance(agent, str):
        if bus is None:
            raise TypeError(f"{agent!r} is a topic, so the pattern needs bus=")
        return functools.partial(_by_topic, bus, agent)
    for method in ("run", "agenerate", "generate"):
        target = getattr(agent, method, None)
        if callable(target) and not isinstance(agent, type):
            return functools.partial(_by_call, target, _accepted(target))
    if callable(agent):
        return functools.partial(_by_call, agent, _accepted(agent))
    raise TypeError(
        f"{agent!r} is no agent: give a topic, a callable of the prompt, "
        "or an object with run() or generate()"
    )


async def _by_topic(
    bus: EventBus, topic: str, prompt: str, extras: Mapping[str, Any]
) -> Any:
    return await bus.request(topic, **{**extras, "prompt": prompt})


async def _by_call(
    target: Callable[..., Any],
    accepted: frozenset[str] | None,
    prompt: str,
    extras: Mapping[str, Any],
) -> Any:
    deadline = Deadline.current()
    if deadline is not None:
        extras = {**extras, "deadline": deadline}
    chosen = (
        extras
        if accepted is None
        else {name: value for name, value in extras.items() if name in accepted}
    )
    if _is_async(target):
        return await target(prompt, **chosen)
    thread = deadline or Deadline.never()
    value = await thread.run_in_thread(functools.partial(target, prompt, **chosen))
    return await value if inspect.isawaitable(value) else value


def _is_async(target: Callable[..., Any]) -> bool:
    while isinstance(target, functools.partial):
        target = target.func
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(
        getattr(type(target), "__call__", None)  # noqa: B004 - the method itself is asked
    )


def _accepted(target: Callable[..., Any]) -> frozenset[str] | None:
    """The keywords beyond the prompt that a callable takes; None if it takes all."""
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return frozenset()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return frozenset(
        each.name
        for each in parameters
        if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
        and each is not (positional[0] if positional else None)
    )
