"""Which IP addresses lead into a network that is not everybody's: this machine, the local network, a cloud's metadata.

An IPv6 address can be another spelling of an IPv4 one, which a gateway, a tunnel or this machine itself translates:

    ::ffff:a.b.c.d          IPv4-mapped: the system connects to a.b.c.d
    ::ffff:0:a.b.c.d        IPv4-translated (RFC 2765)
    ::a.b.c.d               IPv4-compatible, obsolete
    64:ff9b::a.b.c.d        NAT64 (RFC 6052): what a name server of an IPv6 network answers for every IPv4 host
    2002:aabb:ccdd::/48     6to4
    2001:0::/32             Teredo: an IPv4 server and an IPv4 client
    ...:5efe:a.b.c.d        ISATAP, behind any prefix

Such an address is as inner as each IPv4 address in it; behind ISATAP's prefix, the prefix counts too. The tables are
written out and not left to `ipaddress.is_global` alone, whose own differ between versions of Python.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_EMBEDDED_LAST = tuple(map(IPv6Network, ("::ffff:0:0/96", "::ffff:0:0:0/96", "::/96", "64:ff9b::/96")))
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_GLOBAL_UNICAST = IPv6Network(
    "2000::/3"
)  # nothing else is in use between strangers; fec0::/10 and 64:ff9b:1::/48 are not
_INNER_V4 = tuple(
    map(
        IPv4Network,
        (
            "192.0.0.0/24",  # IETF protocol assignments
            "192.88.99.0/24",  # relays of 6to4
            "168.63.129.16/32",  # what a virtual machine of Azure asks for its settings
        ),
    )
)
_INNER_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments, Teredo included
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)


def is_inner(address: str) -> bool:
    """Return whether an IP address leads into a network that is not everybody's.

    Raises:
        ValueError: the text is no IP address.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, IPv4Address):
        return _is_inner_v4(ip)
    translated = translated_addresses(ip)
    if translated:
        return any(_is_inner_v4(v4) for v4 in translated)
    return _is_inner_v6(ip)


def translated_addresses(ip: IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 address is another spelling of; none for most."""
    number = int(ip)
    if any(ip in network for network in _EMBEDDED_LAST):
        return (_v4(number),)
    if ip in _SIX_TO_FOUR:
        return (_v4(number >> 80),)
    if ip in _TEREDO:
        return _v4(number >> 64), _v4(~number)
    return ()


def _v4(number: int) -> IPv4Address:
    """Return the IPv4 address in the lowest 32 bits of a number."""
    return IPv4Address(number & 0xFFFFFFFF)


def _is_inner_v4(ip: IPv4Address) -> bool:
    return not ip.is_global or ip.is_multicast or any(ip in network for network in _INNER_V4)


def _is_inner_v6(ip: IPv6Address) -> bool:
    number = int(ip)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP and _is_inner_v4(_v4(number)):
        return True
    return ip not in _GLOBAL_UNICAST or any(ip in network for network in _INNER_V6) or not ip.is_global
