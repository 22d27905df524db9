"""What is sent, and what came of it."""

import itertools
import os
import threading
import weakref
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, final


class _Ids:
    """Identifiers that no other process gives, nor a forked child."""

    __slots__ = ("_count", "_lock", "_prefix")

    def __init__(self) -> None:
        self.reseed()

    def reseed(self) -> None:
        """Start over: a fork would repeat its parent, or find the lock taken."""
        self._prefix = os.urandom(8).hex()
        self._count = itertools.count(1)
        self._lock = threading.Lock()

    def of(self, event: "Event") -> str:
        """Give the event its identifier, the same to every thread that asks."""
        with self._lock:
            try:
                return event._id
            except AttributeError:
                event._id = made = f"{self._prefix}-{next(self._count):x}"
                return made


_ids = _Ids()
os.register_at_fork(after_in_child=_ids.reseed)

# How deep an awaited event is, and the event whose handler waits for it.
Trail = tuple["Event | None", int]
FIRST: Trail = (None, 1)


@final
class Event(Mapping[str, Any]):
    """One thing that was sent: a read-only mapping of its fields.

    It is true even without fields. `topic` is as it was sent, `time` the seconds
    since the epoch when it was. Events are made by a bus, or by `from_dict`.
    """

    # A bus fills these in one by one: a constructor would double the cost of a send.
    # `_id` stays unset until it is asked for. `_link` is (parent, root) or None, and
    # `_trail` becomes None once every answer is known.
    __slots__ = ("__weakref__", "_fields", "_id", "_link", "_trail", "time", "topic")

    _fields: dict[str, Any]
    _id: str
    _link: tuple[str | None, str] | None
    _trail: Trail | None
    time: float
    topic: str

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Event {self.topic} {self._fields}>"

    @property
    def id(self) -> str:
        """A name that no other event has, in any process."""
        try:
            return self._id
        except AttributeError:
            return _ids.of(self)

    @property
    def parent(self) -> str | None:
        """The id of the event being handled when this one was sent, or None."""
        return None if self._link is None else self._link[0]

    @property
    def root(self) -> str:
        """The id of the first event in this line: its own where it has no parent."""
        return self.id if self._link is None else self._link[1]

    def to_dict(self) -> dict[str, Any]:
        """Everything there is to it, as JSON would carry it.

        Returns:
            `topic`, `id`, `time`, `parent`, `root`, and `fields` (a dict).
        """
        return {
            "topic": self.topic,
            "id": self.id,
            "time": self.time,
            "parent": self.parent,
            "root": self.root,
            "fields": dict(self._fields),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any], /) -> "Event":
        """The event that `to_dict` described, with the same identity.

        Args:
            data: A mapping with the keys of `to_dict`.
        """
        event = Event()
        event._fields = dict(data["fields"])
        event._id = data["id"]
        parent, root = data["parent"], data["root"]
        event._link = None if root == event._id else (parent, root)
        event._trail = None
        event.time = data["time"]
        event.topic = data["topic"]
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


@final
class Home:
    """A running loop, as a context remembers it.

    Asking asyncio for the running loop costs a system call on Python 3.11, more than
    all else in a send; a context that has sent before knows its loop already.
    """

    __slots__ = ("__weakref__", "_loop")

    def __init__(self, loop: AbstractEventLoop | None) -> None:
        self._loop = None if loop is None else weakref.ref(loop)

    @property
    def loop(self) -> AbstractEventLoop | None:
        """The loop, or None once it is gone."""
        return None if self._loop is None else self._loop()


NOWHERE = Home(None)
# The event being handled, in a handler; elsewhere the loop, once known.
current: ContextVar[Event | Home | None] = ContextVar("waybell_bus", default=None)
_homes: "weakref.WeakKeyDictionary[AbstractEventLoop, Home]" = (
    weakref.WeakKeyDictionary()
)


def at_home() -> Home:
    """The running loop's home."""
    loop = get_running_loop()
    home = _homes.get(loop)
    if home is None:
        home = _homes.setdefault(loop, Home(loop))
    return home
