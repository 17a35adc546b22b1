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

from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.card import Card
from ovdiff.bank.differences import card_differences
from ovdiff.bank.support import SupportSet
from ovdiff.building.backgrounds import background_prototypes
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.building.curated import place_name, stored_places
from ovdiff.curation.curation import Ban, Curation, Exemplar
from ovdiff.curation.exemplars import ExemplarImage, cut_exemplar, exemplar_to_pictures, pictures_to_exemplar
from ovdiff.errors import ImageError, SupportError
from ovdiff.vocabulary import Category

_TOLD = 3
"""How many differences of a foreign set are told."""

_LEAST_SHARE = 0.02
"""Promoted places that cover less of a support image are stray cells, and not what a person means."""


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

    def drawn_key(self, category: Category) -> str:
        """Return the content address of what is drawn for a category, whatever people changed of it.

        The numbers of its images are those within this set: other phrases have other images of the same numbers.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._recipes.support(category).key

    def is_ours(self, card: Card) -> bool:
        """Say whether this preset made the prototype set of a card, whatever the curation now is.

        Raises:
            WeightsError: a model's files are missing.
        """
        return bool(card.phrases) and self._recipes.curated(card.phrases, card.curation).key == card.key

    def foreign(self, card: Card) -> str:
        """Say in words why the set of a card is not what this preset makes of its phrases; "" if it is.

        Raises:
            WeightsError: a model's files are missing.
        """
        if self.is_ours(card):
            return ""
        ours = Card(card.category, card.preset).of_recipe(self._recipes.curated(card.phrases, card.curation))
        found = [
            each for each in card_differences(ours, card) if each.what.startswith(("settings", "weights", "parts"))
        ]
        ordered = sorted(found, key=lambda each: not each.what.startswith("weights"))
        told = [f"{each.what} is {each.second or 'absent'} there and {each.first or 'absent'} here" for each in ordered]
        more = f", and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        return "; ".join(told[:_TOLD]) + more if told else "its key is another, as by another version of ovdiff"

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

    def backgrounds(self, category: Category) -> tuple[BackgroundPrototype, ...]:
        """Return the background prototypes of a built category that vote, with the places that they came from.

        Cost: one pass of the extractors over the support images.

        Raises:
            BankError: the category is not built, or its support images are not stored.
            WeightsError: an extractor's model cannot be loaded.
            DeviceMemoryError: not even one image fits into the device's memory.
        """
        return self._backgrounds(category, self._builder.support_set(category))

    def ban(self, category: Category, number: int, why: str = "", into: str = "") -> Curation:
        """Make the places of a background prototype background no more, and return the new curation.

        The places are kept, and not the number or the vector: support images do not change, so the ban means the same
        after any build, for every extractor, whatever k-means then numbers.

        Args:
            category: a built category.
            number: the number of the prototype, as `backgrounds` gives it now.
            why: the reason, for people.
            into: the category to which the places are promoted; "" if to none.

        Raises:
            SupportError: there is no such background prototype; the message names those that there are.
            BankError, WeightsError, DeviceMemoryError: as `backgrounds` raises them.
        """
        support = self._builder.support_set(category)
        return self._ban(category, self._background(category, support, number), support, why, into)

    def unban(self, category: Category, which: int | str) -> Curation:
        """Lift a ban, and return the new curation.

        Args:
            category: the category.
            which: the ban's number in the curation, from 0, or the first digits of the address of its places. The
                number of a ban changes when another one is lifted, and the address does not.

        Raises:
            SupportError: there is no such ban.
            BankError: the curation cannot be read or written.
        """

        return self._change(category, lambda now: now.without_ban(_one_ban(now, category, which)))

    def promote(self, category: Category, number: int, into: Category) -> Curation:
        """Make the places of a background prototype a category of their own; return the new curation of that category.

        Each support image of which they cover at least 2 % becomes an exemplar of the other category, whose object is
        these places. If no images of the other category were drawn before, it is made of these exemplars alone. The
        places are banned in the first category.

        Args:
            category: a built category.
            number: the number of the prototype, as `backgrounds` gives it now.
            into: the other category.

        Raises:
            SupportError: there is no such background prototype, the places are too small, or both categories have the
                same phrases.
            BankError, WeightsError, DeviceMemoryError: as `backgrounds` raises them.
        """
        if self._recipes.support(into).key == self._recipes.support(category).key:
            raise SupportError(f"{into.name!r} has the phrases of {category.name!r}; promote it to another category.")
        support = self._builder.support_set(category)
        found = self._background(category, support, number)
        exemplars = self._promoted(category, found, support)
        if not exemplars:
            raise SupportError(
                f"The places of background {number} of {category.name!r} cover less than {_LEAST_SHARE:.0%} of each "
                "support image; promote a larger one, or ban this one."
            )
        alone = not self._drawn_numbers(into)

        def with_exemplars(now: Curation) -> Curation:
            for exemplar in exemplars:
                now = now.adding(exemplar)
            return replace(now, draw=now.draw and not alone)

        new = self._change(into, with_exemplars)
        self._ban(category, found, support, "", into.name)  # Last: if this fails, promoting again changes nothing else.
        return new

    def demote(self, category: Category, which: str, into: Category) -> Curation:
        """Undo `promote`, and return the new curation of the first category.

        The other category loses the exemplars whose object is these very places. If none are left, it is drawn again.

        Args:
            category: the category whose background the places were.
            which: the first digits of the address of the ban's places.
            into: the category to which they were promoted.

        Raises:
            SupportError: there is no such ban.
            BankError: the places, an exemplar or a curation cannot be read or written.
        """
        ban, pictures = _one_ban(self.curation(category), category, which), self._curations.pictures
        places = [levels > 0 for levels in pictures.get(ban.places, f"A ban of {category.name!r}").values()]

        def is_promoted(exemplar: Exemplar) -> bool:
            if exemplar.source != _source(category):
                return False
            found = pictures_to_exemplar(pictures.get(exemplar.pictures, f"The exemplar {exemplar.name!r}"))
            return any(np.array_equal(found.foreground, each) for each in places)

        def without_exemplars(now: Curation) -> Curation:
            kept = tuple(each for each in now.exemplars if not is_promoted(each))
            return replace(now, exemplars=kept, draw=now.draw or not kept)

        if self.curation(into).exemplars:
            self._change(into, without_exemplars)
        return self.unban(category, which)

    def put(self, category: Category, curation: Curation) -> Curation:
        """Put a curation in the place of a category's present one, and return it.

        Raises:
            BankError: the curation cannot be read or written.
        """
        return self._change(category, lambda _now: curation)

    def _backgrounds(self, category: Category, support: SupportSet) -> tuple[BackgroundPrototype, ...]:
        """Return the background prototypes, with their places in a support set that somebody may change meanwhile."""
        prototypes = self._builder.bank.load(self._recipes.prototypes(category).key)
        return background_prototypes(self._builder.parts, support, prototypes)

    def _background(self, category: Category, support: SupportSet, number: int) -> BackgroundPrototype:
        found = {item.number: item for item in self._backgrounds(category, support)}
        if number not in found:
            are = f"there are {_listed(found)}" if found else "it has none"
            raise SupportError(f"{category.name!r} has no background prototype {number}; {are}.")
        return found[number]

    def _ban(
        self, category: Category, found: BackgroundPrototype, support: SupportSet, why: str, into: str
    ) -> Curation:
        names = {item.number: place_name(item) for item in support.images}
        places = {names[number]: mask for number, mask in found.places.items()}
        address = self._curations.pictures.keep(stored_places(places))
        ban = Ban(address, found.extractor, found.kind, round(found.share, 4), why, into, self._day())
        return self._change(category, lambda now: now.banning(ban))

    def _promoted(self, category: Category, found: BackgroundPrototype, support: SupportSet) -> list[Exemplar]:
        exemplars = []
        for item in support.images:
            places = found.places.get(item.number, np.zeros_like(item.foreground))
            if places.mean() < _LEAST_SHARE:
                continue
            known = item.foreground | item.background if item.exemplar else np.ones_like(places)
            pictures = exemplar_to_pictures(ExemplarImage(item.image, places, known & ~places))
            name = f"{category.name}-{item.number}"
            exemplars.append(Exemplar(self._curations.pictures.keep(pictures), name, _source(category), self._day()))
        return exemplars

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


def _source(category: Category) -> str:
    """Return where exemplars are from that were promoted from a category's background."""
    return f"background of {category.name!r}"


def _one_ban(curation: Curation, category: Category, which: int | str) -> Ban:
    """Return a ban by its number, or by the first digits of the address of its places."""
    if isinstance(which, str):
        found = [each for each in curation.bans if which and each.places.startswith(which)]
    else:
        found = list(curation.bans[which : which + 1]) if which >= 0 else []
    if len(found) != 1:
        are = f"there are {_listed(range(len(curation.bans)))}" if curation.bans else "there are none"
        raise SupportError(f"{category.name!r} has no ban {which}; {are}.")
    return found[0]


def _listed(numbers: Collection[int]) -> str:
    """Return numbers as people write them: "0 to 7", or "0, 2, 3"."""
    ordered = sorted(numbers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))
