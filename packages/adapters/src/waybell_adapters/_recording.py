"""Records what any adapter is asked and answers, or answers in its place."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, cast

from waybell_adapters._blocks import tools
from waybell_adapters._errors import AdapterError
from waybell_adapters._limits import admit
from waybell_adapters._prompt import Prompt, messages, pieces
from waybell_adapters._protocol import LLMAdapter, agenerate, astream
from waybell_adapters._reply import Reply, Usage, plain
from waybell_adapters._stream import ReplyStream


Outcome: TypeAlias = Reply | BaseException
_TOOL = ("name", "description", "input_schema")
# Arguments that bound a call and say nothing of what is asked.
_BOUNDS = ("deadline", "budget", "attempts")


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a model is asked, in one form whatever door and form it was asked in.

    Args:
        operation: "generate" or "stream"; not a part of `to_dict`, so that one door
            can replay what the other has recorded.
        model: The adapter's `model`, None if it names none.
        messages: A text prompt is one message of the user.
        system: The instructions beside them.
        tools: Each with name, description and input_schema, or a vendor's own.
        options: All others that are not None, without deadline, budget and attempts;
            a `stop` is a list.
    """

    operation: str
    model: str | None
    messages: list[dict[str, Any]]
    system: str | None
    tools: list[dict[str, Any]]
    options: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """What is asked; equal requests are equal JSON when keys are sorted."""
        fields = asdict(self)
        del fields["operation"]
        return fields


class RecordingAdapter:
    """Any adapter, with all that it is asked and answers told to `record`.

    Args:
        adapter: What is wrapped; it stays its owner's to close.
        record: Called once for each call that the adapter got, when its outcome is
            known: a `Reply` (`partial` when a stream was left early), or what the
            adapter raised. A budget's complaint about a paid reply is the reply.
        replay: Asked before each call. A `Reply` is given out instead of calling the
            adapter, an exception is raised (after the pieces of its `reply`, in a
            stream), for None the adapter is called. Deadline and budget are asked
            and charged as ever; nothing is told to `record`.
    """

    __slots__ = ("_record", "_replay", "adapter")

    def __init__(
        self,
        adapter: LLMAdapter,
        *,
        record: Callable[[ModelRequest, Outcome], object] | None = None,
        replay: Callable[[ModelRequest], Outcome | None] | None = None,
    ) -> None:
        self.adapter = adapter
        self._record = record
        self._replay = replay

    @property
    def model(self) -> str | None:
        """The name that the adapter has for its model."""
        return getattr(self.adapter, "model", None)

    def generate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer; the arguments are those of the adapter."""
        told, known = self._begin("generate", prompt, options)
        if known is not None:
            return known.read()
        with told.errors():
            reply = self.adapter.generate(prompt, **options)
        told.tell(reply)
        return reply

    async def agenerate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer."""
        told, known = self._begin("generate", prompt, options)
        if known is not None:
            return known.read()
        with told.errors():
            reply = await agenerate(self.adapter, prompt, **options)
        told.tell(reply)
        return reply

    def stream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        """Answer piece by piece."""
        told, known = self._begin("stream", prompt, options)
        with told.errors():
            return known or _Recorded(self.adapter.stream(prompt, **options), told)

    async def astream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        """Answer piece by piece."""
        told, known = self._begin("stream", prompt, options)
        with told.errors():
            return known or _Recorded(
                await astream(self.adapter, prompt, **options), told
            )

    def __repr__(self) -> str:
        return f"RecordingAdapter({self.adapter!r})"

    def _begin(
        self, operation: str, prompt: Prompt, options: dict[str, Any]
    ) -> "tuple[_Told, ReplyStream | None]":
        """A call, and what is to be given out for it if that is known."""
        request = _request(operation, self.model, prompt, options)
        known = None if self._replay is None else self._replay(request)
        played = None if known is None else _replayed(known, options)
        return _Told(request, self._record), played


class _Told:
    """One call, whose outcome is told once."""

    __slots__ = ("_record", "request")

    def __init__(
        self,
        request: ModelRequest,
        record: Callable[[ModelRequest, Outcome], object] | None,
    ) -> None:
        self.request = request
        self._record = record

    def tell(self, outcome: Outcome) -> None:
        record, self._record = self._record, None
        if record is not None:
            record(self.request, outcome)

    @contextmanager
    def errors(self) -> Generator[None]:
        """Tell what is raised; what a reply cost too much is still that reply."""
        try:
            yield
        except BaseException as error:
            paid = getattr(error, "reply", None)
            limit = isinstance(paid, Reply) and not isinstance(error, AdapterError)
            try:
                self.tell(cast(Reply, paid) if limit else error)
            except Exception as late:  # the first error is the one to tell
                error.add_note(f"and it was not recorded: {late!r}")
            raise


class _Recorded(ReplyStream):
    """A stream of any adapter's whose outcome is told when it is known."""

    __slots__ = ("_stream", "_told")

    def __init__(self, stream: ReplyStream, told: _Told) -> None:
        super().__init__(())
        self._stream = stream
        self._told = told

    @property
    def reply(self) -> Reply:
        return self._stream.reply

    def close(self) -> None:
        with self._told.errors():
            self._stream.close()
        self._told.tell(self._stream.reply)

    def __next__(self) -> str:
        with self._told.errors():
            piece = next(self._stream, None)
        if piece is None:
            self._told.tell(self._stream.reply)
            raise StopIteration
        return piece

    async def __anext__(self) -> str:
        with self._told.errors():
            piece = await anext(self._stream, None)
        if piece is None:
            self._told.tell(self._stream.reply)
            raise StopAsyncIteration
        return piece


def _request(
    operation: str, model: str | None, prompt: Prompt, options: Mapping[str, Any]
) -> ModelRequest:
    asked = {k: v for k, v in options.items() if v is not None and k not in _BOUNDS}
    if isinstance(asked.get("stop"), str):
        asked["stop"] = [asked["stop"]]
    system = asked.pop("system", None)
    given = [
        plain(tool if isinstance(tool, dict) else dict(zip(_TOOL, tool, strict=True)))
        for tool in tools(asked.pop("tools", ()))
    ]
    return ModelRequest(
        operation, model, plain(messages(prompt)), system, given, plain(asked)
    )


def _replayed(outcome: Outcome, options: Mapping[str, Any]) -> ReplyStream:
    """A stream of what is known, within the limits of the call."""
    deadline, budget = options.get("deadline"), options.get("budget")
    if isinstance(outcome, Reply):
        admit(deadline, budget, tokens=outcome.usage.input_tokens)
        return ReplyStream.of(outcome, deadline=deadline, budget=budget)
    admit(deadline, budget, tokens=0)
    came = getattr(outcome, "reply", None)
    part = (
        came if isinstance(came, Reply) else Reply(usage=Usage(), cost=0, partial=True)
    )
    return ReplyStream(
        _failing(part, outcome),
        lambda _text, _cut: part,
        deadline=deadline,
        budget=budget,
        blocking=False,
    )


def _failing(part: Reply, error: BaseException) -> Iterator[str]:
    yield from pieces(part)
    raise error
