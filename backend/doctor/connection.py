"""A project and this backend: are they connected, may Label Studio call it, and does the webhook tell it of changes?

Label Studio refuses addresses inside a network by default, and says so only when a backend is connected. So where no
backend is connected, it is asked to connect this one with a field that is no number: the address is judged first, and
nothing is created whatever the answer is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from backend.doctor.asking import Asker, Reply
from backend.doctor.findings import Finding
from backend.settings import ServerSettings
from backend.sources.web_url import WebUrl

STATE_WITHIN_S = 30.0
"""Label Studio asks each backend of the project before it answers: 3 s for /setup, and three times 1 s for /health."""

CONNECTED = "CO"
VERSION_BEGINS = "ovdiff-"
NO_NUMBER = "a question of `ovdiff doctor`, which connects nothing"

CONNECT_ADVICE = "Connect it: in the project, Settings, Model, Connect model, with the URL {url}."
ADDRESS_ADVICE = (
    "Label Studio refuses addresses inside a network: start it with ML_BLOCK_LOCAL_IP=false and "
    "SSRF_PROTECTION_ENABLED=false (only on a network that you trust), then connect again."
)
DOTLESS_ADVICE = (
    "Label Studio makes no webhook for the name {host!r}, which has no dot: connect the backend by an IP address, or "
    "by a name with a dot, such as {host}.internal."
)
WEBHOOK_ADVICE = (
    "Set SSRF_PROTECTION_ENABLED=false for Label Studio, remove the model in the project's settings and connect it "
    "again; or add a webhook for {url} under Settings, Webhooks."
)


@dataclass(frozen=True)
class Ours:
    """The backend as a project knows it: its URL, and whether it is the project's first."""

    url: str
    is_first: bool
    row: dict[str, Any]


def check_connection(
    asker: Asker, project: int, address: str, server: ServerSettings, *, is_wanted: bool
) -> tuple[Finding, str | None]:
    """Look whether this backend is connected to a project, and return the URL by which it is.

    Args:
        asker: asks Label Studio, which asks the backend for its state meanwhile.
        project: the project's number.
        address: by which Label Studio reaches this backend, as far as that is known.
        server: the settings, for the port and the password.
        is_wanted: whether it is a failure that it is not connected; else the finding says nothing of the project.
    """
    name = f"project {project}: connection"
    reply = asker.ask("/api/ml", {"project": project}, within_s=STATE_WITHIN_S)
    if not reply.is_success or not isinstance(reply.body, list):
        return Finding(name, "failed", f"/api/ml answers {reply.status}. {reply.detail}".rstrip()), None
    ours = find_ours(reply.objects(), address)
    if ours is None and not is_wanted:
        return Finding(name, "skipped", "this backend is not connected to it"), None
    if ours is None:
        return _not_connected(asker, name, project, address, reply.objects()), None
    return _state(name, ours, server), ours.url


def find_ours(rows: list[dict[str, Any]], address: str) -> Ours | None:
    """Return the row of this backend among a project's: by its address, else its port, else its version.

    A port says little alone, and 9090 is the port of every backend: what answers there must not have another's version.
    """
    urls = [str(row.get("url", "")) for row in rows]
    versions = [str(row.get("model_version") or "") for row in rows]
    for is_ours in (
        [_same(url, address) for url in urls],
        [
            _port(url) == _port(address) and (not version or version.startswith(VERSION_BEGINS))
            for url, version in zip(urls, versions, strict=True)
        ],
        [version.startswith(VERSION_BEGINS) for version in versions],
    ):
        if any(is_ours):
            index = is_ours.index(True)
            return Ours(shown(urls[index]), index == 0, rows[index])
    return None


def check_webhook(asker: Asker, project: int, url: str) -> Finding:
    """Look for the webhook by which a project tells this backend of its changes."""
    name = f"project {project}: webhook"
    reply = asker.ask("/api/webhooks/", {"project": project})
    if not reply.is_success:
        return Finding(name, "failed", f"/api/webhooks/ answers {reply.status}. {reply.detail}".rstrip())
    wanted = f"{url.rstrip('/')}/webhook"
    found = [row for row in reply.objects() if _same(str(row.get("url", "")), wanted)]
    if any(row.get("is_active") for row in found):
        return Finding(name, "ok", f"{shown(wanted)} is told of changes")
    what = "is switched off" if found else "is missing"
    said = f"the webhook for {shown(wanted)} {what}: label edits and annotations are noticed late"
    host = urlsplit(wanted).hostname or ""
    if "." in host or ":" in host or host == "localhost":
        return Finding(name, "warning", said, WEBHOOK_ADVICE.format(url=shown(wanted)))
    return Finding(name, "warning", said, DOTLESS_ADVICE.format(host=host))


def shown(url: str) -> str:
    """Return a URL without a query, a user or a password."""
    try:
        return WebUrl.parse(url).shown.rstrip("/")
    except ValueError:
        return "an address that is no URL"


def _others(rows: list[dict[str, Any]], address: str) -> str:
    for row in rows:
        url, version = str(row.get("url", "")), str(row.get("model_version") or "")[:60]
        if _port(url) == _port(address):
            return f"another backend has its port: {shown(url)}, version {version}"
    return "1 other is" if len(rows) == 1 else f"{len(rows)} others are"


def _not_connected(asker: Asker, name: str, project: int, address: str, rows: list[dict[str, Any]]) -> Finding:
    besides = f" ({_others(rows, address)})" if rows else ""
    said = f"this backend is not connected{besides}"
    body = {"url": address, "project": project, "timeout": NO_NUMBER}
    if _refuses_address(asker.ask("/api/ml", body=body)):
        return Finding(name, "failed", f"{said}, and Label Studio refuses {shown(address)}", ADDRESS_ADVICE)
    return Finding(name, "failed", said, CONNECT_ADVICE.format(url=shown(address)))


def _refuses_address(reply: Reply) -> bool:
    return reply.status == 403 and "reserved network" in reply.detail


def _state(name: str, ours: Ours, server: ServerSettings) -> Finding:
    row = ours.row
    if row.get("state") != CONNECTED:
        reason = " ".join(str(row.get("error_message") or "").split())[:300]
        said = f"Label Studio says of {ours.url}: {row.get('readable_state', 'unknown')}. {reason}".rstrip()
        if server.requires_password and row.get("auth_method") != "BASIC_AUTH":
            advice = "Enter OVDIFF_BASIC_USER and its password in the project's Settings, Model, Edit."
        else:
            advice = f"See that `ovdiff serve` runs, and that {ours.url} is its address for Label Studio's machine."
        return Finding(name, "failed", said, advice)
    if not ours.is_first:
        advice = "Label Studio asks the first backend of a project alone: remove the others, or connect this one first."
        return Finding(name, "warning", f"{ours.url} is connected, but is not the project's first backend", advice)
    version = str(row.get("model_version") or "")[:60]
    return Finding(name, "ok", f"{ours.url} is connected, and Label Studio may call it; version {version}")


def _same(url: str, other: str) -> bool:
    try:
        one, two = WebUrl.parse(url), WebUrl.parse(other)
    except ValueError:
        return False
    return (one.origin, one.path.rstrip("/")) == (two.origin, two.path.rstrip("/"))


def _port(url: str) -> int:
    try:
        return WebUrl.parse(url).port
    except ValueError:
        return 0
