"""The errors of this package, drawn once: what is not recorded, and what has changed."""

from collections.abc import Sequence
from typing import Any


class RecordingMissing(LookupError):
    """A call that was not recorded.

    Args:
        message: Who asked what, and what was recorded instead.
        agent: The names around the call, outermost first.
        operation: "generate", "stream" or "tool", and of what.
        request: What was asked, as JSON.
        nearest: The most similar request that was recorded, or None.
    """

    def __init__(
        self, message: str = "", *, agent: Sequence[str] = (), operation: str = "",
        request: Any = None, nearest: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.agent, self.operation = tuple(agent), operation
        self.request, self.nearest = request, nearest


class SnapMismatch(AssertionError):
    """A run that is not the one that was recorded.

    Args:
        message: What changed, where, from what to what.
        changes: The changes that are not allowed.
    """

    def __init__(self, message: str = "", *, changes: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.changes = tuple(changes)
