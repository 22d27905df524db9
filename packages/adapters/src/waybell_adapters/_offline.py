"""A model without a key or a network that really reads the text it is given."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from waybell_adapters._ask import read
from waybell_adapters._limits import admit, settle
from waybell_adapters._prompt import Prompt, count_tokens, messages, pieces, texts
from waybell_adapters._reply import Reply, Usage
from waybell_adapters._stream import ReplyStream
from waybell_adapters._work import TASKS


class OfflineAdapter:
    """A deterministic model that classifies, finds, quotes, reviews and revises.

    It understands the prompt form of the package's README and writes nothing that is
    not in the text it was given, but for labels, verdicts and "does not answer". Its
    methods take the arguments of `LLMAdapter`; `tools`, `temperature` and options it
    does not know change nothing. Its tokens are its own, and they cost nothing.

    Args:
        model: The name that its replies carry.
    """

    __slots__ = ("model",)

    def __init__(self, *, model: str = "offline") -> None:
        self.model = model

    def generate(self, prompt: Prompt, **options: Any) -> Reply:
        """Answer."""
        reply = self._reply(prompt, **options)
        settle(options.get("budget"), reply)
        return reply

    def stream(self, prompt: Prompt, **options: Any) -> ReplyStream:
        """Answer piece by piece."""
        limits = {name: options.get(name) for name in ("deadline", "budget")}
        return ReplyStream.of(self._reply(prompt, **options), **limits)

    def _reply(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Reply:
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens is at least 1, not {max_tokens!r}")
        said = messages(prompt)
        if system:
            said.insert(0, {"role": "system", "content": system})
        size = sum(count_tokens(texts(message)) for message in said)
        admit(options.get("deadline"), options.get("budget"), tokens=size)
        deadline = options.get("deadline")
        ask = read(said) if deadline is None else read(said, deadline.check)
        text, reason = _ended(TASKS[ask.task](ask), max_tokens, stop)
        return Reply(
            text,
            usage=Usage(size, count_tokens(text)),
            cost=Decimal(0),
            model=self.model,
            stop_reason=reason,
        )


def _ended(
    text: str, max_tokens: int | None, stop: str | Sequence[str] | None
) -> tuple[str, str]:
    marks = (stop,) if isinstance(stop, str) else stop or ()
    cuts = [at for mark in marks if mark and (at := text.find(mark)) >= 0]
    reason = "stop_sequence" if cuts else "end"
    text = text[: min(cuts, default=len(text))]
    said = pieces(text)
    if max_tokens is not None and len(said) > max_tokens:
        return "".join(said[:max_tokens]), "max_tokens"
    return text, reason
