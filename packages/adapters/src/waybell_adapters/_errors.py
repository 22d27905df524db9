"""The errors of this package, drawn once: what failed, and what is worth a retry."""

from collections.abc import Mapping, Sequence
from typing import Any

from waybell_adapters._reply import Reply, attempt, plain


_FACTS = (
    "provider", "model", "request_id", "attempts", "status", "retry_after", "body", "reply",
)  # fmt: skip


class AdapterError(Exception):
    """A model call that failed.

    Args:
        message: What happened, without secrets.
        provider: The vendor or adapter, "anthropic".
        model: The model that was asked.
        request_id: The vendor's id of the request, for their support.
        attempts: The requests that were sent, each a `CallAttempt`.
        status: The HTTP status, if there was an answer.
        retry_after: Seconds the vendor asked to wait.
        body: The answer's body, as far as it was read.
        reply: What was received, and is paid for, before it failed.
    """

    status: int | None = None

    def __init__(
        self,
        message: str = "",
        *,
        provider: str | None = None,
        model: str | None = None,
        request_id: str | None = None,
        attempts: Sequence[Any] = (),
        status: int | None = None,
        retry_after: float | None = None,
        body: str | None = None,
        reply: Any = None,
    ) -> None:
        super().__init__(message or (self.__doc__ or "").split("\n", 1)[0])
        self.provider = provider
        self.model = model
        self.request_id = request_id
        self.attempts = tuple(attempts)
        self.status = status or self.status
        self.retry_after = retry_after
        self.body = body
        self.reply = reply

    def to_dict(self) -> dict[str, Any]:
        """All of it in what JSON has, for `from_dict`; `type` is its class here."""
        kinds = [k.__name__ for k in type(self).__mro__ if k.__module__ == __name__]
        facts: dict[str, Any] = {name: plain(getattr(self, name)) for name in _FACTS}
        if isinstance(self.reply, Reply):
            facts["reply"] = self.reply.to_dict()
        return {"type": kinds[0], "message": str(self.args[0]), **facts}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "AdapterError":
        """The same error again, of the class that its `type` names.

        Raises:
            ValueError: There is no such class.
        """
        known: list[type[AdapterError]] = [AdapterError, *AdapterError.__subclasses__()]
        kinds = {kind.__name__: kind for kind in known}
        kind = kinds.get(data["type"])
        if kind is None:
            raise ValueError(f"no error {data['type']!r}: one of {', '.join(kinds)}")
        facts = {name: data[name] for name in _FACTS if name in data}
        facts["attempts"] = [attempt(one) for one in facts.get("attempts", ())]
        if facts.get("reply") is not None:
            facts["reply"] = Reply.from_dict(facts["reply"])
        return kind(data["message"], **facts)

    def __str__(self) -> str:
        """The message, and the facts needed to find the call again."""
        known = {
            "provider": self.provider,
            "model": self.model,
            "status": self.status,
            "request": self.request_id,
            "retry after": self.retry_after,
            "attempts": len(self.attempts) or None,
        }
        facts = ", ".join(f"{k} {v}" for k, v in known.items() if v is not None)
        return f"{self.args[0]} ({facts})" if facts else str(self.args[0])


class ModelUnavailable(AdapterError, ConnectionError):
    """The model could not be reached, or its server failed."""


class ModelRefused(AdapterError, RuntimeError):
    """The vendor answered that it will not do this: see `status` and `body`."""


class RateLimited(AdapterError, RuntimeError):
    """The vendor asks for patience: see `retry_after`."""

    status = 429


class ContextTooLong(AdapterError, ValueError):
    """The prompt and the answer do not fit the model's window."""


class BadReply(AdapterError, ValueError):
    """The answer cannot be understood: see `body`."""
