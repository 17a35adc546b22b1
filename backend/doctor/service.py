"""The service itself: is it running at the address of the settings, and ready?"""

from __future__ import annotations

from backend.doctor.asking import Asker
from backend.doctor.findings import Finding
from backend.errors import NoAnswerError
from backend.serving.readiness import LOADING
from backend.settings import ServerSettings

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}


def own_address(server: ServerSettings) -> str:
    """Return the address by which this machine reaches the service."""
    host = _EVERYWHERE.get(server.host) or (f"[{server.host}]" if ":" in server.host else server.host)
    return f"http://{host}:{server.port}"


def check_service(asker: Asker, server: ServerSettings) -> Finding:
    """Ask the service whether it is ready; a service that is not running is no failure of the settings."""
    address = own_address(server)
    try:
        reply = asker.ask_service(f"{address}/ready", server)
    except NoAnswerError as error:
        return Finding("service", "warning", f"nothing runs here: {error}", "Start it: `ovdiff serve`.")
    if reply.is_success and isinstance(reply.body, dict) and reply.body.get("status") == "READY":
        return Finding("service", "ok", f"{address} is ready")
    missing = reply.body.get("missing") if isinstance(reply.body, dict) else None
    if isinstance(missing, dict) and missing and all(reason == LOADING for reason in missing.values()):
        said = f"{address} has just been started: its models are being loaded"
        return Finding("service", "warning", said, "Ask again in a moment.")
    if isinstance(missing, dict) and missing:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        return Finding("service", "failed", f"{address} is not ready: {reasons[:500]}", "Its log says more.")
    advice = "Another program has the port: stop it, or set OVDIFF_PORT."
    return Finding("service", "failed", f"{address}/ready answers {reply.status}, and not as this service does", advice)
