"""What can go wrong on a bus, as types."""

from typing import Any, ClassVar


class BusError(Exception):
    """Anything a bus itself refuses to do."""

    _names: ClassVar[tuple[str, ...]] = ()
    _says: ClassVar[str] = ""

    def __init__(self, *details: Any) -> None:
        super().__init__(*details)
        self.__dict__.update(zip(self._names, details, strict=False))

    def __str__(self) -> str:
        return self._says.format(*self.args) or super().__str__()


class BusClosedError(BusError, RuntimeError):
    """The bus is closed: `topic` was not sent."""

    topic: str
    _names = ("topic",)
    _says = "the bus is closed: {!r} comes too late"


class TopicError(BusError, ValueError):
    """A `topic` or pattern is not well formed, for the `reason` given."""

    topic: Any
    reason: str
    _names = ("topic", "reason")
    _says = "{!r} {}"


class NoHandlerError(BusError, LookupError):
    """Nobody answers `topic`; `near` are those spelled alike, nearest first."""

    topic: str
    near: tuple[str, ...]
    _names = ("topic", "near")

    def __str__(self) -> str:
        hint = " or ".join(map(repr, self.near))
        return f"nobody answers {self.topic!r}" + (hint and f"; did you mean {hint}?")


class AmbiguousTopicError(BusError, LookupError):
    """The `handlers` (qualified names) have an equal claim to a request of `topic`."""

    topic: str
    handlers: tuple[str, ...]
    _names = ("topic", "handlers")
    _says = "{!r} would be answered equally well by {}: give one of them a priority"


class ReentrancyError(BusError, RuntimeError):
    """All `size` places of `limit` are held by those who wait for one more."""

    limit: str
    size: int
    _names = ("limit", "size")
    _says = "{} was re-entered by those who hold all {} places: raise concurrency="


class NestingError(BusError, RecursionError):
    """Handlers wait for handlers `depth` deep; `topics` is the loop they are in."""

    topics: tuple[str, ...]
    depth: int
    _names = ("topics", "depth")

    def __str__(self) -> str:
        return f"handlers wait {self.depth} deep: {' -> '.join(self.topics)}"


class QueueFullError(BusError):
    """A subscription to `pattern` with `overflow="error"` has its `maxsize` events."""

    pattern: str
    maxsize: int
    _names = ("pattern", "maxsize")
    _says = "the queue on {!r} is full with {} events: read faster, or raise maxsize="
