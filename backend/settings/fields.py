"""How a setting is declared and checked; each has a unit, a default and the reason for the default.

Tested by tests/backend/settings/test_environment.py.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import field
from typing import TypeVar

from backend.errors import SettingsError

PREFIX = "OVDIFF_"

_NAME = r"[^\s/:*@\[\]]+"
HOST = re.compile(rf"(?:\*\.)?{_NAME}|\[[0-9a-f:.]+\]")
"""A host name, "*." and a domain, or an IPv6 address in brackets."""

HOST_AND_PORT = re.compile(rf"(?:{_NAME}|\[[0-9a-f:.]+\]):(\d{{1,5}})")
"""A host name or an IPv6 address in brackets, with its port."""

T = TypeVar("T")


def setting(default: T, unit: str, reason: str, *, secret: bool = False) -> T:
    """Declare a field with its unit and the reason for its default; a secret stays out of `repr`."""
    return field(default=default, repr=not secret, metadata={"unit": unit, "reason": reason})


def require_between(name: str, value: float, low: float, high: float) -> None:
    """Refuse a value outside its range."""
    if not low <= value <= high:
        raise SettingsError(f"{PREFIX}{name.upper()}={value} is outside {low} to {high}.")


def require_port(entry: str) -> None:
    """Require a host with its port, as in minio.local:9000."""
    found = HOST_AND_PORT.fullmatch(entry)
    if found is None:
        host = entry.rpartition("://")[2].partition("/")[0]
        host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        example = host if ":" in host.rpartition("]")[2] else f"{host or 'minio.local'}:9000"
        raise SettingsError(
            f"OVDIFF_PRIVATE_IMAGE_HOSTS: {entry!r} is no host with its port. Write, for example, {example} with the "
            "port that its addresses show (if they show none: 443 for https, 80 for http)."
        )
    require_between("private_image_hosts", int(found[1]), 1, 65535)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
