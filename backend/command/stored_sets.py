"""The prototype sets of a bank, described for a person, and how a person names one of them. Loads no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backend.errors import UsageError
from ovdiff.bank import Bank
from ovdiff.bank.judgement import Judgement, word_state
from ovdiff.curation.curation import identity_summary
from ovdiff.errors import BankError

KEY_DIGITS = 12
"""How many digits of a key are shown; they are enough to name the set."""

_LEAST_DIGITS = 6  # of a key that names a set; shorter texts such as "bee" and "face" are words


@dataclass(frozen=True)
class StoredSet:
    """A prototype set as its card describes it. Of a damaged card only `key`, `size_bytes` and `error` are filled.

    Attributes:
        key: the content address of the set.
        category: the category for which the set was first built; a category with the same prompts shares the set.
        prompts: the phrases that were drawn.
        preset: the preset with which the set was first built; a preset that draws and extracts alike shares the set.
        models: the source of each model of the preset, by the role of the model.
        images: how many support images the set was made from.
        images_with_foreground: how many of the support images show the category.
        refused_images: how many images were drawn and then refused as unfit to be looked at.
        size_bytes: size of the set on disk, without its support images.
        support_key: the key of the support images; "" if they were not kept.
        word: whether the generator knows the word: "known", "doubtful" or "not judged".
        curation: what people had changed of the support set, such as "2 rejected"; "" if nothing.
        judgement: how well CLIP agrees that the support images show the word; None if that was not judged.
        error: what is wrong with the set; "" if it can be read.
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
    word: str = word_state(None)
    curation: str = ""
    judgement: Judgement | None = None
    error: str = ""

    @property
    def short_key(self) -> str:
        """The first digits of the key, as a person sees it."""
        return self.key[:KEY_DIGITS]

    @property
    def label(self) -> str:
        """The short key with the category in brackets."""
        return f"{self.short_key} ({self.category or 'damaged'})"


def stored_sets(bank: Bank) -> tuple[StoredSet, ...]:
    """Return all sets of a bank, sorted by category."""
    keys = bank.keys()
    return tuple(sorted((_stored_set(bank, key) for key in keys), key=lambda item: (item.category, item.key)))


def find_sets(bank: Bank, text: str, *, missing_ok: bool = False) -> tuple[StoredSet, ...]:
    """Return the sets that a person names by a category, or by at least the first six digits of a key.

    A category may have several sets: one for each combination of prompts, preset and curation.

    Raises:
        UsageError: the text names no set, unless that is allowed (`missing_ok`); or several keys begin with it; or it
            names a category and begins a key too.
    """
    wanted = text.strip().casefold()
    stored = stored_sets(bank)
    named = tuple(item for item in stored if wanted and item.category.casefold() == wanted)
    keyed = tuple(item for item in stored if len(wanted) >= _LEAST_DIGITS and item.key.startswith(wanted))
    if not named and not keyed and not missing_ok:
        raise UsageError(f"No prototypes of {text!r} in {bank.folder}; `ovdiff prototypes list` lists what is there.")
    if len(keyed) > 1 or (named and keyed):
        listed = ", ".join(dict.fromkeys(item.label for item in (*named, *keyed)))
        raise UsageError(f"{text!r} may be any of {listed}; give more digits of the key.")
    return named or keyed


def _stored_set(bank: Bank, key: str) -> StoredSet:
    size_bytes = bank.size_bytes(key)
    try:
        card = bank.card(key)
    except BankError as error:
        return StoredSet(key, size_bytes=size_bytes, error=str(error))
    return StoredSet(
        key,
        category=card.category,
        prompts=card.phrases,
        preset=card.preset,
        models={entry.model: entry.source for entry in card.licences},
        images=len(card.image_seeds) + len(card.curation.get("exemplars", ())),
        images_with_foreground=card.images_with_foreground,
        refused_images=card.refused_images,
        size_bytes=size_bytes,
        support_key=card.support_key,
        word=word_state(card.judgement),
        curation=identity_summary(card.curation),
        judgement=card.judgement,
    )
