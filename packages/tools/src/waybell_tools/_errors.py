"""The errors of this package, drawn once: what was refused, and what went wrong."""

from collections.abc import Iterable


class ToolError(Exception):
    """A tool call that failed.

    Args:
        message: What happened.
        tool: The name that was called.
        near: Names that look like one that does not exist.
        problems: What is wrong with arguments: pairs of a path and a text.
        retry_after: Seconds after which a call may be allowed.
    """

    def __init__(
        self,
        message: str = "",
        *,
        tool: str | None = None,
        near: Iterable[str] = (),
        problems: Iterable[tuple[str, str]] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.tool, self.retry_after = tool, retry_after
        self.near, self.problems = tuple(near), tuple(problems)


class UnknownToolError(ToolError, LookupError):
    """No tool has this name: see `near`."""


class ToolArgumentsError(ToolError, ValueError):
    """The arguments do not fit: see `problems`."""


class ToolTimeoutError(ToolError, TimeoutError):
    """The tool took longer than it may."""


class ToolDenied(ToolError, PermissionError):
    """Nobody approved the call, or a built-in refuses what it was asked to do."""


class ToolLimitError(ToolError, RuntimeError):
    """Too many calls, or too much data: see `retry_after`."""
