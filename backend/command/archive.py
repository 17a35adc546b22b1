"""`ovdiff prototypes export` and `import`: prototype sets with all that belongs to them, as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backend.command.console import say
from backend.command.named_category import curator_of
from backend.command.stored_sets import find_sets
from backend.errors import UsageError
from converters.console import answer
from ovdiff.bank import Bank
from ovdiff.bank.archive import export_bank, import_bank
from ovdiff.engines import SegmentationEngine


def export_prototypes(bank: Bank, path: Path, which: Sequence[str]) -> None:
    """Write sets, their support images and their curations into a file.

    Args:
        bank: the bank.
        path: the file; a file of this name is replaced.
        which: categories or keys; all of the bank if there are none.

    Raises:
        UsageError: a text names no set, or the bank has none.
        BankError: a set cannot be read, or the file cannot be written.
    """
    keys = {item.key for text in which for item in find_sets(bank, text)} if which else set(bank.keys())
    if not keys:
        raise UsageError(f"There are no prototypes in {bank.folder} to export.")
    export_bank(bank, keys, path)
    answer({"file": path, "keys": sorted(keys), "bytes": path.stat().st_size})
    say(f"{path}: {len(keys)} prototype sets, {path.stat().st_size / 1e6:.1f} MB; its LICENCES.txt lists the terms")


def import_prototypes(bank: Bank, path: Path, which: Sequence[str], engine: SegmentationEngine) -> None:
    """Add the sets of a file to a bank, if the engine's preset makes the same of their phrases.

    Args:
        bank: the bank.
        path: the file.
        which: names of categories; all of the file if there are none.
        engine: an engine with the preset that is meant.

    Raises:
        UsageError: the engine has no support sets that people can change.
        BankError: as `import_bank` raises it.
    """
    done = import_bank(path, bank, curator_of(engine).foreign, which)
    answer(done)
    say(f"added: {', '.join(done.added) or 'nothing'}")
    if done.curated:
        say(f"curated as in the file from now on: {', '.join(done.curated)}")
    if done.present:
        say(f"there already, and left as they are: {', '.join(done.present)}")
