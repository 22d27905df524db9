"""The loop of an agent: ask the model, run the tools it calls, until it answers."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from waybell_adapters import BadReply, LLMAdapter, Reply, agenerate, astream
from waybell_agents._box import Toolbox
from waybell_agents._config import AgentConfig
from waybell_agents._errors import AgentError, OutputError, StepsExhausted
from waybell_agents._messages import failed, opening, result, said, told
from waybell_agents._notes import Notes, packed, unpacked
from waybell_agents._reply import AgentReply, AgentStep, totals
from waybell_agents._till import Till
from waybell_agents._together import together
from waybell_agents._use import Use
from waybell_tools import ToolArgumentsError


Feeder = Callable[[str], Awaitable[None]]
MOST_CALLS = 64  # tool calls of one turn that are made
_UNUSABLE = ("ToolArgumentsError", "UnknownToolError")
_AGAIN = "raise repairs=, say more in the prompt, or ask another model"


@dataclass(slots=True)
class Turns:
    """One run of an agent, turn by turn; see `Agent.run` for what it raises."""

    config: AgentConfig[Any]
    model: LLMAdapter
    box: Toolbox
    tracer: Any = None
    budget: Any = None
    deadline: Any = None
    attempts: int | None = None  # requests for one reply; None: the model's own rule
    feed: Feeder | None = None  # given each piece of text as it comes
    steps: list[AgentStep] = field(default_factory=list[AgentStep])
    replies: list[Reply] = field(default_factory=list[Reply])  # unreadable ones too
    paid: list[Reply] = field(default_factory=list[Reply])  # of these, by this process
    bad: int = 0  # unusable answers in a row
    holds: bool = True  # see `Till`

    async def run(self, prompt: Any) -> AgentReply[Any]:
        """Answer a prompt, text or messages."""
        system, options = self._request()
        messages = opening(prompt)
        notes = Notes(self.config.name, messages)
        try:
            options = {"system": system, **options}
            answer = await self._converse(messages, notes, options)
        except BaseException as error:
            notes.release()
            if isinstance(error, OutputError | StepsExhausted | BadReply):
                notes.fail()
            raise
        if self.budget is not None and not self.paid:
            self.budget.charge(usd=0, line="free")  # so that nobody charges it again
        return answer

    def _request(self) -> tuple[str | None, dict[str, Any]]:
        """The system prompt, and what else goes with each request."""
        config, output = self.config, self.config.output
        parts = [config.system_prompt, output.instructions() if output else ""]
        given: dict[str, Any] = {
            "max_tokens": config.max_tokens, "temperature": config.temperature,
            "attempts": self.attempts, "tools": self.box.specs() or None,
        }  # fmt: skip
        options = {key: given[key] for key in given if given[key] is not None}
        # Beside tools many servers take a schema for the form of every answer.
        if output and not self.box and _takes(self.model, "output_schema"):
            options["output_schema"] = output.schema
        return "\n\n".join(filter(None, parts)) or None, {**options, **config.options}

    async def _converse(
        self, messages: list[Any], notes: Notes, options: dict[str, Any]
    ) -> AgentReply[Any]:
        for number in range(1, self.config.max_steps + 1):
            reply = await self._ask(number, messages, notes, options)
            if reply is None:
                continue
            if not reply.tool_calls:
                if (answer := self._answer(reply, messages)) is not None:
                    return answer
            elif number < self.config.max_steps:
                await self._use(number, reply, messages, notes)
        reply = self.steps[-1].reply if self.steps else None
        raise StepsExhausted(
            f"agent {self.config.name!r} has no answer after {self.config.max_steps} "
            "steps: raise max_steps, or ask for less", agent=self.config.name, reply=reply,
        )  # fmt: skip

    async def _ask(
        self, number: int, messages: list[Any], notes: Notes, options: dict[str, Any]
    ) -> Reply | None:
        """The model's reply to the messages; None, and a word about it, if unreadable."""
        key = notes.key(number)
        kept = notes.recall(key)
        try:
            if kept is None:
                reply = await self._call(key, messages, notes, options)
            else:
                reply = self._recall(kept)
                if self.feed is not None:  # as if it came now
                    await self.feed(reply.text)
        except BadReply as error:
            if kept is None:
                lost = error.reply and packed(error.reply)
                notes.record(key, {"unreadable": error.args[0], "reply": lost})
            self._count_bad(error)
            wrong = f"Your last answer could not be read: {error.args[0]}"
            messages.append(said(f"{wrong}. Answer again."))
            return None
        self.steps.append(AgentStep(number, reply, recalled=kept is not None))
        return reply

    def _recall(self, kept: Mapping[str, Any]) -> Reply:
        """What was paid for before: a reply, or the `BadReply` that it was."""
        if "unreadable" not in kept:
            self.replies.append(unpacked(kept))
            return self.replies[-1]
        lost = kept["reply"] and unpacked(kept["reply"])
        self.replies += [lost] if lost else []
        raise BadReply(kept["unreadable"], reply=lost)

    async def _call(
        self, key: str, messages: list[Any], notes: Notes, options: dict[str, Any]
    ) -> Reply:
        provider = type(self.model).__name__.removesuffix("Adapter").lower()
        model = getattr(self.model, "model", None)
        with self._span("llm", str(model or provider), provider) as span:
            try:
                reply = await self._limited([*messages], options)
            except Exception as error:
                paid = getattr(error, "reply", None)
                if isinstance(paid, Reply):
                    self._pay(span, paid)
                    if not isinstance(error, BadReply) and not paid.partial:
                        notes.record(key, packed(paid))  # it only was too dear
                        self.steps.append(AgentStep(len(self.steps) + 1, paid))
                raise
            self._pay(span, reply)
        notes.record(key, packed(reply))
        return reply

    async def _limited(self, messages: list[Any], options: dict[str, Any]) -> Reply:
        """Ask within the budget and the deadline."""
        if self.deadline is not None:
            self.deadline.check()
            options = {**options, "deadline": self.deadline}
        if self.budget is None:
            return await self._generate(messages, options)
        costs = any(reply.cost for reply in self.replies)
        till = Till(self.budget, costs=costs, holds=self.holds)
        reply = await self._generate(messages, {**options, "budget": till})
        self.holds = till.held
        till.settle(reply)
        return reply

    def _pay(self, span: Any, reply: Reply) -> None:
        self.paid.append(reply)
        self.replies.append(reply)
        _meter(span, reply)

    async def _generate(self, messages: list[Any], options: dict[str, Any]) -> Reply:
        if self.feed is None:
            reply: Any = await agenerate(self.model, messages, **options)
            if not isinstance(reply, Reply):
                kind = type(self.model).__name__
                raise TypeError(f"{kind} must return Reply(...), not {reply!r:.200}")
            return reply
        async with await astream(self.model, messages, **options) as stream:
            async for piece in stream:
                await self.feed(piece)
        return stream.reply

    def _answer(self, reply: Reply, messages: list[Any]) -> AgentReply[Any] | None:
        """The answer, or None and a word to the model about what is wrong with it."""
        value, output = None, self.config.output
        try:
            if output is not None:
                value = output.read(reply.text)
        except ToolArgumentsError as error:
            failed = OutputError(
                f"agent {self.config.name!r} gave no valid answer: {error}; {_AGAIN}",
                agent=self.config.name, reply=reply, problems=error.problems,
            )  # fmt: skip
            self._count_bad(failed)
            wrong = f"That does not fit the schema: {error}"
            again = said(f"{wrong}. Answer again, with JSON only.")
            messages += [reply.message, again]
            return None
        own = {"agent": self.config.name, "value": value, "steps": self.steps}
        said_all = (*messages, reply.message)
        return AgentReply.of(reply, self.replies, messages=said_all, **own)

    async def _use(
        self, number: int, reply: Reply, messages: list[Any], notes: Notes
    ) -> None:
        """Run the tools that a reply calls, and add what came of it to the messages."""
        works = [
            self._one(Use(self.box, notes, notes.key(number, n), call), n, call)
            for n, call in enumerate(reply.tool_calls)
        ]
        outcomes = await together(works)
        results = list(map(result, reply.tool_calls, outcomes))
        self.steps[-1] = replace(self.steps[-1], results=tuple(results))
        messages += [reply.message, *map(told, results)]
        if all(each.get("error", {}).get("type") in _UNUSABLE for each in results):
            last = results[-1]["error"]["message"]
            self._count_bad(OutputError(
                f"agent {self.config.name!r} made no usable tool call: {last}; {_AGAIN}",
                agent=self.config.name, reply=reply, problems=[("tool_calls", last)],
            ))  # fmt: skip
        else:
            self.bad = 0

    async def _one(self, use: Use, n: int, call: Any) -> Mapping[str, Any]:
        if n >= MOST_CALLS:
            message = f"at most {MOST_CALLS} calls are made in one turn"
            return failed(call, "ToolLimitError", message)
        return await use.run(self.deadline, partial(self._span, "tool", call.name))

    def _count_bad(self, error: Exception) -> None:
        self.bad += 1
        if self.bad > self.config.repairs:
            raise error

    def _span(self, kind: str, *names: str) -> Any:
        if self.tracer is None:
            return nullcontext()
        return getattr(self.tracer, kind)(*names)

    def tell(self, error: BaseException) -> None:
        """Note on an error what was done before it."""
        usage, cost = totals(self.replies)
        facts: dict[str, Any] = {"agent": self.config.name, "steps": tuple(self.steps)}
        facts |= {"usage": usage, "cost": cost}
        for name, fact in facts.items():
            if isinstance(error, AgentError) or getattr(error, name, None) is None:
                with suppress(AttributeError, TypeError):  # one that takes nothing
                    setattr(error, name, fact)


def _meter(span: Any, reply: Reply) -> None:
    if hasattr(span, "record_usage"):
        usage = reply.usage
        cached = usage.cache_read_tokens + usage.cache_write_tokens
        span.record_usage(
            model=reply.model, input_tokens=usage.input_tokens + cached,
            output_tokens=usage.output_tokens, cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens, usd=reply.cost,
        )  # fmt: skip


def _takes(model: Any, name: str) -> bool:
    """Whether one of the model's methods has a parameter of this name."""
    verbs = "agenerate", "generate", "stream"
    methods = (getattr(model, verb, None) for verb in verbs)
    return any(name in inspect.signature(m).parameters for m in methods if callable(m))
