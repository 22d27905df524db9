"""What the vendors' adapters have in common: arguments, keys, doors."""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from urllib.parse import urlsplit

from waybell_adapters._blocks import text_of, tools
from waybell_adapters._dialect import Ask, Dialect, Price
from waybell_adapters._errors import ModelRefused, ModelUnavailable
from waybell_adapters._limits import BudgetLike, DeadlineLike
from waybell_adapters._live import LiveStream
from waybell_adapters._prompt import Prompt, count_tokens, messages
from waybell_adapters._reply import Reply


if TYPE_CHECKING:
    from requests import Session

    from waybell_adapters._engine import Engine

_IMAGE = 1000  # tokens that a picture is taken for


class Place(NamedTuple):
    """Where a vendor is, and the names of the environment that say otherwise."""

    provider: str
    home: str
    path: str
    key: str | None
    url: str


class Wire(NamedTuple):
    """A server, as read from the arguments and the environment."""

    engine: "Engine"
    dialect: Dialect
    secrets: tuple[str, ...]

    def scrub(self, text: str) -> str:
        """The text without what must not be shown."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


class VendorAdapter:
    """A model behind HTTP; see the vendors' classes.

    Raises:
        ValueError: An argument makes no sense.
    """

    __slots__ = (
        "_api_key", "_attempts", "_backoff", "_base_url", "_connections", "_extra",
        "_max_wait", "_price", "_session", "_timeout", "_wires", "model",
    )  # fmt: skip
    _place: ClassVar[Place]
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
            raise ValueError("a model has a name")
        self.model = model
        self._api_key = api_key
        self._base_url = base_url
        self._price = None if price is None else Price(price)
        self._attempts = _whole("attempts", attempts)
        self._connections = _whole("connections", connections)
        self._timeout = timeout
        self._extra = dict(headers or {})
        self._session = session
        self._backoff = backoff
        self._max_wait = max_wait
        self._wires: dict[int, Wire] = {}

    def generate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer; the arguments are those of `stream`."""
        return self.stream(prompt, **options).read()

    async def agenerate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer; cancelling it ends the server's work too."""
        return await self.stream(prompt, **options).aread()

    async def astream(self, prompt: Prompt, **options: Any) -> LiveStream:
        """Answer piece by piece, for `async for`."""
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
        ask = _ask(self.model, prompt, system, tools)
        ask.max_tokens = self._afford(max_tokens or self._max_tokens, ask, budget)
        ask.temperature = temperature
        ask.stop = [stop] if isinstance(stop, str) else list(stop or ())
        ask.tool_choice = tool_choice
        ask.output_schema = output_schema
        ask.options = options
        wire = self._wire()

        # Loaded only now, as it brings requests.
        from waybell_adapters._call import Call, Terms  # noqa: PLC0415

        terms = Terms(
            deadline, budget, _whole("attempts", attempts or self._attempts),
            self._backoff, self._max_wait, self._price, wire.scrub,
        )  # fmt: skip
        call = Call(wire.engine, wire.dialect, ask, terms)
        return LiveStream(
            call, call.finish, engine=wire.engine, deadline=deadline, budget=budget
        )

    def close(self) -> None:
        """End the calls that run, and let connections and threads go."""
        for wire in [self._wires.pop(pid) for pid in list(self._wires)]:
            wire.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import asyncio  # noqa: PLC0415 - a loop runs, so it is loaded already

        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        at = f", base_url={_shown(self._base_url)!r}" if self._base_url else ""
        return f"{type(self).__name__}({self.model!r}{at})"

    def _afford(
        self, limit: int | None, ask: Ask, budget: BudgetLike | None
    ) -> int | None:
        if limit is None:
            return None
        limit = _whole("max_tokens", limit)
        clamp = getattr(budget, "clamp", None)
        if clamp is None:
            return limit
        try:
            lower: int = clamp(limit, model=ask.model, input_tokens=ask.size)
        except LookupError:
            if self._price is None:
                raise
            return limit  # the pool knows no price, but the caller has stated it here
        return lower

    def _wire(self) -> Wire:
        """The server, read from the environment once in each process."""
        pid = os.getpid()
        wire = self._wires.get(pid)
        if wire is None:
            made = self._connect()
            self._wires = {pid: self._wires.setdefault(pid, made)}
            wire = self._wires[pid]
        return wire

    def _connect(self) -> Wire:
        # Loaded only now: requests takes longer to import than all of this package.
        from requests.exceptions import RequestException  # noqa: PLC0415

        from waybell_adapters._engine import Engine  # noqa: PLC0415

        place = self._place
        said = os.environ.get(place.url, "").strip()
        url = self._address(self._base_url or said or place.home) + place.path
        key = self._key(given=self._base_url is not None, moved=bool(said))
        own = self._headers(key) | self._extra
        secrets = tuple(filter(None, (key, *_long(own), *_long(self._extra))))
        headers = {**_HEADERS, **own}
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise self._error(f"the header {name} has a character it cannot carry")
        try:
            engine = Engine(
                url, headers, session=self._session, connections=self._connections,
                timeout=self._timeout,
            )  # fmt: skip
        except (RequestException, ValueError) as error:
            shown = type(error).__name__
            raise self._error(
                f"no request can be sent to {_shown(url)}: {shown}"
            ) from None
        return Wire(engine, self._dialect(url), secrets)

    def _key(self, *, given: bool, moved: bool) -> str | None:
        """The key; the environment's is not for a server given as an argument."""
        name = self._place.key
        if self._api_key is not None or name is None or given:
            return self._api_key
        key = os.environ.get(name, "").strip()
        if not key and not moved:
            raise self._error(f"no key: set {name}, or pass api_key=", ModelRefused)
        return key or None

    def _address(self, text: str) -> str:
        url = text.strip().rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise self._error(f"not a web address: {_shown(url)!r}")
        if parts.username or parts.password:
            raise self._error("base_url carries no user or password: use headers=")
        return url

    def _error(
        self, text: str, kind: type[ModelRefused | ModelUnavailable] = ModelUnavailable
    ) -> ModelRefused | ModelUnavailable:
        return kind(text, provider=self._place.provider, model=self.model)

    def _dialect(self, url: str) -> Dialect:
        raise TypeError(f"{type(self).__name__} is no vendor's")

    def _headers(self, key: str | None) -> dict[str, str]:
        raise TypeError(f"{type(self).__name__} is no vendor's")


_HEADERS = {
    "Accept": "text/event-stream, application/x-ndjson, application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "waybell-adapters",
}


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


def _long(headers: Mapping[str, str]) -> list[str]:
    """Values that may be secrets, longest first."""
    found = {v for v in headers.values() if len(v) >= 8 and not v[0].isspace()}
    return sorted(found, key=len, reverse=True)


def _shown(url: str | None) -> str:
    """An address without a password or a query."""
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
