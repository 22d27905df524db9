"""No network while a run is replayed: who goes past the recorded models is told."""

import sys
from functools import cache
from ipaddress import ip_address
from threading import Lock
from typing import Any, Self


_ASKING = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}  # fmt: skip
_lock = Lock()
_open: "list[Offline]" = []  # the replays that go on


@cache
def _hook() -> None:
    """Watch sockets: for good, since no such hook can be taken away, but idle."""
    sys.addaudithook(_refuse)


class Offline:
    """In this block no socket of this process may reach beyond this machine.

    `refused` is what wanted to, for those who swallow the error.
    """

    __slots__ = ("refused",)

    def __init__(self) -> None:
        self.refused = list[str]()

    def __enter__(self) -> Self:
        with _lock:
            _hook()
            _open.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            _open.remove(self)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if _open and event in _ASKING:
        place: Any = args[0] if event.startswith("socket.get") else args[1]
        found: Any = place
        host: Any = found[0] if isinstance(place, tuple) and found else found
        if not _near(host):
            told = (
                f"a replay uses no network, and this wants {host!r} ({event}): give the "
                "model to agent_run.adapter(...), or record the test again"
            )
            for replay in [*_open]:
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
