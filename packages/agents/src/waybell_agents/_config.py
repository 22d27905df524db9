"""What an agent is, said once and checked at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, Unpack, overload

from waybell_adapters import LLMAdapter, adapter
from waybell_agents._box import Approve, Toolbox, Tools
from waybell_agents._errors import NoModelError
from waybell_agents._keys import COUNT, NUMBER, ONE, STR, TABLE, Kind, perhaps
from waybell_agents._output import Output
from waybell_agents._settings import Choices, T_co
from waybell_tools import ToolRegistry


Model: TypeAlias = LLMAdapter | str | None
_BAD = re.compile(r"[:.*\s]")
_OWN = frozenset({"system", "tools", "budget", "deadline", "attempts"})
_MODEL_RULE = "a model with generate(), or a spec 'provider:model'"
MODEL = "WAYBELL_MODEL"


@dataclass(frozen=True, slots=True, eq=False)
class AgentConfig(Generic[T_co]):
    """What an agent is: its name, its instructions, its model and its tools.

    Args:
        name: What it is called, also in its topic `agent:<name>`: no ':', '.', '*' or
            blanks.
        system_prompt: Its instructions.
        adapter: Its model, or the spec of one ("anthropic:claude-..."); None: that of
            the `OpenMultiAgent`, else that of the variable WAYBELL_MODEL.
        tools: What it may call: functions, `ToolRegistry` objects, and names of tools
            that `registry` has.
        max_steps: Times it may ask its model for one answer.
        output_type: What the answer must be: a dataclass, a `TypedDict`, a class of
            pydantic's, or a JSON schema. The value is the reply's `value`.
        approve: Asked, with name and arguments, before a tool that needs approval:
            True lets it run, text says why not, `Pending` suspends a journaled task.
        registry: Where names of tools are found.
        repairs: Unusable answers in a row that are told to the model, so that it can
            do better; after one more, the run fails.
        max_tokens: The most it may write in one step.
        temperature: How freely it chooses.
        options: For its model, by name.

    Attributes:
        output: What reads an answer as `output_type`: `output.read(text)`; or None.

    Raises:
        TypeError: A value is of a wrong type, or has no JSON schema.
        ValueError: A value makes no sense; the text says what does.
    """

    name: str
    system_prompt: str = ""
    adapter: Model = None
    tools: Tools = ()
    _: KW_ONLY
    max_steps: int = 10
    output_type: Any = None
    approve: Approve | None = None
    registry: ToolRegistry | None = None
    repairs: int = 2
    max_tokens: int | None = None
    temperature: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output: Output[T_co] | None = field(init=False, repr=False)

    if TYPE_CHECKING:  # the one that is made says nothing of the value's type
        # fmt: off
        @overload
        def __init__(
            self, name: str, system_prompt: str = "", adapter: Model = None, tools: Tools = (),
            *, output_type: type[T_co], **more: Unpack[Choices],
        ) -> None: ...
        @overload
        def __init__(
            self: "AgentConfig[None]", name: str, system_prompt: str = "",
            adapter: Model = None, tools: Tools = (), *, output_type: None = None,
            **more: Unpack[Choices],
        ) -> None: ...
        @overload
        def __init__(
            self: "AgentConfig[Any]", name: str, system_prompt: str = "", adapter: Model = None,
            tools: Tools = (), *, output_type: object, **more: Unpack[Choices],
        ) -> None: ...
        def __init__(self, *args: Any, **more: Any) -> None: ...
        # fmt: on
    else:

        def __class_getitem__(cls, kind):  # Generic's would set an attribute of each
            return cls

    def __post_init__(self) -> None:
        try:
            self._check()
            tools = self.tools
            items: Any = (tools,) if isinstance(tools, ToolRegistry) else tuple(tools)
            object.__setattr__(self, "tools", items)
            all_known = self.registry is not None
            known = [t for t in items if all_known or t.__class__ is not str]
            Toolbox(known, self.registry)  # which says what is wrong with tools
            made = None if self.output_type is None else Output(self.output_type)
            object.__setattr__(self, "output", made)
        except (TypeError, ValueError, LookupError) as error:
            error.add_note(f"in the AgentConfig of {self.name!r}")
            raise

    def _check(self) -> None:
        for name, (fits, rule) in _KINDS.items():
            if not fits(getattr(self, name)):
                raise ValueError(f"{name} is {rule}, not {getattr(self, name)!r}")
        if not self.name or _BAD.search(self.name):
            raise ValueError(
                f"name: {self.name!r} cannot be part of a topic: use letters, digits, "
                "'-' and '_', without ':', '.', '*' or blanks"
            )
        if taken := _OWN.intersection(self.options):
            raise ValueError(
                f"options: {min(taken)!r} is not for the model to be told: system_prompt= "
                "and tools= are the AgentConfig's; budget=, deadline= and attempts=, run()'s"
            )
        if isinstance(self.adapter, str):
            adapter(self.adapter)  # which says what is wrong with a spec

    def box(self, registry: ToolRegistry | None, approve: Approve | None) -> Toolbox:
        """Its tools, with the registry and the approval of whoever runs it as defaults."""
        registry = registry if self.registry is None else self.registry
        return Toolbox(self.tools, registry, self.approve or approve)

    def model(self, default: Model) -> LLMAdapter:
        """Its model: its own, the default, or what WAYBELL_MODEL names.

        Raises:
            NoModelError: None of these is there.
        """
        chosen = self.adapter if self.adapter is not None else default
        if chosen is not None:
            if not _model(chosen):
                raise TypeError(f"adapter is {_MODEL_RULE}, not {chosen!r}")
            return adapter(chosen) if isinstance(chosen, str) else chosen
        spec = os.environ.get(MODEL, "").strip()
        if not spec:
            raise NoModelError(
                f"agent {self.name!r} has no model: set the variable {MODEL} to "
                "provider:model, such as ollama:llama3.2, anthropic:... or openai:..., "
                f"or to offline, which needs no key ({MODEL}=offline); or give adapter= "
                "to its AgentConfig or to OpenMultiAgent",
                agent=self.name,
            )
        try:
            return adapter(spec)
        except ValueError as error:
            raise NoModelError(f"{MODEL}={spec}: {error}", agent=self.name) from None


def _model(value: Any) -> bool:
    if value is None or isinstance(value, str):
        return True
    return any(callable(getattr(value, v, None)) for v in ("agenerate", "generate"))


def listed(value: Any) -> bool:
    if isinstance(value, ToolRegistry):
        return True
    return hasattr(value, "__iter__") and not isinstance(value, str | Mapping)


_KINDS: Mapping[str, Kind] = {
    "name": STR, "system_prompt": STR, "max_steps": ONE, "repairs": COUNT,
    "max_tokens": perhaps(ONE), "temperature": perhaps(NUMBER), "options": TABLE,
    "registry": perhaps((lambda v: isinstance(v, ToolRegistry), "a ToolRegistry")),
    "approve": perhaps((callable, "a function")), "adapter": (_model, _MODEL_RULE),
    "tools": (listed, "a list, or a ToolRegistry"),
}  # fmt: skip
