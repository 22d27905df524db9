"""The built-in tool that reads public web pages."""

from collections.abc import Callable, Iterable
from socket import create_connection, socket
from typing import Any

from waybell_tools._addresses import is_public
from waybell_tools._limits import DeadlineLike, positive, seconds_left


def http_get(
    *,
    timeout: float = 20.0,
    max_bytes: int = 2_000_000,
    max_redirects: int = 5,
    ports: Iterable[int] = (80, 443),
    verify: bool | str = True,
    allow: Callable[[str], bool] | None = None,
    resolve: Callable[[str, int], Iterable[str]] | None = None,
    connect: Callable[[tuple[str, int], float], socket] | None = None,
) -> Callable[..., dict[str, Any]]:
    """Make a tool that reads pages at public addresses, and nothing else.

    Every address of a host is checked before each connection, that of a redirect too,
    and the connection goes to an address that was checked. No proxy, cookie, password
    file or other setting of the environment is used.

    Args:
        timeout: Seconds in all: names, connections, redirects and the body.
        max_bytes: Bytes of a body, as sent and as unpacked.
        max_redirects: How many are followed.
        ports: Where it may connect.
        verify: False trusts any certificate; a path names a bundle to trust.
        allow: Decides on an address in place of the built-in rule.
        resolve: Gives the addresses of a host and port in place of the system.
        connect: Opens a connection to an address within seconds, likewise.
    """
    from waybell_tools import _fetch  # noqa: PLC0415 - requests is slow to import

    rules = _fetch.Rules(
        max_bytes=int(positive(max_bytes, "max_bytes")),
        max_redirects=max_redirects,
        ports=frozenset(ports),
        verify=verify,
        allow=allow or is_public,
        resolve=resolve or _fetch.resolve,
        connect=connect or create_connection,
    )
    cap = positive(timeout, "timeout")

    def http_get(url: str, *, deadline: DeadlineLike | None = None) -> dict[str, Any]:
        """Read a public web page: its status, content type, final URL and text.

        Args:
            url: An http or https address.
            deadline: When to stop.
        """
        return _fetch.Fetch(rules, seconds_left(cap, deadline)).get(url)

    return http_get
