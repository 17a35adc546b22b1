"""The folder of a new head, as `ovdiff odise train` and `ovdiff odise convert` write it: what is there is not lost."""

from __future__ import annotations

from pathlib import Path

from backend.errors import UsageError
from ovdiff.errors import WeightsError
from ovdiff.odise.head_file import read_card

DATA, CHECKPOINT = "data", "from"
"""What the card of a head says of its origin: a hash of what it learned from, or the file that was converted."""


def named_folder(out: Path) -> Path:
    """Return the folder of a new head by a path that ends in its name.

    Raises:
        UsageError: it is the root of the disk.
    """
    named = out if out.name not in ("", "..") else out.resolve()
    if not named.name:
        raise UsageError(f"--out {out} is the root of the disk. Give a folder for the head.")
    return named


def require_no_other_head(out: Path, origin: str, value: str) -> None:
    """Refuse to begin where another head is: hours of training would be lost.

    Args:
        out: the folder of the new head.
        origin: what the card says of the new head's origin, `DATA` or `CHECKPOINT`.
        value: that origin.

    Raises:
        UsageError: a head of another origin is there.
    """
    try:
        there = read_card(out).training
    except WeightsError:  # There is none, or none that could be used.
        return
    if there.get(origin) != value:
        raise UsageError(
            f"--out {out} holds a head that was made from something else, and it would be replaced. Give another "
            "folder with --out, or delete that one."
        )
