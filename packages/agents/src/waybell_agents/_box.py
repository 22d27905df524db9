"""The tools of one agent, from wherever they come, and who approves of their calls."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

from waybell_tools import ToolRegistry


Tools: TypeAlias = ToolRegistry | Iterable[ToolRegistry | Callable[..., Any] | str]
Approve: TypeAlias = Callable[[str, Mapping[str, Any]], Any]


# What a call must pass between the check of its arguments and its start.
Gate: TypeAlias = Callable[[Approve | None, str, Mapping[str, Any]], Awaitable[Any]]
gate: ContextVar[Gate] = ContextVar("waybell_agents_gate")


class Toolbox(ToolRegistry):
    """What one agent may call: functions of its own, and tools of registries.

    A tool of a registry keeps its limits, and shares its uses with the registry. Names
    are looked up in `registry`; `approve` is asked where a tool's own registry has none.

    Raises:
        TypeError: Something is none of these.
        ValueError: A name is there twice, or cannot be looked up.
        UnknownToolError: The registry has no tool of the name.
    """

    __slots__ = ()

    def __init__(
        self, given: Tools = (), registry: ToolRegistry | None = None,
        approve: Approve | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        items = (given,) if isinstance(given, ToolRegistry) else given
        for home, name in chain.from_iterable(_homes(each, registry) for each in items):
            if name in self._tools:
                raise ValueError(
                    f"there are two tools {name!r}: give one another name="
                )
            tool = home[name]
            passing = partial(_pass, _asked(home, tool.approve, approve))
            self._tools[name] = replace(tool, approve=passing)


def _asked(home: ToolRegistry, own: Any, approve: Approve | None) -> Approve | None:
    """Who must approve the calls of a tool, None if nobody must."""
    if own is not True:
        return own or None
    return home._approve or approve or _nobody  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it has no public word for it


def _homes(
    item: Any, registry: ToolRegistry | None
) -> Iterator[tuple[ToolRegistry, str]]:
    """The registry and the name of each tool that one item of `tools` stands for."""
    if isinstance(item, ToolRegistry):
        yield from ((item, name) for name in item)
    elif isinstance(item, str):
        if registry is None:
            raise ValueError(f"tool {item!r} is a name: give registry=, which has it")
        yield registry, item
    elif callable(item):
        own = ToolRegistry([item])
        yield own, next(iter(own))
    else:
        known = "functions, ToolRegistry objects and names of a registry's tools"
        raise TypeError(f"tools are {known}, not {item!r}")


async def _pass(ask: Approve | None, name: str, arguments: Mapping[str, Any]) -> Any:
    return await gate.get()(ask, name, arguments)


def _nobody(*_: Any) -> str:
    return "nobody can be asked to approve it: give the agent approve="
