"""Which clock counts, and which numbers are seconds."""

import sys
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex, TypeAlias


if TYPE_CHECKING:  # asyncio costs 25 ms, and code without a loop never needs it
    from asyncio import AbstractEventLoop, Task

    from ._timer import Timer

Clock: TypeAlias = Callable[[], float]
TIMER = "_waybell_timer"  # the attribute of a loop that keeps what is known of it


def running_loop() -> "AbstractEventLoop | None":
    """The event loop that runs in this thread, or None."""
    try:
        running = sys.modules["asyncio.events"]._get_running_loop  # noqa: SLF001 - it is in __all__, and the other one raises, which is slow
    except (KeyError, AttributeError):  # not imported, or just being imported
        return None
    loop: AbstractEventLoop | None = running()
    return loop


def running_task() -> "Task[object] | None":
    """The task that runs in this thread, or None in a plain callback and elsewhere."""
    try:
        task: Task[object] | None = sys.modules["asyncio"].current_task()
    except (KeyError, RuntimeError):  # no loop runs
        return None
    return task


def clock_of(loop: "AbstractEventLoop | None") -> Clock:
    """The clock of `loop`, seen through to `time.monotonic` where it is that."""
    if loop is None:
        return monotonic
    timer: Timer | None = getattr(loop, TIMER, None)
    if timer is not None:
        return timer.clock
    clock = loop.time
    plain = sys.modules["asyncio.base_events"].BaseEventLoop.time
    # It only calls time.monotonic, as uvloop's does; calling that itself halves check().
    same = getattr(clock, "__func__", None) is plain
    return monotonic if same or type(loop).__module__ == "uvloop" else clock


def as_seconds(value: SupportsFloat | SupportsIndex, name: str = "seconds") -> float:
    """Give `value` back as a float, or refuse what is not a span of time."""
    if type(value) is int or type(value) is float:
        if 0 <= value < 1e300:  # as nearly always
            return float(value)
    elif isinstance(value, bool | str | bytes):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    try:
        seconds = float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds, not {value!r}") from None
    except (OverflowError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < inf:
        raise ValueError(f"{name} must be finite and at least 0, not {shown(value)}")
    return seconds


def shown(value: object) -> str:
    """The repr of `value`, cut where it would fill a screen."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python is willing to print
        return "a number of very many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
