from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waybell_tools._addresses import is_public


PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.0.1",
    "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_let_through(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "text", ["", "example.com", "1.2.3", "08.8.8.8", "::1%lo", "2606:4700::1%eth0"]
)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    assert not is_public(text)


@settings(deadline=None)  # other programs run here too
@given(st.ip_addresses(v=4))
def test_nothing_that_python_calls_private_is_public(address: IPv4Address) -> None:
    odd = address.is_private or address.is_multicast or address.is_reserved
    odd |= address.is_link_local or address.is_loopback or address.is_unspecified
    assert not (odd and is_public(str(address)))


@settings(deadline=None)  # other programs run here too
@given(st.ip_addresses(v=6))
def test_nothing_that_python_calls_private_is_public_in_ipv6(
    address: IPv6Address,
) -> None:
    odd = address.is_private or address.is_multicast or address.is_link_local
    odd |= address.is_site_local or not address.is_global
    nat64 = address in ip_network("64:ff9b::/96") or address.ipv4_mapped
    assert nat64 or not (odd and is_public(str(address)))


@settings(deadline=None)  # other programs run here too
@given(st.sampled_from(["127.0.0.0/8", "10.0.0.0/8", "169.254.0.0/16"]).flatmap(
    lambda net: st.ip_addresses(network=net)
))  # fmt: skip
def test_a_private_address_hides_in_no_ipv6_form(inner: IPv4Address) -> None:
    number = int(inner)
    forms = [
        number,  # compatible
        0xFFFF << 32 | number,  # mapped
        0x64FF9B << 96 | number,  # NAT64
        0x2002 << 112 | number << 80,  # 6to4
        0x20010000 << 96 | number << 64,  # Teredo's server
        0x20010000 << 96 | (number ^ 0xFFFFFFFF),  # Teredo's client
        0x26064700 << 96 | 0x5EFE << 32 | number,  # ISATAP
    ]
    assert not [
        str(ip_address(form))
        for form in map(IPv6Address, forms)
        if is_public(str(form))
    ]
