"""Changes of what a word means: images are rejected, exemplars added, background banned or promoted.

Every change is checked against what is stored, written into the category's curation, and can be undone. Nothing is
built here: the changed curation gives the category another key, and its next build extracts features and draws nothing.
Only :meth:`Curator.backgrounds`, and what needs its numbers, runs models.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.card import Card
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.curation.curation import Curation, Exemplar
from ovdiff.curation.exemplars import cut_exemplar, exemplar_to_pictures
from ovdiff.errors import ImageError, SupportError
from ovdiff.vocabulary import Category


class Curator:
    """Changes the curations of one preset's categories. Safe for several threads and processes."""

    def __init__(self, builder: CategoryBuilder, today: Callable[[], date] = date.today) -> None:
        """Remember who builds, and how to ask for the day, which is noted beside each change."""
        self._builder, self._today = builder, today
        self._recipes, self._curations = builder.recipes, builder.curations
        self._preset = builder.parts.preset

    def curation(self, category: Category) -> Curation:
        """Return what people changed of a category's support set.

        Raises:
            BankError: the curation's file cannot be read.
            WeightsError: a model's files are missing.
        """
        return self._recipes.curation(category)

    def is_ours(self, card: Card) -> bool:
        """Say whether this preset made the prototype set of a card, whatever the curation now is.

        Raises:
            WeightsError: a model's files are missing.
        """
        return bool(card.phrases) and self._recipes.curated(card.phrases, card.curation).key == card.key

    def reject(self, category: Category, numbers: Collection[int], why: str = "") -> Curation:
        """Leave drawn images out of a category's support set, and return the new curation. The images are kept.

        Raises:
            SupportError: there is no drawn image of such a number; the message names those that there are.
            BankError: the curation cannot be read or written.
        """
        present = self._drawn_numbers(category)
        if wrong := sorted(set(numbers) - set(present)):
            there = f"there are {_listed(present)}" if present else "none are stored: build the category first"
            raise SupportError(
                f"{category.name!r} has no drawn image {wrong[0]}; {there}. Exemplars are taken out by remove-exemplar."
            )
        return self._change(category, lambda now: now.rejecting(numbers, why, self._day()))

    def restore(self, category: Category, numbers: Collection[int]) -> Curation:
        """Take rejected images back into a category's support set, and return the new curation.

        Raises:
            SupportError: one of them is not rejected; the message names those that are.
            BankError: the curation cannot be read or written.
        """

        def restored(now: Curation) -> Curation:
            if wrong := sorted(set(numbers) - now.rejected_numbers()):
                are = f"rejected are {_listed(sorted(now.rejected_numbers()))}" if now.rejected else "none are"
                raise SupportError(f"Image {wrong[0]} of {category.name!r} is not rejected; {are}.")
            return now.restoring(numbers)

        return self._change(category, restored)

    def draw(self, category: Category, *, draw: bool) -> Curation:
        """Say whether a category's images are drawn at all, or it is made of its exemplars alone.

        Raises:
            SupportError: nothing shall be drawn, and there are no exemplars.
            BankError: the curation cannot be read or written.
        """

        def changed(now: Curation) -> Curation:
            if not draw and not now.exemplars:
                raise SupportError(f"{category.name!r} has no exemplars to be made of; add one first.")
            return replace(now, draw=draw)

        return self._change(category, changed)

    def add_exemplar(
        self,
        category: Category,
        image: NDArray[np.uint8],
        mask: NDArray[np.bool_],
        name: str,
        source: str = "",
        *,
        alone: bool = False,
    ) -> Curation:
        """Add an image of the user's own to a category's support set, and return the new curation.

        A square around the object is kept, of the size of support images (:mod:`ovdiff.curation.exemplars`).

        Args:
            category: the category that it shows.
            image: (H, W, 3) uint8 RGB, upright.
            mask: (H, W) bool, true where the object is.
            name: how people will call it, such as the name of its file.
            source: where it is from, if the name does not tell.
            alone: draw nothing for this category: it is made of exemplars alone.

        Raises:
            ImageError: the mask is of another size than the image, or has no object that can be seen.
            BankError: the picture or the curation cannot be written.
        """
        try:
            cut = cut_exemplar(image, mask, self._preset.generation.size_px)
        except ImageError as error:
            raise ImageError(f"The exemplar {name!r} of {category.name!r}: {error}") from error
        address = self._curations.pictures.keep(exemplar_to_pictures(cut))
        exemplar = Exemplar(address, name, source, self._day())
        return self._change(category, lambda now: replace(now.adding(exemplar), draw=now.draw and not alone))

    def remove_exemplar(self, category: Category, which: str) -> Curation:
        """Take an exemplar out of a category's support set, and return the new curation. Its picture is kept.

        Args:
            category: the category.
            which: the exemplar's name, or the first digits of its address.

        Raises:
            SupportError: there is no such exemplar, or several; the message names them.
            BankError: the curation cannot be read or written.
        """

        def removed(now: Curation) -> Curation:
            fitting = [each for each in now.exemplars if which and which in (each.name, each.pictures[: len(which)])]
            if len(fitting) == 1:
                return now.without_exemplar(fitting[0])
            there = ", ".join(f"{each.name} ({each.pictures[:12]})" for each in (fitting or now.exemplars)) or "none"
            many = f"several exemplars {which!r}, name one by its digits" if fitting else f"no exemplar {which!r}"
            raise SupportError(f"{category.name!r} has {many}; there are: {there}.")

        return self._change(category, removed)

    def _drawn_numbers(self, category: Category) -> list[int]:
        batches = self._builder.shelf(category).batches()
        return sorted(item.number for batch in batches for item in batch.images)

    def _change(self, category: Category, changed: Callable[[Curation], Curation]) -> Curation:
        """Change a category's curation; what is noted for people is filled in when it is begun."""
        recipe = self._recipes.support(category)

        def begun(now: Curation) -> Curation:
            new = changed(now)
            if new.category:
                return new
            return replace(new, category=category.name, phrases=recipe.phrases or (), preset=self._preset.name)

        return self._curations.change(recipe.key, begun)

    def _day(self) -> str:
        return self._today().isoformat()


def _listed(numbers: Collection[int]) -> str:
    """Return numbers as people write them: "0 to 7", or "0, 2, 3"."""
    ordered = sorted(numbers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))
