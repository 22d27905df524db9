"""Events between agents: handlers answer, observers watch.

>>> import asyncio
>>> bus = EventBus()
>>> @bus.on("intent:greet")
... async def greet(event):
...     return f"Hello, {event['name']}!"
>>> @bus.observe("**")
... def watch(event):
...     print("sent", event.topic)
>>> asyncio.run(bus.emit("intent:greet", name="Ada"))
sent intent:greet
'Hello, Ada!'
"""

from waybell_bus._bus import EventBus
from waybell_bus._errors import (
    AmbiguousTopicError,
    BusClosedError,
    BusError,
    NestingError,
    NoHandlerError,
    QueueFullError,
    ReentrancyError,
    TopicError,
)
from waybell_bus._event import Event, Outcome
from waybell_bus._queue import Subscription


__all__ = [
    "AmbiguousTopicError",
    "BusClosedError",
    "BusError",
    "Event",
    "EventBus",
    "NestingError",
    "NoHandlerError",
    "Outcome",
    "QueueFullError",
    "ReentrancyError",
    "Subscription",
    "TopicError",
]
