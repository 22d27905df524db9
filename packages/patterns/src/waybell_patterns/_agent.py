"""One way to call an agent, however it is given."""

import inspect
from collections.abc import Awaitable, Callable, Container, Mapping
from functools import partial
from itertools import chain, count, zip_longest
from typing import Any

from waybell_bus import EventBus
from waybell_deadline import Deadline


# The callables tell type checkers what a lambda takes.
Agent = object | Callable[[Any], Any] | Callable[[Any, Any], Any]
"""A topic (str), a sync or async callable of the prompt, or an object with
`run(prompt)`, `agenerate(prompt)` or `generate(prompt)`."""
Extras = Mapping[str, Any]
Call = Callable[[Any, Extras], Awaitable[Any]]

# What an object's method is given if it takes any keyword: an adapter would pass the
# rest on to its vendor.
_LIMITS = frozenset({"attempts", "budget", "deadline"})
_NEVER = Deadline.never()  # the walls around a thread end the wait for it


def named(agent: Agent, fallback: str) -> str:
    """A readable name for an agent that came without one."""
    if isinstance(agent, str):
        return agent
    name = getattr(agent, "name", None) or getattr(agent, "__name__", None)
    return name if isinstance(name, str) and name != "<lambda>" else fallback


def distinct(name: str, taken: Container[str]) -> str:
    """The name, numbered if there is one like it."""
    names = chain([name], (f"{name}#{number}" for number in count(2)))
    return next(each for each in names if each not in taken)


def caller(agent: Agent, bus: EventBus | None) -> Call:
    """One async function `(prompt, extras)` for any form of agent.

    Raises:
        TypeError: The agent is of no known form, or is a topic and there is no bus.
    """
    if isinstance(agent, str):
        if bus is None:
            raise TypeError(f"{agent!r} is a topic, so the pattern needs bus=")
        return partial(_by_topic, bus, agent)
    for method in ("run", "agenerate", "generate"):
        target = getattr(agent, method, None)
        if callable(target) and not isinstance(agent, type):
            accepted = _accepted(target)
            return _calling(target, _LIMITS if accepted is None else accepted)
    if callable(agent):
        return _calling(agent, _accepted(agent))
    raise TypeError(
        f"{agent!r} is no agent: give a topic, a callable of the prompt, "
        "or an object with run() or generate()"
    )


async def _by_topic(bus: EventBus, topic: str, prompt: Any, extras: Extras) -> Any:
    return await bus.request(topic, **timed({**extras, "prompt": prompt}))


def timed(extras: Extras) -> dict[str, Any]:
    """These, and the deadline there is now, if there is one."""
    deadline = Deadline.current()
    return {**extras} if deadline is None else {**extras, "deadline": deadline}


def _calling(target: Callable[..., Any], accepted: frozenset[str] | None) -> Call:
    inner: Any = target
    while isinstance(inner, partial):
        inner = inner.func
    bodies = (inner, type(inner).__call__)
    awaits = any(map(inspect.iscoroutinefunction, bodies))
    generates = inspect.isgeneratorfunction, inspect.isasyncgenfunction
    if any(yields(body) for yields in generates for body in bodies):
        raise TypeError(f"{target!r} is a generator; an agent answers once")

    async def call(prompt: Any, extras: Extras) -> Any:
        extras = timed(extras)
        if accepted is not None:
            extras = {name: extras[name] for name in extras if name in accepted}
        if awaits:
            value = await target(prompt, **extras)
        else:
            value = await _NEVER.run_in_thread(partial(target, prompt, **extras))
        return await value if inspect.isawaitable(value) else value

    return call


def _accepted(target: Callable[..., Any]) -> frozenset[str] | None:
    """The keywords beyond the prompt that a callable takes; None if it takes all."""
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # a builtin that does not say
        return frozenset()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    if parameters and parameters[0].kind is not parameters[0].KEYWORD_ONLY:
        del parameters[0]
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return frozenset(each.name for each in parameters if each.kind in kinds)


def handlers_of(bus: EventBus, topic: str) -> list[str]:
    """The names of all who would answer now."""
    found = list[str]()
    for pattern, roles in bus.describe().items():
        if _covers(pattern, topic):
            for name in roles.get("handlers", ()):
                found.append(distinct(name, found))
    return found


def _covers(pattern: str, topic: str) -> bool:
    """Whether a handler of this pattern is among those of the topic."""
    parts, asked = (text.replace(":", ".").split(".") for text in (pattern, topic))
    if parts[-1] == "**":
        parts[-1:] = ["*"] * max(1, len(asked) - len(parts) + 1)
    pairs = zip_longest(parts, asked)
    return all(segment and part in ("*", segment) for part, segment in pairs)
