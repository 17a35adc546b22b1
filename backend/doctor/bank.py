"""The bank, where it is in a storage: it can be read and written, and leases hold there."""

from __future__ import annotations

import secrets

from backend.doctor.findings import Finding
from backend.settings import Settings
from ovdiff.errors import MissingExtraError, StorageError
from ovdiff.storage import place
from ovdiff.storage.conditional import create, replace

_PATIENCE_S = 2.0


def check_bank(settings: Settings) -> Finding:
    """Write a small file beside the bank's leases, ask for what must be refused, and delete the file."""
    advice = "docs/storage.md says which permissions a bank needs, and by which settings its storage is asked."
    try:
        path = place(settings.bank, _PATIENCE_S) / f"leases/doctor-{secrets.token_hex(8)}.lease"
        version = create(path, b"1")
        try:
            again, other = create(path, b"2"), replace(path, b"3", f"{version}-other")
        finally:
            path.unlink(missing_ok=True)
    except (StorageError, MissingExtraError, OSError) as error:
        return Finding("bank", "failed", f"{settings.bank} cannot be used: {error}", advice)
    if version is None or again is not None or other is not None:
        return Finding(
            "bank",
            "warning",
            f"{settings.bank} can be written; its storage knows no conditional puts",
            "Two machines may build the same label in the same moment: that costs time and harms nothing.",
        )
    return Finding("bank", "ok", f"{settings.bank} can be written, and leases hold there")
