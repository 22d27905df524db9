"""What an agent is, said once and checked at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from waybell_adapters import LLMAdapter, adapter
from waybell_agents._box import Approve, Toolbox, Tools
from waybell_agents._errors import NoModelError
from waybell_agents._output import Output
from waybell_tools import ToolRegistry


_BAD = re.compile(r"[:.*\s]")
MODEL = "WAYBELL_MODEL"


@dataclass(frozen=True, slots=True, eq=False)
class AgentConfig:
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
        output_type: What the answer must be: a dataclass, a `TypedDict`, or a JSON
            schema. The value is the reply's `value`.
        approve: Asked, with name and arguments, before a tool that needs approval:
            True lets it run, text says why not, `Pending` suspends a journaled task.
        registry: Where names of tools are found.
        repairs: Unusable answers in a row that are told to the model, so that it can
            do better; after one more, the run fails.
        max_tokens: The most it may write in one step.
        temperature: How freely it chooses.
        options: For its model, by name.

    Raises:
        TypeError: A value is of a wrong type, or has no JSON schema.
        ValueError: A value makes no sense; the text says what does.
    """

    name: str
    system_prompt: str = ""
    adapter: LLMAdapter | str | None = None
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
    output: Output | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"name: an agent's name is text, not {self.name!r}")
        if not self.name or _BAD.search(self.name):
            raise ValueError(
                f"name: {self.name!r} cannot be part of a topic: use letters, digits, "
                "'-' and '_', without ':', '.', '*' or blanks"
            )
        try:
            self._check()
            kind = self.output_type
            made = None if kind is None else Output(kind)
            object.__setattr__(self, "output", made)
        except (TypeError, ValueError, LookupError) as error:
            error.add_note(f"in the AgentConfig of {self.name!r}")
            raise

    def _check(self) -> None:
        if not isinstance(self.system_prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"system_prompt is text, not {self.system_prompt!r}")
        for field_, least in (("max_steps", 1), ("repairs", 0), ("max_tokens", 1)):
            _check_count(field_, getattr(self, field_), least)
        if self.approve is not None and not callable(self.approve):
            raise TypeError(f"approve is a function or None, not {self.approve!r}")
        if isinstance(self.adapter, str):
            adapter(self.adapter)  # which says what is wrong with a spec
        elif self.adapter is not None:
            _check_model("adapter", self.adapter)
        names = isinstance(self.tools, str)
        if names or not (
            isinstance(self.tools, ToolRegistry) or hasattr(self.tools, "__iter__")
        ):
            raise TypeError(f"tools is a list or a ToolRegistry, not {self.tools!r}")
        if not isinstance(self.tools, ToolRegistry):
            object.__setattr__(self, "tools", tuple(self.tools))
        known = self.registry is not None
        Toolbox(
            [t for t in self._items() if known or not isinstance(t, str)], self.registry
        )

    def _items(self) -> tuple[Any, ...]:
        if isinstance(self.tools, ToolRegistry):
            return (self.tools,)
        return tuple(self.tools)

    def box(self, registry: ToolRegistry | None, approve: Approve | None) -> Toolbox:
        """Its tools, with the registry and the approval of whoever runs it as defaults."""
        return Toolbox(
            self._items(), self.registry or registry, self.approve or approve
        )

    def model(self, default: LLMAdapter | str | None) -> LLMAdapter:
        """Its model: its own, the default, or what WAYBELL_MODEL names.

        Raises:
            NoModelError: None of these is there.
        """
        chosen = self.adapter if self.adapter is not None else default
        if chosen is not None:
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


def _check_count(name: str, value: Any, least: int) -> None:
    if value is None and name == "max_tokens":
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is a whole number from {least} up, not {value!r}")


def _check_model(name: str, model: Any) -> None:
    if not callable(
        getattr(model, "agenerate", None) or getattr(model, "generate", None)
    ):
        raise TypeError(
            f"{name} is a model with generate() and stream(), or a spec such as "
            f"'openai:gpt-...', not {model!r}"
        )
