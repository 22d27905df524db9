"""What can go wrong on a bus, as types."""


class BusError(Exception):
    """Anything the bus itself refuses to do."""


class BusClosedError(BusError, RuntimeError):
    """An event was sent after the bus was closed.

    Args:
        topic: What was sent, or None where something else was asked for.
    """

    def __init__(self, topic: str | None = None) -> None:
        super().__init__(topic)
        self.topic = topic

    def __str__(self) -> str:
        return f"the bus is closed; {self.topic or 'this'} was not sent"


class TopicError(BusError, ValueError):
    """A topic or a pattern is not well formed.

    Args:
        topic: The offending text.
        reason: What is wrong with it.
    """

    def __init__(self, topic: object, reason: str) -> None:
        super().__init__(topic, reason)
        self.topic = topic
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.topic!r} {self.reason}"


class NoHandlerError(BusError, LookupError):
    """Nobody answers a topic.

    Args:
        topic: What was asked.
        near: Topics with handlers that are spelled alike, nearest first.
    """

    def __init__(self, topic: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(topic, near)
        self.topic = topic
        self.near = near

    def __str__(self) -> str:
        hint = f"; did you mean {' or '.join(map(repr, self.near))}?"
        return f"nobody answers {self.topic!r}{hint if self.near else ''}"


class AmbiguousTopicError(BusError, LookupError):
    """Several handlers have an equal claim to answer a request.

    Args:
        topic: What was asked.
        handlers: The qualified names of those who tie.
    """

    def __init__(self, topic: str, handlers: tuple[str, ...]) -> None:
        super().__init__(topic, handlers)
        self.topic = topic
        self.handlers = handlers

    def __str__(self) -> str:
        names = ", ".join(self.handlers)
        return (
            f"{self.topic!r} would be answered equally well by {names}; "
            "give one a priority, or a more specific topic"
        )


class ReentrancyError(BusError, RuntimeError):
    """Waiting for a place would never end: only those who wait for us hold one.

    Args:
        limit: Whose places they are, a handler's qualified name as a rule.
        size: How many places there are.
    """

    def __init__(self, limit: str, size: int) -> None:
        super().__init__(limit, size)
        self.limit = limit
        self.size = size

    def __str__(self) -> str:
        return (
            f"{self.limit} was re-entered while its {self.size} place(s) are held by "
            "those waiting for this very answer"
        )


class NestingError(BusError, RecursionError):
    """Handlers wait for handlers more deeply than the bus allows.

    Args:
        topics: The loop of topics, first one repeated at the end; without a loop,
            every topic from the outermost on.
        depth: The bound that was reached.
    """

    def __init__(self, topics: tuple[str, ...], depth: int) -> None:
        super().__init__(topics, depth)
        self.topics = topics
        self.depth = depth

    def __str__(self) -> str:
        return f"{self.depth} events deep: {' -> '.join(self.topics)}"


class QueueFullError(BusError):
    """A subscription with `overflow="error"` has no room for an event.

    Args:
        pattern: What it subscribed to.
        maxsize: How many events it holds.
    """

    def __init__(self, pattern: str, maxsize: int) -> None:
        super().__init__(pattern, maxsize)
        self.pattern = pattern
        self.maxsize = maxsize

    def __str__(self) -> str:
        return f"the queue on {self.pattern!r} is full with {self.maxsize} events"
