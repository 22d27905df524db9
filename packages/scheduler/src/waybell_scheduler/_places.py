"""Places that threads and tasks take in turn, whichever loops they are on."""

from collections import OrderedDict, deque
from collections.abc import Callable
from contextvars import ContextVar
from threading import RLock


class Hold:
    """One place taken, as whatever runs inside it knows it.

    Args:
        place: What was taken from `Places.free`, unless it is borrowed.
        lender: The hold around this one whose place it borrows.
        outer: The innermost hold around this one, of any pool.
    """

    __slots__ = (
        "breaker", "epoch", "guess", "lender", "loan", "open", "outer", "owner",
        "place", "wanting",
    )  # fmt: skip

    def __init__(
        self, owner: object, place: object, lender: "Hold | None", outer: "Hold | None"
    ) -> None:
        self.owner = owner
        self.place = place
        self.lender = lender
        self.outer = outer
        self.loan: Hold | None = None  # to whom its own place is lent
        self.wanting: deque[Turn] = deque()  # who else would borrow it
        self.open = True
        self.breaker: object = None
        self.epoch = -1  # of the breaker, when it was admitted
        self.guess = 0.0


class Turn:
    """One who waits.

    Args:
        wake: Called with the lock held, once it has its hold. It raises
            RuntimeError if its loop was closed: it is passed over.
        outer: The innermost hold it waits in.
    """

    __slots__ = ("hold", "outer", "wake")

    def __init__(self, wake: Callable[[], object], outer: Hold | None) -> None:
        self.wake = wake
        self.outer = outer
        self.hold: Hold | None = None


holding: ContextVar[Hold | None] = ContextVar("waybell_scheduler_hold", default=None)


class Places:
    """A number of places, first come first served.

    `free` holds what may be taken without a lock: `list.pop` and `list.append` are
    atomic. At its bottom is `LAST`: whoever takes that has filled the places, and needs
    a `Hold` for what runs inside to see. A call inside borrows that place rather than
    wait for one, one at a time; so of those who fill the places one can always go on,
    and calls within calls never hang.
    """

    # The lock is reentrant: a collection while it is held may close a coroutine that
    # then gives its place back.
    __slots__ = ("_lock", "free", "line", "size")
    LAST = object()

    def __init__(self, size: int) -> None:
        self.size = size
        self.free: list[object] = [self.LAST, *[None] * (size - 1)]
        self.line: OrderedDict[Turn, None] = OrderedDict()
        self._lock = RLock()

    def join(self, wake: Callable[[], object]) -> Turn:
        """Stand in line; there may be a hold at once."""
        turn = Turn(wake, _shortened(holding.get()))
        with self._lock:
            around = self._around(turn.outer)
            if around is not None and around.loan is None:
                turn.hold = around.loan = Hold(self, None, around, turn.outer)
                return turn
            self.line[turn] = None
            if around is not None:
                around.wanting.append(turn)
            self._serve()
        return turn

    def leave(self, turn: Turn) -> None:
        """Wait no longer, or give back what was just granted."""
        with self._lock:
            self.line.pop(turn, None)
            if turn.hold is not None:
                self.release(turn.hold)

    def release(self, hold: Hold) -> None:
        """Give a hold back."""
        with self._lock:
            hold.open = False
            loan, lender = hold.loan, hold.lender
            if loan is not None:  # what runs on inside keeps the place
                loan.place, loan.lender = hold.place, lender
                if lender is not None:
                    lender.loan = loan
            elif lender is None:
                self.give(hold.place)
            else:
                lender.loan = None
                while lender.wanting and lender.loan is None:
                    turn = lender.wanting.popleft()
                    if turn in self.line:
                        lender.loan = self._grant(
                            turn, Hold(self, None, lender, turn.outer)
                        )

    def give(self, place: object) -> None:
        """Put back what was taken from `free`, and serve who waits."""
        self._put(place)
        if self.line:
            self.serve()

    def _put(self, place: object) -> None:
        if place is self.LAST:
            self.free.insert(0, place)
        else:
            self.free.append(place)

    def _around(self, hold: Hold | None) -> Hold | None:
        """The innermost hold of these places, if it is still held."""
        while hold is not None and not (hold.owner is self and hold.open):
            hold = hold.outer
        return hold

    def serve(self) -> None:
        """Give what is free to those who wait; called after each giving back."""
        with self._lock:
            self._serve()

    def _serve(self) -> None:
        while self.line:
            try:
                place = self.free.pop()
            except IndexError:
                return
            turn = next(iter(self.line))
            if self._grant(turn, Hold(self, place, None, turn.outer)) is None:
                self._put(place)

    def _grant(self, turn: Turn, hold: Hold) -> Hold | None:
        del self.line[turn]
        turn.hold = hold  # before it wakes, perhaps on another thread, and looks
        try:
            turn.wake()
        except RuntimeError:  # nobody is there any more
            turn.hold = None
        return turn.hold


def _shortened(hold: Hold | None) -> Hold | None:
    """A hold, its chain freed of those that ended, so that no chain grows for ever."""
    link = hold
    while link is not None:
        while link.outer is not None and not link.outer.open:
            link.outer = link.outer.outer
        link = link.outer
    return hold
