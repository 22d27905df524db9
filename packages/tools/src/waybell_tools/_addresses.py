"""Which addresses and URLs belong to the public internet."""

import re
from collections.abc import Container
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from waybell_tools._errors import ToolDenied


# https://www.iana.org/assignments/iana-ipv4-special-registry, and what clouds answer
# metadata on. Stated here, since `is_global` differs between versions of Python.
_NOT_PUBLIC_4 = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 "
        "192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 "
        "192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
        "224.0.0.0/3 168.63.129.16/32"
    ).split()
)
_GLOBAL_6 = ip_network("2000::/3")
# https://www.iana.org/assignments/iana-ipv6-special-registry: Teredo and its
# neighbours, documentation, 6to4, AS112.
_NOT_PUBLIC_6 = tuple(
    ip_network(text)
    for text in "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20".split()
)
_MAPPED, _NAT64 = ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96")
_QUAD = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})(?:\.|$)){4}$")
_ISATAP = 0x5EFE  # the identifier of an interface that tunnels to an IPv4 address


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet.

    IPv4 addresses inside mapped and NAT64 ones are judged themselves; other tunnels
    (6to4, Teredo, ISATAP) are refused, and so is what is no address.

    Args:
        text: The address, as `socket.getaddrinfo` gives it.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    tunnel = (int(address) >> 32) & 0xFFFF == _ISATAP
    strange = any(address in network for network in _NOT_PUBLIC_6)
    return address in _GLOBAL_6 and not (tunnel or strange or address.scope_id)


def check_url(url: str, sent: str, ports: Container[int]) -> None:
    """Refuse what does not look like a public page, before its addresses are known.

    Args:
        url: As it was asked for.
        sent: The same, in the form that would be sent.
        ports: Those that are allowed.

    Raises:
        ToolDenied: Its form is refused.
    """
    place = re.match(r"https?://([^/?#]+)", url, re.IGNORECASE)
    parts = urlsplit(sent)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    number = re.search(r"(?:^|\.)(?:\d+|0x[0-9a-f]*)$", host)
    why = (
        "only http and https are allowed" if place is None
        else "spaces, control characters and \\ are refused" if re.search(r"[\x00-\x20\x7f\\]", url)
        else "user names, and % in a host, are refused" if re.search("[@%]", place[1])
        else f"{host} is an odd form of an address" if number and not _QUAD.match(host)
        else "" if port in ports
        else f"port {port} is not allowed"
    )  # fmt: skip
    if why:
        raise ToolDenied(f"{url[:500]}: {why}", tool="http_get")
