"""Label Studio itself: does it answer at the address, does it take the token, and what does its clock say?"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime

from backend.doctor.asking import Asker, Reply
from backend.doctor.findings import Finding
from backend.errors import LabelStudioAPIError, NoAnswerError
from backend.sources.label_studio import TOKEN_ADVICE, TokenKind

URL_ADVICE = "Start Label Studio, or set LABEL_STUDIO_URL to the address that a browser on this machine opens it by."
WRITTEN_FOR = "1.23"
LARGE_SKEW_S, FATAL_SKEW_S = 60.0, 900.0
"""Storages refuse presigned links when the clocks differ by a quarter of an hour; a minute is no accident either."""

_KIND: dict[TokenKind, str] = {"legacy": "a legacy token", "personal": "a personal access token"}
_LEGACY_ADVICE = (
    "Make a personal access token under Account & Settings and set LABEL_STUDIO_API_KEY to it, or let the owner of "
    "the organisation allow legacy tokens (Organization, API Tokens Settings)."
)
_PERSONAL_ADVICE = "It has expired, was revoked or is of another Label Studio: make a new one under Account & Settings."


def check_address(asker: Asker) -> tuple[Finding, Reply | None]:
    """Look whether Label Studio answers, and return its answer for the clock."""
    url = asker.client.base_url
    try:
        reply = asker.ask("/health", token=False)
    except (NoAnswerError, LabelStudioAPIError) as error:
        return Finding("Label Studio", "failed", str(error), URL_ADVICE), None
    if reply.is_success and isinstance(reply.body, dict) and reply.body.get("status") == "UP":
        return Finding("Label Studio", "ok", f"{url} answers"), reply
    if 300 <= reply.status < 400:
        advice = "Set LABEL_STUDIO_URL to the address that it redirects to; http instead of https is a usual reason."
        return Finding("Label Studio", "failed", f"{url} redirects ({reply.status})", advice), None
    said = f"{url}/health answers {reply.status}, and not as Label Studio does"
    return Finding("Label Studio", "failed", said, URL_ADVICE), None


def check_token(asker: Asker) -> Finding:
    """Look whether Label Studio takes the token, and whose it is; a personal access token is exchanged first."""
    kind = asker.client.token_kind
    if kind is None:
        return Finding("token", "failed", "LABEL_STUDIO_API_KEY is not set", TOKEN_ADVICE)
    try:
        reply = asker.ask("/api/current-user/whoami")
    except LabelStudioAPIError as error:
        advice = _PERSONAL_ADVICE if "refused the token" in str(error) else ""
        return Finding("token", "failed", f"{_KIND[kind]} cannot be exchanged: {error}", advice)
    if reply.is_success and isinstance(reply.body, dict) and "email" in reply.body:
        return Finding("token", "ok", f"{_KIND[kind]} of {str(reply.body['email'])[:100]}")
    if reply.status in (401, 403):
        advice = _LEGACY_ADVICE if kind == "legacy" else _PERSONAL_ADVICE
        said = f", saying {reply.detail!r}" if reply.detail else ""
        return Finding("token", "failed", f"Label Studio refuses {_KIND[kind]} ({reply.status}{said})", advice)
    return Finding("token", "failed", f"/api/current-user/whoami answers {reply.status}, and no person", URL_ADVICE)


def check_version(asker: Asker) -> Finding:
    """Say which version of Label Studio answers, and whether this package was written for it."""
    reply = asker.ask("/api/version")
    release = str(reply.body.get("release", ""))[:40] if isinstance(reply.body, dict) else ""
    if not release:
        return Finding("version", "warning", "Label Studio does not tell its version", "")
    if release == WRITTEN_FOR or release.startswith(f"{WRITTEN_FOR}."):
        return Finding("version", "ok", f"Label Studio {release}")
    advice = (
        f"This backend was written for Label Studio {WRITTEN_FOR}; look at the other findings before you rely on it."
    )
    return Finding("version", "warning", f"Label Studio {release}", advice)


def check_clock(reply: Reply, now_s: Callable[[], float] = time.time) -> Finding:
    """Hold this machine's clock against Label Studio's, which is in each of its answers."""
    try:
        theirs: datetime = parsedate_to_datetime(reply.date)
    except (ValueError, OverflowError):  # the second for a year beyond counting
        return Finding("clock", "skipped", "Label Studio's answer tells no time")
    skew_s = now_s() - theirs.timestamp()
    found = f"this machine is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} Label Studio"
    if abs(skew_s) < LARGE_SKEW_S:
        return Finding("clock", "ok", found)
    advice = (
        "Synchronise both clocks (NTP): storages refuse presigned links, and access tokens end at the wrong moment."
    )
    return Finding("clock", "failed" if abs(skew_s) >= FATAL_SKEW_S else "warning", found, advice)
