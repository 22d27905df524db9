"""No network while a run is replayed: who goes past the recorded models is told."""

import sys
from ipaddress import ip_address
from threading import Lock
from typing import Any, Self


_ASKING = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}  # fmt: skip


class _State:
    """How many replays go on; the hook is set for good at the first, and then idle."""

    __slots__ = ("hooked", "lock", "open")

    def __init__(self) -> None:
        self.hooked, self.lock = False, Lock()
        self.open: list[Offline] = []


_state = _State()


class Offline:
    """In this block no socket of this process may reach beyond this machine.

    `refused` is what wanted to, for those who swallow the error.
    """

    __slots__ = ("refused",)

    def __init__(self) -> None:
        self.refused = list[str]()

    def __enter__(self) -> Self:
        with _state.lock:
            if not _state.hooked:
                sys.addaudithook(_refuse)
                _state.hooked = True
            _state.open.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        with _state.lock:
            _state.open.remove(self)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if _state.open and event in _ASKING:
        place: Any = args[0] if event.startswith("socket.get") else args[1]
        found: Any = place
        host: Any = found[0] if isinstance(place, tuple) and found else found
        if not _near(host):
            told = (
                f"a replay uses no network, and this wants {host!r} ({event}): give the "
                "model to agent_run.adapter(...), or record the test again"
            )
            for replay in [*_state.open]:
                replay.refused.append(told)
            raise PermissionError(told)


def _near(host: Any) -> bool:
    """Whether this is no name or address of another machine."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if not isinstance(host, str) or host in ("", "localhost") or host[0] in "/\0":
        return True  # A socket file, or no address at all.
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
