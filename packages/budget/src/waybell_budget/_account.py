"""One axis of one pool or hold: a cap, what is spent, what is spent or held.

Functions, not methods: a pool and a hold are their own dollar accounts, which spares an
object for each hold, and these are not for their users.
"""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - the attributes are private to the package, not to the class

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._amounts import dollars
from ._errors import AskedError


if TYPE_CHECKING:
    from ._waiting import Waiter


class Account:
    """Tokens, or in a subclass nano-dollars, of one pool or hold.

    Args:
        parent: The account its money comes from, None for a pool's.
        cap: What it may spend; None lets everything through to the parent.
    """

    __slots__ = ("_cap", "_parent", "_spent", "_used", "_watch")
    _axis = "tokens"

    def __init__(self, parent: "Account | None", cap: int | None) -> None:
        self._parent = parent
        self._cap = cap
        self._spent = 0
        self._used = 0  # spent, or held for somebody below
        self._watch: Watch | None = None


class Alarm:
    """A call that is due once, when spending reaches a threshold."""

    __slots__ = ("call", "rung")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.rung = False


class Watch:
    """Who waits at an account, whom to tell, and the most it was overdrawn."""

    __slots__ = ("alarms", "overdrawn", "queue")

    def __init__(self) -> None:
        self.queue: deque[Waiter] = deque()
        self.alarms: list[tuple[int, Alarm]] = []
        self.overdrawn = 0


def source(account: Account | None) -> Account | None:
    """The account whose cap decides: this one or the nearest above."""
    while account is not None and account._cap is None:
        account = account._parent
    return account


def room(account: Account) -> int:
    """Cap less spent and held; below zero when overdrawn."""
    return (account._cap or 0) - account._used


def free(account: Account) -> int | None:
    """What may be held or spent here, None when nothing limits it."""
    decides = source(account)
    return None if decides is None else max(0, room(decides))


def overdrawn(account: Account) -> int:
    """The most that was ever committed beyond the cap."""
    return account._watch.overdrawn if account._watch is not None else 0


def watch(account: Account) -> Watch:
    """What is rarely needed, made when it is."""
    account._watch = account._watch or Watch()
    return account._watch


def locked(account: Account, by: Account) -> int:
    """What an account keeps for a hold as long as that is open."""
    if account._cap is None or source(account._parent) is not by:
        return 0
    return max(account._cap, account._used) - account._spent


def fits(account: Account) -> bool:
    """Whether a hold's cap is there to be set aside, overtaking nobody."""
    decides = None if account._cap is None else source(account._parent)
    if decides is None:
        return True
    taken = decides._watch is not None and decides._watch.queue
    return not taken and (account._cap or 0) <= room(decides)


def hold(account: Account | None, amount: int) -> None:
    """Set money aside, here and above as far as no cap covers it already."""
    while account is not None:
        account._used += amount
        account = account._parent if account._cap is None else None


def error(
    kind: type[AskedError], account: Account, asked: int, left: int, hint: str = ""
) -> AskedError:
    """An error about an account's axis."""
    left = max(0, left)
    if account._axis == "usd":
        return kind("usd", dollars(asked), dollars(left), hint)
    return kind("tokens", asked, left, hint)
