"""The protocol that every model follows, and its async twins."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

from waybell_adapters._limits import BudgetLike, DeadlineLike, in_thread
from waybell_adapters._prompt import Prompt
from waybell_adapters._reply import Reply
from waybell_adapters._stream import ReplyStream


@runtime_checkable
class LLMAdapter(Protocol):
    """A model: two methods, of the same arguments.

    `prompt` is text, or a list of messages `{"role": ..., "content": ...}` whose
    content is text or a list of blocks; a `Reply.message` is one. The `deadline` is
    asked before and while the model works, the `budget` before and after. `options`
    are the vendor's own, passed through by name.
    """

    def generate(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        tools: Sequence[Any] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: str | Sequence[str] | None = None,
        deadline: DeadlineLike | None = None,
        budget: BudgetLike | None = None,
        **options: Any,
    ) -> Reply:
        """Answer."""
        ...

    def stream(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        tools: Sequence[Any] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: str | Sequence[str] | None = None,
        deadline: DeadlineLike | None = None,
        budget: BudgetLike | None = None,
        **options: Any,
    ) -> ReplyStream:
        """Answer piece by piece."""
        ...


async def agenerate(adapter: LLMAdapter, prompt: Prompt, **options: Any) -> Reply:
    """Await an answer: by the adapter's own `agenerate`, else in a thread.

    The thread sees the caller's context variables. A call that outlives its
    `deadline` or its task is left behind there: a thread cannot be ended.
    The arguments are those of `LLMAdapter.generate`.
    """
    own = getattr(adapter, "agenerate", None)
    if own is not None:
        return cast("Reply", await own(prompt, **options))
    call = partial(adapter.generate, prompt, **options)
    return await in_thread(call, options.get("deadline"))


async def astream(adapter: LLMAdapter, prompt: Prompt, **options: Any) -> ReplyStream:
    """Open a stream for `async for`: by the adapter's own `astream`, else in threads.

    The arguments are those of `LLMAdapter.stream`. A stream that opens when nobody
    waits for it any more is closed.
    """
    own = getattr(adapter, "astream", None)
    if own is not None:
        return cast("ReplyStream", await own(prompt, **options))
    opened: list[ReplyStream] = []
    left: list[BaseException] = []

    def call() -> ReplyStream:
        opened.append(adapter.stream(prompt, **options))
        if left:
            opened[0].close()  # nobody will ever read it
        return opened[0]

    try:
        return await in_thread(call, options.get("deadline"))
    except BaseException as error:
        left.append(error)
        for stream in opened:
            stream.__exit__(type(error), error, None)
        raise
