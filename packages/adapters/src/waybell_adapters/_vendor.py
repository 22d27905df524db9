"""What the vendors' adapters have in common: arguments, keys, doors."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

from waybell_adapters._blocks import text_of, tools
from waybell_adapters._dialect import Ask, Dialect, Price
from waybell_adapters._errors import AdapterError
from waybell_adapters._held import Held
from waybell_adapters._limits import BudgetLike, DeadlineLike, in_thread
from waybell_adapters._live import LiveStream
from waybell_adapters._place import Wire, connect, shown
from waybell_adapters._prompt import Prompt, count_tokens, messages
from waybell_adapters._reply import Reply
from waybell_adapters._retry import Terms


if TYPE_CHECKING:
    from requests import Session

_OURS = ("messages", "model", "stream")
_IMAGE = 1000  # tokens that a picture is taken for
_OUTPUT = 4096  # tokens that a call within a budget may write, if it does not say


class VendorAdapter:
    """A model behind HTTP; see the vendors' classes.

    Raises:
        ValueError: An argument makes no sense.
    """

    __slots__ = (
        "_attempts", "_backoff", "_loading", "_max_wait", "_price", "_server", "_wires",
        "model",
    )  # fmt: skip
    _dialect: ClassVar[type[Dialect]]
    _max_tokens: ClassVar[int | None] = None  # where the vendor must be told

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        price: Mapping[str, Any] | None = None,
        attempts: int = 3,
        timeout: float | None = 300.0,
        headers: Mapping[str, str] | None = None,
        session: "Session | None" = None,
        connections: int = 512,
        backoff: float = 0.5,
        max_wait: float = 60.0,
    ) -> None:
        if not model:
            raise ValueError("a model has a name: give the vendor's")
        self.model = model
        self._price = None if price is None else Price(price)
        self._attempts = _whole("attempts", attempts)
        self._server: dict[str, Any] = {
            "api_key": api_key, "base_url": base_url, "headers": dict(headers or {}),
            "session": session, "connections": _whole("connections", connections),
            "timeout": timeout,
        }  # fmt: skip
        self._backoff = backoff
        self._max_wait = max_wait
        self._wires: dict[int, Wire] = {}
        self._loading: dict[Any, Any] = {}  # the one import that each loop waits for

    def generate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer; the arguments are those of `stream`."""
        return self.stream(prompt, **options).read()

    async def agenerate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer; cancelling it ends the server's work too."""
        await self._ready()
        return await self.stream(prompt, **options).aread()

    async def astream(self, prompt: Prompt, **options: Any) -> LiveStream:
        """Answer piece by piece, for `async for`."""
        await self._ready()
        return self.stream(prompt, **options)

    def stream(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        tools: Sequence[Any] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: str | Sequence[str] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        attempts: int | None = None,
        deadline: DeadlineLike | None = None,
        budget: BudgetLike | None = None,
        **options: Any,
    ) -> LiveStream:
        """Answer piece by piece; the request is sent when the first piece is wanted.

        Args:
            prompt: Text or messages.
            system: Instructions before all messages.
            tools: Each with `name`, `description` and `input_schema`, as a mapping or
                an object; or a vendor's own mapping.
            max_tokens: The most the model may write; lowered to what the budget pays.
            temperature: How freely it chooses.
            stop: What ends the answer.
            tool_choice: "auto", "required", "none", a tool's name, or the vendor's own.
            output_schema: A JSON schema that the answer follows, where the vendor can.
            attempts: Requests at most; 1 where somebody else repeats calls.
            deadline: Bounds all of it: connecting, each read, the pauses between.
            budget: Asked before each attempt, and charged for each that may cost.
            **options: The vendor's own, by name.

        Raises:
            AdapterError: The key is missing, or the server cannot be named.
            TypeError: The prompt or a tool is of a wrong type.
            ValueError: An argument makes no sense.
        """
        for name in _OURS:
            if name in options:
                raise ValueError(f"{name} is no option of a call: the adapter says it")
        ask = _ask(self.model, prompt, system, tools)
        ask.max_tokens = self._afford(max_tokens, ask, budget)
        budget = self._held(ask, budget)
        ask.temperature = temperature
        ask.stop = [stop] if isinstance(stop, str) else list(stop or ())
        ask.tool_choice = tool_choice
        ask.output_schema = output_schema
        ask.options = options
        wire = self._wire()

        # Loaded only now, as it brings requests.
        from waybell_adapters._call import Call  # noqa: PLC0415

        tries = self._attempts if attempts is None else _whole("attempts", attempts)
        terms = Terms(
            tries,
            self._backoff,
            self._max_wait,
            deadline,
            budget,
            self._price,
            wire.scrub,
        )
        call = Call(wire.engine, wire.dialect, ask, terms)
        return LiveStream(call, wire.engine, terms)

    def close(self) -> None:
        """End the calls that run, and let connections and threads go."""
        for wire in [self._wires.pop(pid) for pid in list(self._wires)]:
            wire.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        import asyncio  # noqa: PLC0415 - a loop runs, so it is loaded already

        await asyncio.to_thread(self.close)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """What makes it anew: neither connections nor threads can be copied."""
        state = {name: getattr(self, name) for name in VendorAdapter.__slots__}
        return None, state | {"_wires": {}, "_loading": {}}

    def __repr__(self) -> str:
        url = self._server["base_url"]
        at = f", base_url={shown(url)!r}" if url else ""
        return f"{type(self).__name__}({self.model!r}{at})"

    async def _ready(self) -> None:
        """Wait for a turn of the loop in which few calls begin; before the first, import.

        In a thread, as a loop cannot wait so long for requests.
        """
        import asyncio  # noqa: PLC0415 - a loop runs, so it is loaded already

        loop = asyncio.get_running_loop()
        wire = self._wires.get(os.getpid())
        if wire is not None:
            await wire.engine.mailbox(loop).turn()
            return
        work = self._loading.get(loop)
        if work is None:
            work = self._loading[loop] = loop.create_task(
                in_thread(lambda: import_module("waybell_adapters._call"))
            )
            work.add_done_callback(lambda _: self._loading.pop(loop))
        await asyncio.wait([work])

    def _afford(
        self, limit: int | None, ask: Ask, budget: BudgetLike | None
    ) -> int | None:
        if limit is None:
            limit = self._max_tokens
        if limit is None:
            return None
        limit = _whole("max_tokens", limit)
        clamp = getattr(budget, "clamp", None)
        if clamp is None or hasattr(budget, "reserve"):
            return limit
        try:
            lower: int = clamp(limit, model=ask.model, input_tokens=ask.size)
        except LookupError:
            if self._price is None:
                raise
            return limit  # the pool knows no price, but the caller has stated it here
        return lower

    def _held(self, ask: Ask, budget: Any) -> Any:
        """The budget, as one in which the call's worst case is set aside if it can be."""
        if not hasattr(budget, "reserve"):
            return budget
        # Servers count more than was counted here: their marks around each message, and
        # what they tell a model of tools.
        given = ask.size * 5 // 4 + 16 * len(ask.messages) + 500 * bool(ask.tools)
        return Held(
            budget,
            max_tokens=ask.max_tokens or _OUTPUT,
            model=self.model,
            input_tokens=given,
            price=None if self._price is None else self._price.stated,
        )

    def _wire(self) -> Wire:
        """The server; read from the environment once in each process."""
        pid = os.getpid()
        wire = self._wires.get(pid)
        if wire is None:
            try:
                made = connect(self._dialect, **self._server)
            except AdapterError as error:
                error.provider, error.model = self._dialect.provider, self.model
                raise error from None
            wire = self._wires.setdefault(pid, made)
            self._wires = {pid: wire}  # those of a parent process are not ours
        return wire


def _ask(
    model: str, prompt: Prompt, system: str | None, given: Sequence[Any] | None
) -> Ask:
    said = messages(prompt)
    if system:
        said.insert(0, {"role": "system", "content": system})
    offered = tools(given)
    size = sum(_size(message.get("content")) for message in said)
    return Ask(model, said, offered, size=size + sum(_size(str(t)) for t in offered))


def _size(content: Any) -> int:
    if not content or isinstance(content, str):
        return count_tokens(content or "")
    pictures = [block for block in content if "image" in block["type"]]
    rest = [block for block in content if "image" not in block["type"]]
    return _IMAGE * len(pictures) + count_tokens(text_of(rest))


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is at least 1, not {value!r}")
    return value
