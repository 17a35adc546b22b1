"""What prototypes were made of: support images with their foreground, and the places of a part, found anew."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.prototypes import FeatureSpacePrototypes
from ovdiff.bank.recipe import Recipes
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.building.part_places import PartMap, part_places
from ovdiff.errors import BankError
from ovdiff.explaining.explanation import Prototype, Source, SupportPlace
from ovdiff.vocabulary import Category


class Sources:
    """Finds what prototypes were made of. Support sets are read once a category, and features made once a space."""

    def __init__(self, builder: CategoryBuilder, bank: Bank, recipes: Recipes, categories: Sequence[Category]) -> None:
        """Read nothing yet.

        Args:
            builder: the half that builds.
            bank: the store of prototype sets.
            recipes: the recipes of the same preset.
            categories: the categories that compete; their names are those of the prototypes.
        """
        self._builder, self._bank, self._recipes = builder, bank, recipes
        self._categories: Mapping[str, Category] = {category.name: category for category in categories}
        self.support: dict[str, SupportSet] = {}
        """The support sets that were read, by category."""
        self._missing: dict[str, str] = {}
        self._parts: dict[tuple[str, str], list[tuple[PartMap, PartMap]]] = {}

    def of(self, prototype: Prototype) -> Source:
        """Return what a prototype was made of; if that is not stored any more, the reason.

        Cost: a pass of the extractor over a category's support images, for the first part prototype of each space.

        Raises:
            BankCorruptError: the stored prototypes are damaged.
            WeightsError: the extractor's model cannot be loaded.
            DeviceMemoryError: not even one image fits into the device's memory.
        """
        support = self._support(prototype.category)
        if support is None:
            return Source(prototype, (), self._missing[prototype.category])
        if prototype.image is not None and prototype.image >= len(support.images):
            return Source(prototype, (), f"Its image {prototype.image} is not among the stored support images.")
        places = self._places(prototype, support)
        missing = "" if places else "No cell of the stored support images is nearest to it: they are not its own."
        return Source(prototype, places, missing)

    def _places(self, prototype: Prototype, support: SupportSet) -> tuple[SupportPlace, ...]:
        if prototype.image is not None:
            return (SupportPlace(prototype.image, _side(support.images[prototype.image], prototype)),)
        if prototype.kind == "part":
            index = ("foreground", "background").index(prototype.side)
            cells = [maps[index] == prototype.number for maps in self._part_maps(prototype, support)]
        else:
            cells = [_side(image, prototype) for image in support.images if image.foreground.any()]
        found = [SupportPlace(image, each) for image, each in enumerate(cells) if each.any()]
        return tuple(sorted(found, key=lambda place: -float(np.mean(place.cells))))

    def _part_maps(self, prototype: Prototype, support: SupportSet) -> list[tuple[PartMap, PartMap]]:
        space = prototype.category, prototype.extractor
        if space not in self._parts:
            self._parts[space] = part_places(
                self._builder.parts, prototype.extractor, support.images, self._stored(*space)
            )
        return self._parts[space]

    def _stored(self, category: str, extractor: str) -> FeatureSpacePrototypes:
        return self._bank.load(self._recipes.prototypes(self._categories[category]).key).spaces[extractor]

    def _support(self, category: str) -> SupportSet | None:
        if category not in self.support and category not in self._missing:
            try:
                self.support[category] = self._builder.support_set(self._categories[category])
            except BankError as error:
                self._missing[category] = f"Its support images cannot be shown. {error}"
        return self.support.get(category)


def _side(image: SupportImage, prototype: Prototype) -> NDArray[np.bool_]:
    return image.foreground if prototype.side == "foreground" else image.background
