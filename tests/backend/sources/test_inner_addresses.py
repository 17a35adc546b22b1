import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.sources.inner_addresses import is_inner

SPELLINGS = {
    "mapped": lambda v4: (0xFFFF << 32) | v4,
    "translated": lambda v4: (0xFFFF << 48) | v4,
    "compatible": lambda v4: v4,
    "nat64": lambda v4: (0x64FF9B << 96) | v4,
    "6to4": lambda v4: (0x2002 << 112) | (v4 << 80) | 1,
    "teredo client": lambda v4: (0x2001 << 112) | (0x08080808 << 64) | (v4 ^ 0xFFFFFFFF),
    "teredo server": lambda v4: (0x2001 << 112) | (v4 << 64) | (0x08080808 ^ 0xFFFFFFFF),
    "isatap": lambda v4: (0x2606470000000000 << 64) | (0x5EFE << 32) | v4,
}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",  # metadata of most clouds
        "168.63.129.16",  # and of Azure
        "100.100.100.200",  # and of Alibaba
        "0.0.0.0",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fd00:ec2::254",
        "ff02::1",
        "64:ff9b:1::808:808",
        "100::1",
        "2001:20::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fe80::5efe:808:808",  # ISATAP of a public address, on the local network
    ],
)
def test_inner_addresses_are_known(address: str) -> None:
    assert is_inner(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:80b::200e"])
def test_addresses_of_the_internet_are_not_inner(address: str) -> None:
    assert not is_inner(address)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("v4", "inner"), [("127.0.0.1", True), ("10.0.0.1", True), ("8.8.8.8", False)])
def test_an_ipv4_address_is_known_in_each_spelling(spelling: str, v4: str, inner: bool) -> None:
    number = SPELLINGS[spelling](int(ipaddress.IPv4Address(v4)))
    assert is_inner(str(ipaddress.IPv6Address(number))) is inner


@given(st.sampled_from(sorted(SPELLINGS)), st.ip_addresses(v=4))
def test_no_spelling_makes_an_inner_address_public(spelling: str, v4: ipaddress.IPv4Address) -> None:
    if is_inner(str(v4)):
        assert is_inner(str(ipaddress.IPv6Address(SPELLINGS[spelling](int(v4)))))
