"""What a recording and a replay share: who asks, inside what, and after what."""

import asyncio
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Self, TypeVar

from waybell_adapters import LLMAdapter
from waybell_bus import Event, EventBus
from waybell_snap._changes import TOKENS, limit_of
from waybell_snap._match import Matcher, Matchers
from waybell_snap._model import Model
from waybell_snap._redact import Redact, Redactor
from waybell_snap._scope import Inside, Tasks, asked, here
from waybell_snap._tools import RecordedTools
from waybell_snap._tree import Node, Snapshot
from waybell_snap._values import encode, encode_error, outline
from waybell_tools import ToolRegistry


T = TypeVar("T")
_CLASSES = {0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s", 60.0: "1 min"}
_LIMITS = {"budget", "deadline"}  # what bounds an agent, and is no task of it


class Session:
    """A run that is being recorded or replayed; a `with` or `async with` block.

    Args:
        path: The recording.
        redact: More secrets than those known by their looks, names of keys, and the
            environment: patterns, or a function of a text that returns it without
            its secrets (twice the same as once). False stores all as it is.
        matchers: What may vary, by paths: see `compare`.
        max_usd: US dollars that it may cost at its end, as in `compare`.
        max_tokens: Tokens that it may take, as in `compare`.
        clock: Measures latencies, in seconds; the running loop's by default.

    Raises:
        ValueError: `max_usd` is no amount.
    """

    __slots__ = (
        "_closed", "_limits", "_lock", "_matchers", "_redact", "_root", "_tasks",
        "_unclean", "clock", "path",
    )  # fmt: skip

    def __init__(
        self, path: str | Path, *, redact: Redact = True,
        matchers: Mapping[str, Matcher] | None = None,
        max_usd: Decimal | str | float | None = None, max_tokens: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self._matchers = Matchers(matchers)
        self._limits: dict[str, Any] = {"matchers": matchers}
        self._limits["max_usd"] = limit_of(max_usd)
        self._limits["max_tokens"] = limit_of(max_tokens, TOKENS)
        self._redact = Redactor(redact)
        self._unclean: Exception | None = None
        self.clock = clock or _now
        self._closed = False
        self._root = Node("run", "run")
        self._lock = Lock()
        self._tasks = Tasks()

    @property
    def snapshot(self) -> Snapshot:
        """The run until now."""
        with self._lock:
            return Snapshot(self._root.to_dict())

    def adapter(self, model: LLMAdapter, *, name: str = "model") -> Model:
        """The model, all of whose calls are part of the run.

        Args:
            model: Any adapter.
            name: What its calls are known by, in both runs. Give one where several
                agents ask models and no bus or `agent` tells them apart.
        """
        return Model(self, model, name)

    def tools(self, registry: ToolRegistry) -> ToolRegistry:
        """The same tools, all of whose calls are part of the run."""
        return RecordedTools(self, registry)

    def watch(self, bus: EventBus) -> None:
        """Take each delivery of a bus, while this is open, for an agent's turn."""
        bus.use(self._around)

    def agent(self, name: str, **given: Any) -> Inside:
        """What happens in this block is a turn of an agent.

        Args:
            name: Its name.
            **given: What it was given, to be read later.
        """
        begin = partial(self._begin, "agent", name, "", given or None, brief=True)
        return Inside(self._root, begin, self._fail)

    def output(self, value: T) -> T:
        """The value, noted as what the agent around, or the whole run, came to."""
        self._here().got = self._clean(value, brief=True)
        return value

    async def _around(self, event: Event, call_next: Any) -> Any:
        """Take a delivery for a turn of an agent: middleware for a bus."""
        if self._closed:
            return await call_next(event)
        handler = str(getattr(call_next, "handler", "")).rpartition(".")[2]
        fields = {name: event[name] for name in event if name not in _LIMITS}
        begin = partial(self._begin, "agent", event.topic, handler, fields, brief=True)
        with Inside(self._root, begin, self._fail) as node:
            answer = await call_next(event)
            node.got = self._clean(answer, brief=True)
            return answer

    def _begin(
        self, kind: str, name: str, op: str = "", given: Any = None, *, brief: bool = False
    ) -> Node:  # fmt: skip
        """Note that something begins here and now.

        Raises:
            RuntimeError: The run is over.
        """
        if self._closed:
            raise RuntimeError(
                f"{name} was called after its run was over: await what you start inside "
                f"the block of {type(self).__name__}"
            )
        given, name = self._clean(given, brief=brief), self._without_secrets(name)
        parent = self._here()
        if kind == "tool":
            parent = self._asking(parent, name, given)
        node = Node(kind, name, op, given, parent)
        with self._lock:
            token, task = self._tasks.lane(parent)
        task = self._without_secrets(task)
        with self._lock:
            parent.put(token, node, task)
        return node

    def _end(self, node: Node, got: Any, started: float) -> None:
        """Note what came of it."""
        node.got = self._clean(got)
        node.latency = self._latency(started)

    def _fail(self, node: Node, error: BaseException, started: Any = None) -> None:
        """Note that it failed."""
        brief = node.kind not in ("call", "tool")
        told = outline(error) if brief else encode_error(error)
        node.error = self._without_secrets(told)
        if started is not None:
            node.latency = self._latency(started)

    def _inside(self, node: Node, started: float | None = None) -> Inside:
        """What happens in this block is a part of what has begun."""
        fail = partial(self._fail, started=started)
        return Inside(self._root, lambda: node, fail)

    def _here(self) -> Node:
        """The node of this run around what happens now."""
        return here(self._root)

    def _latency(self, started: float) -> str:
        """The class of the time since then."""
        seconds = self.clock() - started
        under = (f"under {name}" for top, name in _CLASSES.items() if seconds < top)
        return next(under, "over 1 min")

    def _clean(self, value: Any, *, brief: bool = False) -> Any:
        """The value as JSON without secrets; if that fails, nothing is ever stored."""
        return self._without_secrets(encode(value, brief=brief))

    def _without_secrets(self, data: Any) -> Any:
        try:
            return self._redact(data)
        except Exception as error:
            self._unclean = error
            raise

    def _asking(self, scope: Node, name: str, given: Any) -> Node:
        """The call whose reply asked for this tool, or what is around it."""
        call = asked.get()
        if call is None or call.parent is not scope:
            return scope
        with self._lock:
            fits = [one for one in call.asked if one[0] == name]
            exact = [one for one in fits if one[1] == given]
            if not fits:
                return scope
            call.asked.remove((exact or fits)[0])
            return call

    def _play(self, node: Node) -> Node | None:
        """What stands in for a model or a tool; None for itself."""
        del node
        return None

    def _answerable(self, node: Node, played: Node, *, read: bool = False) -> None:
        """Raise where nothing can be given in place of an answer."""

    async def _hang(self, node: Node, played: Node, deadline: Any) -> None:
        """Wait to be cancelled as that call was, if it was."""

    def _finish(self) -> None:
        """Do what is to be done at the end of a run without an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._closed = True  # What is asked from now on is refused.
        if kind is None:
            self._finish()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, *rest: object) -> None:
        self.__exit__(kind, *rest)


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
