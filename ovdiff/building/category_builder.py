"""The building half as a whole: a category becomes a prototype set in the bank.

It never sees the images that will be segmented.

Tested alone by tests/ovdiff/test_halves.py, and through the engine by tests/ovdiff/test_engine.py.
"""

from collections.abc import Callable

from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.bank.recipe import Recipes, library_versions
from ovdiff.bank.support import SupportSet
from ovdiff.bank.support_store import Shelf, SupportStore
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import make_prototype_set, make_support_set, stored_support_set
from ovdiff.errors import BankError
from ovdiff.models.licences import weights_licences
from ovdiff.vocabulary import Category


class CategoryBuilder:
    """Makes prototype sets and stores them. Safe for several threads; the models run under their own lock."""

    def __init__(self, parts: BuildingParts, bank: Bank, recipes: Recipes) -> None:
        """Load no model yet.

        Args:
            parts: the models.
            bank: the store of prototype sets; their support images are stored beside it.
            recipes: the recipes of the same preset.
        """
        self.parts = parts
        self.store = SupportStore(bank.folder / "support")
        self._bank, self._recipes = bank, recipes

    def has(self, category: Category) -> bool:
        """Say whether the bank holds the category's prototypes, and holds them undamaged."""
        return self._bank.has(self._recipes.prototypes(category).key)

    def build(self, category: Category, report: Callable[[str, float], None]) -> None:
        """Make and store the category's prototypes, unless the bank has them.

        Args:
            category: the category to build.
            report: called with the name of the stage and the fraction done.

        Raises:
            VocabularyError: a phrase is longer than the text encoder reads.
            SupportError: no generated image shows the category.
            WeightsError: a model cannot be loaded.
            BankError: the bank cannot be written.
        """
        if not self.has(category):
            recipe, preset = self._recipes.prototypes(category), self.parts.preset
            support = make_support_set(self.parts, recipe.phrases or (), report, self._shelf(category))
            prototypes = make_prototype_set(self.parts, support, report)
            card = Card(
                category.name,
                preset.name,
                image_seeds=tuple(item.seed for item in support.images),
                images_with_foreground=support.with_foreground(),
                refused_images=support.refused,
                support_key=self._recipes.support(category).key,
                licences=weights_licences(preset),
                library_versions=library_versions(),
            )
            self._bank.save(recipe.key, prototypes, card.of_recipe(recipe))
        report("done", 1.0)

    def support_set(self, category: Category) -> SupportSet:
        """Return a category's support images, attribution maps and masks from the store; loads no model.

        Raises:
            BankError: some of them are not stored; the message says what to do.
            WeightsError: a model's files are missing.
        """
        support = stored_support_set(self._shelf(category), self.parts.preset)
        if support is None:
            raise BankError(
                f"The support images of {category.name!r} are not in {self.store.folder}, or not all of them. "
                f"Remove the category's prototypes, if there are any, and build it again."
            )
        return support

    def _shelf(self, category: Category) -> Shelf:
        """Return the shelf of a category's support images and their masks."""
        return self.store.shelf(self._recipes.support(category).key, self._recipes.masks().key)
