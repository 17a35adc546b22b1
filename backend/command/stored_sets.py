"""The prototype sets of a bank as a person sees them, and how one is named. Loads no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backend.errors import UsageError
from ovdiff.bank import Bank
from ovdiff.errors import BankError

KEY_DIGITS = 12
"""How much of a key is shown; enough to name it."""

_LEAST_DIGITS = 6  # that name a key: "bee" and "face" are words


@dataclass(frozen=True)
class StoredSet:
    """A prototype set as its card tells; of one whose card is damaged only `key`, `size_bytes` and `error` are known.

    Attributes:
        key: its content address.
        category: under which it was first built; another one with the same prompts shares it.
        prompts: what was drawn.
        preset: the name of the preset that it was built with; another one that draws and extracts alike shares it.
        models: the source of each model of the preset, by its role.
        images: support images.
        images_with_foreground: those of them that show the category.
        refused_images: drawn, but unfit to be looked at.
        size_bytes: on disk, without the support images.
        support_key: names its support images; "" if they were not kept.
        error: what is wrong with it.
    """

    key: str
    category: str = ""
    prompts: tuple[str, ...] = ()
    preset: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    images_with_foreground: int = 0
    refused_images: int = 0
    size_bytes: int = 0
    support_key: str = ""
    error: str = ""

    @property
    def short_key(self) -> str:
        """The key as it is shown."""
        return self.key[:KEY_DIGITS]

    @property
    def label(self) -> str:
        """Key and category in one."""
        return f"{self.short_key} ({self.category or 'damaged'})"


def stored_sets(bank: Bank) -> tuple[StoredSet, ...]:
    """Return all sets of a bank, sorted by category."""
    keys = bank.keys()
    return tuple(sorted((_stored_set(bank, key) for key in keys), key=lambda item: (item.category, item.key)))


def find_sets(bank: Bank, text: str) -> tuple[StoredSet, ...]:
    """Return the sets that a person means by a category, or by a key or its first six digits or more.

    A category may have several sets, of other prompts or another preset.

    Raises:
        UsageError: there is none; or the text begins several keys, or a key and is a category too.
    """
    wanted = text.strip().casefold()
    stored = stored_sets(bank)
    named = tuple(item for item in stored if wanted and item.category.casefold() == wanted)
    keyed = tuple(item for item in stored if len(wanted) >= _LEAST_DIGITS and item.key.startswith(wanted))
    if not named and not keyed:
        raise UsageError(f"No prototypes of {text!r} in {bank.folder}; `ovdiff prototypes list` lists what is there.")
    if len(keyed) > 1 or (named and keyed):
        listed = ", ".join(dict.fromkeys(item.label for item in (*named, *keyed)))
        raise UsageError(f"{text!r} may be any of {listed}; give more digits of the key.")
    return named or keyed


def _stored_set(bank: Bank, key: str) -> StoredSet:
    size_bytes = sum(path.stat().st_size for path in bank.folder.glob(f"{key}.*"))
    try:
        card = bank.card(key)
    except BankError as error:
        return StoredSet(key, size_bytes=size_bytes, error=str(error))
    return StoredSet(
        key,
        category=str(card.get("category", "")),
        prompts=tuple(map(str, card.get("phrases", ()))),
        preset=str(card.get("preset", "")),
        models={str(entry["model"]): str(entry["source"]) for entry in card.get("licences", ())},
        images=len(card.get("image_seeds", ())),
        images_with_foreground=int(card.get("images_with_foreground", 0)),
        refused_images=int(card.get("refused_images", 0)),
        size_bytes=size_bytes,
        support_key=str(card.get("support_key", "")),
    )
