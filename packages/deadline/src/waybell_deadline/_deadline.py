"""One deadline for a whole call tree."""
# ruff: noqa: SLF001 - one deadline may look into another
# ruff: noqa: PYI034 - what a block gives is this deadline on the loop's own clock

from collections.abc import Callable
from functools import partial
from math import inf
from re import fullmatch
from time import monotonic
from typing import TYPE_CHECKING, ParamSpec, Self, SupportsFloat, SupportsIndex, TypeVar

from ._clock import Clock, as_seconds, clock_of, running_loop, running_task, shown
from ._exceeded import DeadlineExceeded
from ._threads import in_thread
from ._wall import Shield, Wall, current_scope, enter_scope, leave_scope
from ._watcher import Watch


if TYPE_CHECKING:  # asyncio is slow to import
    from asyncio import AbstractEventLoop

P = ParamSpec("P")
T = TypeVar("T")
Number = SupportsFloat | SupportsIndex

_LONGEST_WAIT = 2_147_483.0  # seconds: poll() counts milliseconds in 31 bits
_LONGEST_HEADER = 12  # digits: about 31 years


class Deadline:
    """A moment by which a whole call tree must be done.

    `async with deadline:` is a wall: awaits inside are cancelled once when it
    passes, and the block raises `DeadlineExceeded`. `with deadline:` only makes it
    the current one. A deadline never changes and may be used in any number of
    blocks, tasks and threads at once.

    Args:
        seconds: How long from now; 0 has passed at once.
        clock: Tells the time in seconds; by default the running loop's time, else
            `time.monotonic`.

    Raises:
        TypeError: `seconds` is not a number.
        ValueError: `seconds` is negative, infinite or not a number at all.
    """

    __slots__ = ("__weakref__", "_clock", "_expires", "_injected", "_seconds")

    def __init__(self, seconds: Number, *, clock: Clock | None = None) -> None:
        self._seconds = as_seconds(seconds)
        self._injected = clock is not None
        self._clock: Clock = clock or clock_of(running_loop())
        self._expires = self._clock() + self._seconds

    @classmethod
    def never(cls) -> Self:
        """A deadline that never passes."""
        made = cls(0, clock=monotonic)
        made._seconds = made._expires = inf
        made._injected = False
        return made

    @staticmethod
    def current() -> "Deadline | None":
        """The tightest deadline around this code, or None outside any."""
        scope = current_scope.get()
        return None if scope is None else scope[2]

    def expired(self) -> bool:
        """Whether it has passed."""
        return self._clock() >= self._expires

    def remaining(self) -> float:
        """Seconds left: 0.0 when passed, `inf` if it never passes."""
        left = self._expires - self._clock()
        return left if left > 0 else 0.0

    def check(self) -> None:
        """Raise `DeadlineExceeded` if it has passed."""
        if self._clock() >= self._expires:
            raise self._exceeded(self)

    def timeout(self, cap: Number | None = None) -> float | None:
        """Seconds to hand to a socket or a wait; None if there is no limit.

        Never 0, which sockets take for "do not block", and never more than 24 days,
        which is what they can wait.

        Args:
            cap: Not more than so many seconds, whatever is left.

        Raises:
            DeadlineExceeded: It has passed.
            ValueError: `cap` is 0, or not a span of time.
        """
        limit = inf if cap is None else as_seconds(cap, "cap")
        if limit <= 0:
            raise ValueError("cap must be more than 0, which would mean not to wait")
        limit = min(limit, self._expires - self._clock())
        if limit <= 0:
            raise self._exceeded(self)
        return None if limit == inf else min(limit, _LONGEST_WAIT)

    def tighten(self, seconds: Number | None = None, *, reserve: Number = 0) -> Self:
        """A new deadline, never later than this one.

        Args:
            seconds: Not later than so many seconds from now.
            reserve: So many seconds earlier than this one, kept back for the caller.
        """
        here = self._on(running_loop())
        expires = here._expires - as_seconds(reserve, "reserve")
        if seconds is not None:
            expires = min(expires, here._clock() + as_seconds(seconds))
        return here._moved(expires)

    def to_header(self) -> str:
        """Whole milliseconds left, rounded down, as text; `never` without a limit."""
        left = self.remaining()
        most = 10**_LONGEST_HEADER - 1
        return "never" if left == inf else str(int(min(left * 1000, most)))

    @classmethod
    def from_header(cls, text: str, *, clock: Clock | None = None) -> Self:
        """The deadline that `to_header` described, counted from now.

        Args:
            text: 1 to 12 ASCII digits, or `never`.
            clock: As for `Deadline`.

        Raises:
            ValueError: `text` is anything else.
        """
        if text == "never":
            return cls.never()
        # int() would also take signs, spaces, underscores and Arabic digits.
        if not fullmatch(f"[0-9]{{1,{_LONGEST_HEADER}}}", str(text)):
            raise ValueError(f"not a deadline in milliseconds: {shown(text)}")
        return cls(int(text) / 1000, clock=clock)

    def hint(self) -> str:
        """One sentence that tells a model how long it has."""
        left = self.remaining()
        if left == inf:
            return "There is no time limit."
        if left < 1:
            return "The time is up: answer now with what you have."
        count, unit = (left, "second") if left < 120 else (left / 60, "minute")
        plural = "" if int(count) == 1 else "s"
        return f"Finish within {int(count)} {unit}{plural}; a late answer is lost."

    def shield(self, seconds: Number) -> Shield:
        """A `with` or `async with` block in which this deadline is later.

        For clean-up: the block gets at least `seconds` from when it is entered,
        even if the deadline has passed. Other deadlines around it still hold, and
        when its time is up the awaits in it are cancelled, if this deadline is a
        wall here.

        Args:
            seconds: How long the clean-up may take.
        """
        return Shield(self, partial(self._postponed, as_seconds(seconds)))

    def on_expire(self, callback: Callable[[], object]) -> Watch:
        """Call `callback` when this deadline passes, say to shut a socket.

        Callbacks of all deadlines run one after another in one daemon thread, so
        they must be short; their errors are logged. Under a loop with a clock of its
        own, as in a simulation, they run on that loop. A child of `fork` has none.

        Args:
            callback: Called without arguments; at once if it has passed already.
        """
        loop = running_loop()
        here = self._on(loop)
        if loop is None or here._injected or here._clock is monotonic:
            return Watch(here, callback)
        return Watch(here, callback, partial(loop.call_at, here._expires))

    async def run_in_thread(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a blocking function in a thread of its own and wait behind this wall.

        The function sees the caller's context. A thread cannot be killed: when this
        deadline passes, or the caller is cancelled, it is abandoned, logged as a
        warning and listed by `abandoned()` until it ends.

        Args:
            fn: What to run.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            DeadlineExceeded: It has passed, and the thread is left behind.
        """
        async with self:
            name = getattr(fn, "__qualname__", repr(fn))
            return await in_thread(partial(fn, *args, **kwargs), name)

    def __enter__(self) -> "Deadline":
        here = self._on(running_loop())
        enter_scope(self, here, None)
        return here

    def __exit__(self, *error: object) -> None:
        leave_scope(self, walled=False)

    async def __aenter__(self) -> "Deadline":
        task = running_task()
        if task is None:
            raise RuntimeError("a wall needs an asyncio task to cancel")
        loop = task.get_loop()
        here = self._on(loop)
        if here._clock() >= here._expires:
            # One turn of the loop first: a caller that tries again and again must
            # not keep the walls around it from ending that.
            from asyncio import sleep  # noqa: PLC0415 - slow to import

            await sleep(0)
            raise here._exceeded(self)
        due = here._due(loop) if self._injected else here._expires
        outer = current_scope.get()  # enter_scope(), written out for speed
        tightest = here if outer is None or here < outer[2] else outer[2]
        wall = Wall(here, due, task, self._injected)
        current_scope.set((self, here, tightest, outer, wall))
        return here

    async def __aexit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        wall = leave_scope(self, walled=True)
        if wall is not None and wall.close(error):
            raise wall.here._exceeded(self) from error

    def _on(self, loop: "AbstractEventLoop | None") -> Self:
        """The same time left, counted by the clock of `loop` if that is another."""
        if loop is None or self._injected:
            return self
        clock = clock_of(loop)
        if clock is self._clock or clock == self._clock or self._expires == inf:
            return self
        here = self._moved(clock() + self.remaining())
        here._clock, here._seconds = clock, self._seconds
        return here

    def _moved(self, expires: float) -> Self:
        made = object.__new__(type(self))
        made._injected, made._clock = self._injected, self._clock
        made._expires = expires
        made._seconds = made.remaining()
        return made

    def _due(self, loop: "AbstractEventLoop | None") -> float:
        """When it passes on the clock of `loop`, which is its own unless injected."""
        if loop is None or not self._injected:
            return self._expires
        return loop.time() + self.remaining()

    def _postponed(
        self, seconds: float, loop: "AbstractEventLoop | None"
    ) -> "tuple[Deadline, float]":
        here = self._on(loop)
        grace = here._moved(max(here._expires, here._clock() + seconds))
        return grace, grace._due(loop)

    def _exceeded(self, entered: "Deadline") -> DeadlineExceeded:
        elapsed = self._seconds + self._clock() - self._expires
        return DeadlineExceeded(entered, self._seconds, elapsed)

    def __lt__(self, other: "Deadline") -> bool:
        """Whether this one passes earlier."""
        if self._clock is other._clock:
            return self._expires < other._expires
        return self.remaining() < other.remaining()

    def __repr__(self) -> str:
        if self._expires == inf:
            return "<Deadline never>"
        return f"<Deadline {self._seconds:.6g} s, {self.remaining():.6g} s left>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[float, ...]]:
        # Another process has another clock: only the remaining time means anything.
        if self._expires == inf:
            return type(self).never, ()
        return type(self), (self.remaining(),)
