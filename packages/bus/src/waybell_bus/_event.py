"""What is sent, and what came of it."""

import itertools
import os
import threading
from asyncio import AbstractEventLoop
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, final


class _Ids:
    """Identifiers that no other process gives, nor a forked child."""

    __slots__ = ("count", "lock", "prefix")

    def reseed(self) -> None:
        """Start, or start over: a fork would repeat its parent, or find it locked."""
        self.prefix = os.urandom(8).hex()
        self.count = itertools.count(1)
        self.lock = threading.Lock()


_ids = _Ids()
_ids.reseed()
os.register_at_fork(after_in_child=_ids.reseed)

# The event whose handler waits for this one, if any, and how deep that makes it.
Trail = tuple["Event | None", int]
FIRST: Trail = (None, 1)


@final
class Event(Mapping[str, Any]):
    """One thing that was sent: a read-only mapping of its fields, and always true.

    A bus makes them, or `from_dict`.
    """

    # A bus fills these in one by one: a constructor would double the cost of a send.
    # `_id` is unset until asked for, `_link` None or (parent, root), `_trail` None
    # once every answer is known.
    __slots__ = ("__weakref__", "_fields", "_id", "_link", "_time", "_topic", "_trail")
    _fields: dict[str, Any]
    _id: str
    _link: tuple[str, str] | None
    _time: float
    _topic: str
    _trail: Trail | None

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Event {self.topic} {self._fields}>"

    if not TYPE_CHECKING:  # A type checker knows that there is no such attribute.

        def __getattr__(self, name: str) -> None:
            has = name[0] != "_" and name in self._fields
            hint = f"; a field is an item: event[{name!r}]" if has else ""
            raise AttributeError(f"an Event has no attribute {name!r}{hint}")

    @property
    def topic(self) -> str:
        """The topic as it was sent."""
        return self._topic

    @property
    def time(self) -> float:
        """When it was sent, in seconds since the epoch."""
        return self._time

    @property
    def id(self) -> str:
        """A name that no other event has, in any process."""
        try:
            return self._id
        except AttributeError:
            with _ids.lock:  # The same to every thread that asks.
                if not hasattr(self, "_id"):
                    self._id = f"{_ids.prefix}-{next(_ids.count):x}"
            return self._id

    @property
    def parent(self) -> str | None:
        """The id of the event being handled when this one was sent, or None."""
        return None if self._link is None else self._link[0]

    @property
    def root(self) -> str:
        """The id of the first event in this line: its own where it has no parent."""
        return self.id if self._link is None else self._link[1]

    def to_dict(self) -> dict[str, Any]:
        """What JSON would carry: `topic`, `id`, `time`, `parent`, `root`, `fields`."""
        names = ("topic", "id", "time", "parent", "root")
        return {name: getattr(self, name) for name in names} | {"fields": dict(self)}

    @staticmethod
    def from_dict(data: Mapping[str, Any], /) -> "Event":
        """The event that `to_dict` described, with the same identity."""
        event = Event()
        event._fields = dict(data["fields"])
        event._id = data["id"]
        event._link = data["parent"] and (data["parent"], data["root"])
        event._time = data["time"]
        event._topic = data["topic"]
        event._trail = None
        return event

    def __reduce__(self) -> tuple[Any, ...]:
        return Event.from_dict, (self.to_dict(),)


class Outcome(NamedTuple):
    """What one handler made of an event.

    Args:
        handler: Its qualified name.
        value: The answer, None where it failed.
        error: What it raised, or None.
        seconds: How long it took.
    """

    handler: str
    value: Any
    error: BaseException | None
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether there is an error in place of an answer."""
        return self.error is not None


# The event being handled; outside of handlers the loop, once something was sent on it.
# On Python 3.11 asking asyncio for the running loop is a system call, dearer than all
# the rest of a send; a context that has sent before knows its loop.
current: ContextVar[Event | AbstractEventLoop | None] = ContextVar(
    "waybell_bus", default=None
)
