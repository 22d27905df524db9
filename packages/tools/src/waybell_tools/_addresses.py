"""Which addresses and URLs belong to the public internet."""

import re
from collections.abc import Container
from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import urlsplit

from waybell_tools._errors import ToolDenied


# https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 neighbour, and
# where clouds answer metadata. Stated here: `is_global` differs between Pythons.
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 "
        "192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 "
        "192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
        "224.0.0.0/3 168.63.129.16/32 "
        # All but 2000::/3; in that Teredo, documentation, 6to4 and AS112.
        "::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 "
        "3fff::/20"
    ).split()
)
_MAPPED, _NAT64 = ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96")
_ISATAP = 0x5EFE  # the identifier of an interface that tunnels to an IPv4 address
_QUAD = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})(?:\.|$)){4}$")


def is_public(text: str) -> bool:
    """Whether an address, as `socket.getaddrinfo` gives it, is one of the public internet.

    IPv4 addresses inside mapped and NAT64 ones are judged themselves; other tunnels
    (6to4, Teredo, ISATAP) are refused, and so is what is no address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address in _MAPPED or address in _NAT64:
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, IPv4Address):
        return True
    return (int(address) >> 32) & 0xFFFF != _ISATAP and not address.scope_id


def check_url(url: str, sent: str, ports: Container[int]) -> None:
    """Refuse, as `ToolDenied`, what does not look like a public page.

    Both what was asked for and the form in which it would be sent are looked at; its
    addresses are not known yet.
    """
    place = re.match(r"https?://([^/?#]+)", url, re.IGNORECASE)
    parts = urlsplit(sent)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    number = re.search(r"(?:^|\.)(?:\d+|0x[0-9a-f]*)$", host) and not _QUAD.match(host)
    faults = {
        "only http and https are allowed": place is None,
        "spaces, control characters and \\ are refused": re.search(r"[\0- \x7f\\]", url),
        "user names, and % in a host, are refused": re.search("[@%]", place[1] if place else ""),
        f"{host} is an odd form of an address": number,
        f"port {port} is not allowed": port not in ports,
    }  # fmt: skip
    for why, found in faults.items():
        if found:
            raise ToolDenied(f"{url[:500]}: {why}", tool="http_get")
