"""How a person names one category of a bank: by its name, by its name with prompts, or by a key that `list` shows."""

from __future__ import annotations

from backend.command.prototypes import read_categories
from backend.command.refusals import cannot
from backend.command.stored_sets import StoredSet, find_sets
from backend.errors import UsageError
from ovdiff.bank import Bank
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.curating import CategoryCurator, Curates
from ovdiff.vocabulary import Category


def curator_of(engine: SegmentationEngine) -> CategoryCurator:
    """Return what changes the curations of an engine's categories.

    Raises:
        UsageError: the engine's support sets cannot be changed.
    """
    if not isinstance(engine, Curates):
        raise cannot(engine, "has no support sets that people can change")
    return engine.curator


def named_category(text: str, bank: Bank, engine: SegmentationEngine) -> Category:
    """Return the category that a person names.

    Args:
        text: "boat", or with prompts "boat=a sailing boat;a ship", or at least six digits of a key. A name alone stands
            for the prompts with which this preset built it, and for itself if it built none.
        bank: the bank of the keys.
        engine: an engine with the preset that is meant.

    Raises:
        UsageError: the text names several categories, or this preset built the name with several sets of prompts.
        VocabularyError: the text is blank.
    """
    curator = curator_of(engine)
    categories = read_categories(text).categories
    if len(categories) > 1:
        raise UsageError(f"{text!r} names {len(categories)} categories; name one.")
    if "=" in text:
        return categories[0]
    found = find_sets(bank, text, missing_ok=True)
    made = [item for item in found if not item.error and curator.is_ours(bank.card(item.key))]
    phrases = list(dict.fromkeys(item.prompts for item in made))
    if len(phrases) > 1 and (plain := Category(text.strip())).phrases not in phrases:
        raise UsageError(
            f"{text!r} was built with several sets of prompts; name one: "
            f"{' or '.join(repr(_with_prompts(plain, each)) for each in phrases)}."
        )
    if not made or len(phrases) > 1:
        return categories[0]
    return _category(made[0])


def _category(item: StoredSet) -> Category:
    return Category(item.category, item.prompts)


def _with_prompts(category: Category, prompts: tuple[str, ...]) -> str:
    return f"{category.name}={';'.join(prompts)}"
