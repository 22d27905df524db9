"""What bounds a call: the time that is left, how often, and how much comes back."""

from asyncio import events
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from json import JSONEncoder
from math import inf
from threading import Lock
from time import monotonic
from typing import Any, Protocol, cast

from waybell_tools._errors import ToolLimitError


_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


class DeadlineLike(Protocol):
    """When to stop; `waybell_deadline.Deadline` is one."""

    def remaining(self) -> float:
        """Seconds that are left, `inf` if there is no end."""
        ...

    def check(self) -> None:
        """Raise when it has passed."""


def seconds_left(cap: float, deadline: DeadlineLike | None) -> float:
    """The tighter of a limit and what the deadline leaves; raises when that passed."""
    if deadline is None:
        return cap
    deadline.check()
    return min(cap, deadline.remaining())


def now() -> float:
    """The running loop's time, which a simulation may shift, else the monotonic one."""
    loop = events._get_running_loop()  # noqa: SLF001 - the one that does not raise
    return monotonic() if loop is None else float(loop.time())


def positive(value: Any, name: str) -> float:
    """Give a limit back, or refuse what is not a number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be more than 0, not {value!r}")
    return value


class Quota:
    """How often a tool may be called: in all, and at a rate such as "10/minute"."""

    __slots__ = ("_clock", "_lock", "_period", "_recent", "_share", "left")

    def __init__(
        self, uses: float | None, rate: str | None, clock: Callable[[], float]
    ) -> None:
        self.left = inf if uses is None else positive(uses, "max_uses")
        self._share, self._period = (0, 0.0) if rate is None else _rate(str(rate))
        self._recent: deque[float] = deque()
        self._clock, self._lock = clock, Lock()

    def take(self, tool: str) -> list[float]:
        """Count a call, or raise `ToolLimitError`; what it gives is to be given back."""
        with self._lock:
            if self.left < 1:
                raise ToolLimitError(f"{tool}: no uses are left", tool=tool)
            counted = [self._clock()]
            if self._share:
                self._pace(tool, *counted)
            self.left -= 1
            return counted

    def _pace(self, tool: str, time: float) -> None:
        recent = self._recent
        # What is later than now was counted by the clock of another loop.
        while recent and not abs(time - recent[0]) < self._period:
            recent.popleft()
        if len(recent) >= self._share:
            wait = recent[0] + self._period - time
            text = f"{tool}: {self._share} calls in {self._period:g} s are allowed"
            text = f"{text}, the next in {wait:.3g} s"
            raise ToolLimitError(text, tool=tool, retry_after=wait)
        recent.append(time)

    def give_back(self, counted: list[float]) -> None:
        """A counted call did not come to run, unless it is not in there any more."""
        with self._lock, suppress(IndexError, ValueError):
            time = counted.pop()
            self.left += 1
            self._recent.remove(time)


def _rate(text: str) -> tuple[int, float]:
    count, _, period = text.partition("/")
    if not (count.isdecimal() and int(count) and period in _PERIODS):
        raise ValueError(f"rate is like '10/minute' (second, hour), not {text!r}")
    return int(count), _PERIODS[period]


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know."""
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    if isinstance(value, set | frozenset):
        return list(cast("set[Any]", value))
    fields: Any = getattr(value, "__dataclass_fields__", None)
    return {f: getattr(value, f, None) for f in fields} if fields else shown(value)


_JSON = JSONEncoder(ensure_ascii=False, default=_plain)


def shown(value: Any, how: Callable[[Any], str] = repr) -> str:
    """Its text, or the name of its type if it cannot tell."""
    try:
        return how(value)
    except Exception:  # an int of too many digits, or a broken __repr__
        return f"<{type(value).__name__}>"


def text_of(value: Any, limit: float = inf) -> str:
    """A tool's value as a model reads it: text, or JSON made as far as `limit`."""
    text = value if isinstance(value, str) else _text(value, limit)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file's name may have surrogates, a request not
        return text.encode(errors="replace").decode()
    return text


def _text(value: Any, limit: float) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    parts, size = list[str](), 0
    try:
        for part in _JSON.iterencode(value) if limit < inf else [_JSON.encode(value)]:
            parts.append(part)
            size += len(part)
            if size > limit:
                break
    except Exception:  # odd keys, cycles, an object that fails
        return shown(value)
    return "".join(parts)


def capped(value: Any, limit: float) -> Any:
    """The value if it is not longer than `limit`, else its cut text with a mark.

    What is neither text nor bytes is as long as its JSON; the mark is counted in.
    """
    if limit == inf or value is None or isinstance(value, bool | float):
        return value
    told = isinstance(value, str | bytes | bytearray)
    whole: Any = value if told else text_of(value, limit)
    if len(whole) <= limit:
        return value
    size = len(whole) if told else "more"
    mark: Any = f"\n[cut: {size}, and at most {limit:.0f} are shown]"
    mark = mark if isinstance(whole, str) else mark.encode()
    return whole[: max(0, int(limit) - len(mark))] + mark
