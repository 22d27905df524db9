"""A model whose calls are recorded, or answered from a recording."""

# A model works for its session, most of which is nothing to users.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from waybell_adapters import (
    LLMAdapter,
    Reply,
    ReplyStream,
    ScriptedAdapter,
    Usage,
    agenerate,
    astream,
)
from waybell_adapters.testing import ModelRequest, RecordingAdapter
from waybell_snap._scope import asked
from waybell_snap._tree import CANCELLED, Node
from waybell_snap._values import decode_error, lasting


if TYPE_CHECKING:
    from waybell_snap._session import Session

_NOT_ASKED = ("idempotency_key", "request_id", "timeout")  # of a call, not of a model
_ASKED = ("messages", "system", "tools")
Prompt = Any  # as the adapters take it


class Model:
    """An adapter in a run; what it has beside the protocol is the adapter's.

    Args:
        session: The run.
        adapter: The model.
        name: What its calls are known by.
    """

    __slots__ = ("_adapter", "_name", "_session")

    def __init__(self, session: "Session", adapter: LLMAdapter, name: str) -> None:
        self._session, self._adapter, self._name = session, adapter, name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # While it is copied, it has no adapter to ask.
            raise AttributeError(name)
        return getattr(self._adapter, name)

    def __repr__(self) -> str:
        return f"<{self._name}: {self._adapter!r} in {self._session.path.name}>"

    def generate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer."""
        return self._seam().generate(prompt, **options)

    def stream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        """Answer piece by piece."""
        return self._seam().stream(prompt, **options)

    async def agenerate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer."""
        return await self._seam().agenerate(prompt, **options)

    async def astream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        """Answer piece by piece."""
        return await self._seam().astream(prompt, **options)

    def _seam(self) -> RecordingAdapter:
        if self._session._here().kind == "call":  # A part of a model that is recorded.
            return RecordingAdapter(self._adapter)
        call = _Call(self._session, self._adapter, self._name)
        return RecordingAdapter(call, record=call.settle, replay=call.begin)


class _Call:
    """One call, through the seam of the adapters: what answers it, what is noted of it."""

    __slots__ = (
        "_adapter", "_name", "_node", "_noted", "_played", "_session", "_started",
    )  # fmt: skip

    def __init__(self, session: "Session", adapter: LLMAdapter, name: str) -> None:
        self._session, self._adapter, self._name = session, adapter, name
        self._noted: list[str] | None = None

    @property
    def model(self) -> Any:
        return getattr(self._adapter, "model", None)

    def begin(self, request: ModelRequest) -> None:
        """Note what is asked."""
        options = {k: v for k, v in request.options.items() if k not in _NOT_ASKED}
        given = {name: getattr(request, name) for name in _ASKED} | {"options": options}
        given = {name: part for name, part in given.items() if part}
        self._node = self._session._begin("call", self._name, request.operation, given)
        self._started = self._session.clock()
        self._played = self._session._play(self._node)

    def settle(self, _: ModelRequest, outcome: Reply | BaseException) -> None:
        """Note what came of it."""
        node, session = self._node, self._session
        if not isinstance(outcome, Reply):
            session._fail(node, outcome, self._started)
        else:
            session._end(node, _told(outcome), self._started)
            calls = outcome.tool_calls
            node.asked = [(call.name, session._clean(call.arguments)) for call in calls]
            asked.set(node)
        if self._played is not None:
            node.latency, node.pieces = self._played.latency, self._played.pieces
        elif self._noted is not None:
            node.pieces = self._sizes(self._noted, outcome)

    def _sizes(self, pieces: list[str], outcome: object) -> list[Any]:
        """The pieces as lengths, where the reply has them; never one half of a secret."""
        text = "".join(pieces)
        if self._session._clean(text) != text:
            return [self._session._clean(text)]
        if isinstance(outcome, Reply) and outcome.text == text:
            return [len(piece) for piece in pieces]
        return pieces or [""]

    def generate(self, prompt: Prompt, **options: Any) -> Reply:
        if self._played is None:
            with self._session._inside(self._node):
                return self._adapter.generate(prompt, **options)
        self._session._answerable(self._node, self._played)
        return self._line().generate(prompt, **options)

    async def agenerate(self, prompt: Prompt, **options: Any) -> Reply:
        if self._played is None:
            with self._session._inside(self._node):
                return await agenerate(self._adapter, prompt, **options)
        await self._turn(options)
        return await self._line().agenerate(prompt, **options)

    def stream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        if self._played is None:
            stream = self._tapped(self._adapter.stream(prompt, **options))
        else:
            self._session._answerable(self._node, self._played)
            stream = self._pieces(options)
        self._node.unread = True  # Until its first piece is wanted, nothing is sent.
        return stream

    async def astream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        stream: ReplyStream
        if self._played is None:
            stream = self._tapped(await astream(self._adapter, prompt, **options))
        elif (
            self._played.pieces and (self._played.error or {}).get("type") in CANCELLED
        ):
            pieces = [piece for piece in self._played.pieces if piece]
            stream = _Cancelled(pieces, partial(self._turn, options), self._node)
        else:
            await self._turn(options)
            stream = self._pieces(options)
        self._node.unread = True
        return stream

    def _tapped(self, stream: ReplyStream) -> ReplyStream:
        self._noted = []
        return _Tapped(stream, self._noted, self._node)

    async def _turn(self, options: dict[str, Any]) -> None:
        """Let others run, as while a model works; as long as it takes to be cancelled."""
        await asyncio.sleep(0)
        await self._session._hang(self._node, self._known, options.get("deadline"))
        self._session._answerable(self._node, self._known)

    def _line(self) -> ScriptedAdapter:
        line = self._error() or Reply.from_dict(self._known.got)
        return ScriptedAdapter([line])

    def _pieces(self, options: dict[str, Any]) -> ReplyStream:
        limits = {name: options.get(name) for name in ("deadline", "budget")}
        error, pieces = self._error(), self._known.pieces
        if error is not None and pieces is None:
            raise error  # It was never opened.
        got = self._known.got if error is None else None
        reply = None if got is None else Reply.from_dict(got)

        def source() -> Iterator[str]:
            self._node.unread = False
            self._session._answerable(self._node, self._known, read=True)
            yield from cut(str(reply or ""), pieces)
            if error is not None:
                raise error

        def finish(text: str, left: bool) -> Reply:
            came = getattr(error, "reply", None) if reply is None else reply
            if isinstance(came, Reply) and (not left or error or came == text):
                return came
            return _part(text, came)

        return ReplyStream(source(), finish, **limits, blocking=False)

    def _error(self) -> BaseException | None:
        told = self._known.error
        return None if told is None else decode_error(told)

    @property
    def _known(self) -> Node:
        assert self._played is not None
        return self._played


class _Tapped(ReplyStream):
    """A stream whose pieces are noted as they come."""

    __slots__ = ("_node", "_noted", "_stream")

    def __init__(self, stream: ReplyStream, noted: list[str], node: Node) -> None:
        super().__init__(())
        self._stream, self._noted, self._node = stream, noted, node

    @property
    def reply(self) -> Reply:
        return self._stream.reply

    def close(self) -> None:
        self._stream.close()

    def __next__(self) -> str:
        self._node.unread = False
        piece = next(self._stream)
        self._noted.append(piece)
        return piece

    async def __anext__(self) -> str:
        self._node.unread = False
        piece = await anext(self._stream)
        self._noted.append(piece)
        return piece


class _Cancelled(ReplyStream):
    """A stream that waits, after its pieces, to be cancelled as it was."""

    __slots__ = ("_hang", "_left", "_node")

    def __init__(
        self, pieces: list[str], hang: Callable[[], Awaitable[None]], node: Node
    ) -> None:
        super().__init__(())
        self._left, self._hang, self._node = iter(pieces), hang, node

    async def __anext__(self) -> str:
        self._node.unread = False
        for piece in self._left:
            return piece
        await self._hang()
        raise StopAsyncIteration


def cut(text: str, pieces: list[Any] | None) -> Iterator[str]:
    """The pieces of a text: their lengths are known, or themselves, or nothing."""
    at = 0
    for piece in [len(text)] if pieces is None else pieces:
        if isinstance(piece, str):
            yield piece
        else:
            yield text[at : at + piece]
            at += piece


def _part(text: str, whole: Reply | None) -> Reply:
    """What was taken of a reply, whose cost is known only if it is free."""
    begun = Reply(text, partial=True)
    if whole is None:
        return begun
    counts = {**whole.usage, "output_tokens": begun.usage.output_tokens}
    usage = Usage(**counts, estimated=True)
    free = None if whole.cost else whole.cost
    return Reply(text, usage=usage, cost=free, model=whole.model, partial=True)


def _told(reply: Reply) -> dict[str, Any]:
    """A reply without what is never the same, and what follows from the rest."""
    told = lasting(reply)
    plain = Reply(reply.text, tool_calls=reply.tool_calls)
    if plain.to_dict()["message"] == told["message"]:
        del told["message"]
    kept = ("text", "usage", "cost", "model", "stop_reason", "message")
    return {k: v for k, v in told.items() if v or k in kept}
