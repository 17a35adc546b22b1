"""`ovdiff prototypes show`: a sheet of the support images of a category's prototypes. Loads no model."""

from __future__ import annotations

import re
from pathlib import Path

from backend.command.console import say
from backend.command.files import write_png
from backend.command.stored_sets import StoredSet, find_sets
from backend.command.support_sheet import draw_support_sheet
from backend.errors import UsageError
from ovdiff.bank import Bank
from ovdiff.bank.support import SupportSet
from ovdiff.engines import HasSupportSets, SegmentationEngine
from ovdiff.vocabulary import Category


def show_prototypes(bank: Bank, which: str, engine: SegmentationEngine, out: Path | None) -> None:
    """Write a sheet of a set's support images, attribution, foreground and background, and print its path.

    Args:
        bank: the bank that holds the set.
        which: the category or the key of the set.
        engine: an engine with the preset that the set was made with.
        out: the PNG file to write; None means CATEGORY.support.png in the current folder.

    Raises:
        UsageError: there is no such set, it was made with another preset, or `out` is not the name of a PNG file.
        BankError: the support images of the set were not kept.
        RequestError: the sheet cannot be written.
    """
    if not isinstance(engine, HasSupportSets):
        raise UsageError(f"The engine {engine.preset.engine!r} keeps no support images, so there is nothing to show.")
    if out is not None and (out.suffix.lower() != ".png" or out.is_dir()):
        raise UsageError(f"--out is {str(out)!r}; expected the name of a file that ends in .png.")
    item = _made_by(engine, find_sets(bank, which))
    support = engine.support_set(_category(item))
    sheet = draw_support_sheet(support, _title(item, support), _captions(support))
    path = out or Path(f"{_file_name(item.category)}.support.png")
    write_png(sheet, path)
    say(f"sheet: {path}")


def _made_by(engine: SegmentationEngine, found: tuple[StoredSet, ...]) -> StoredSet:
    """Return the set that the engine's preset made; the support images of a set are found only with its own preset."""
    for item in found:
        if item.error:
            raise UsageError(f"{item.short_key}: {item.error}")
        if engine.category_key(_category(item)) == item.key:
            return item
    raise UsageError(
        f"{', '.join(item.label for item in found)}: made with another preset than this one; name that with --preset."
    )


def _category(item: StoredSet) -> Category:
    return Category(item.category, item.prompts)


def _title(item: StoredSet, support: SupportSet) -> str:
    count = f"{len(support.images)} images, {support.with_foreground()} with a foreground, {support.refused} refused"
    prompts = [f"prompt {number}: {text}" for text, number in _prompt_numbers(support).items()]
    return "\n".join([f"{item.category}, {item.short_key}: {count}", *prompts])


def _captions(support: SupportSet) -> list[str]:
    """Return the caption of each image: the number of its prompt, and its seed."""
    numbers = _prompt_numbers(support)
    return [f"prompt {numbers[item.prompt]}, seed\n{item.seed}" for item in support.images]


def _prompt_numbers(support: SupportSet) -> dict[str, int]:
    return {text: number for number, text in enumerate(dict.fromkeys(item.prompt for item in support.images), start=1)}


def _file_name(category: str) -> str:
    return re.sub(r"[^\w-]+", "_", category).strip("_") or "category"
