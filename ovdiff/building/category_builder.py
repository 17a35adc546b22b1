"""The building half as a whole: a category becomes a prototype set in the bank.

It never sees the images that will be segmented. Of several builders on one bank, on this machine or on others, one
builds a category, by a lease, and the others wait for what it makes.

Tested alone by tests/ovdiff/test_halves.py, and through the engine by tests/ovdiff/engine/test_engine.py.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.bank.judgement import ADVICE, Judgement
from ovdiff.bank.recipe import Recipe, Recipes, library_versions
from ovdiff.bank.support import SupportSet
from ovdiff.bank.support_store import Shelf, SupportStore
from ovdiff.building.curated import curate
from ovdiff.building.drawing import Order, categories_together, draw_together
from ovdiff.building.judging import judge_images
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import (
    draw_support_set,
    drawing_progress,
    make_prototype_set,
    require_foreground,
    stored_support_set,
)
from ovdiff.curation.curation import Curation
from ovdiff.curation.store import CurationStore
from ovdiff.errors import BankError, OVDiffError
from ovdiff.models.licences import weights_licences
from ovdiff.presets.needs import judges_words
from ovdiff.storage.leases import Lease, Leases
from ovdiff.vocabulary import Category

_log = logging.getLogger(__name__)


class CategoryBuilder:
    """Makes prototype sets and stores them. Safe for several threads; the models run under their own lock."""

    def __init__(self, parts: BuildingParts, bank: Bank, recipes: Recipes, leases: Leases | None = None) -> None:
        """Load no model yet.

        Args:
            parts: the models.
            bank: the store of prototype sets; their support images are stored beside it.
            recipes: the recipes of the same preset, with the curations of the bank if they are to count.
            leases: who builds what; with ``None`` those of the bank, which last the usual time.
        """
        self._leases = leases or Leases(bank.folder / "leases")
        self.parts = parts
        self.store = SupportStore(bank.folder / "support")
        self.bank, self.recipes = bank, recipes
        self.curations = recipes.curations or CurationStore(bank.folder)

    def has(self, category: Category) -> bool:
        """Say whether the bank holds the category's prototypes, and holds them undamaged."""
        return self.bank.has(self.recipes.prototypes(category).key)

    @property
    def categories_together(self) -> int:
        """How many categories `draw_ahead` should be given: 1, unless the device's option ``shared_batches`` is on."""
        return categories_together(self.parts)

    def draw_ahead(self, to_draw: Mapping[Category, Recipe], report: Callable[[Category, str, float], None]) -> None:
        """Draw the missing support images of several categories, which share batches, so that `build` finds them.

        Left out are categories that are drawn, or that another builder draws just now. Finished batches are kept, so a
        call that is given up has lost nothing but the batch in hand.

        Args:
            to_draw: what will be built next, as `to_draw` tells it.
            report: called with a category, the name of the stage and the fraction done.

        Raises:
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: not even one image can be sampled.
            BankError: the bank cannot be written.
            StorageError: the bank's storage refuses, or is away for too long.
        """
        with ExitStack() as turns:
            orders = [
                Order(support.phrases or (), self.shelf(category), drawing_progress(partial(report, category)))
                for category, support in to_draw.items()
                if self._has_turn(support, turns)
            ]
            if len(orders) > 1:
                draw_together(self.parts, orders)

    def to_draw(self, categories: Iterable[Category]) -> dict[Category, Recipe]:
        """Return the categories that lack support images, each with the recipe of these images.

        Left out are categories that are built, that are made of exemplars alone, or that have a curation that cannot be
        read: `build` raises what is wrong with it, and no other category is to fail by that.

        Raises:
            WeightsError: a model's files are missing.
            StorageError: the bank's storage refuses, or is away for too long.
        """
        found = {category: self._to_draw(category) for category in categories}
        return {category: support for category, support in found.items() if support is not None}

    def _to_draw(self, category: Category) -> Recipe | None:
        try:
            curation, recipe = self._asked(category)
            return self.recipes.support(category) if curation.draw and not self.bank.has(recipe.key) else None
        except BankError as error:
            _log.debug("%r is left to its own build: %s", category.name, error)
            return None

    def _has_turn(self, support: Recipe, turns: ExitStack) -> bool:
        """Take the lease of a drawing until the end of ``turns``, unless somebody has it; say whether it was free.

        Raises:
            BankError: the lease's file cannot be written.
            StorageError: the bank's storage refuses, or is away for too long.
        """
        name = _drawing_lease(support)
        try:
            lease = self._leases.take_if_free(name)
        except OSError as error:
            raise self._unwritable(name, error) from error
        if lease is None:
            return False
        turns.callback(lease.release)
        return True

    def being_built(self, category: Category) -> str | None:
        """Return who builds the category just now, here or on another machine; ``None`` if nobody does.

        Raises:
            BankError: the bank cannot be read.
            StorageError: the bank's storage refuses, or is away for too long.
        """
        try:
            return self._leases.holder(_lease_name(self.recipes.prototypes(category))) or self._leases.holder(
                _drawing_lease(self.recipes.support(category))
            )
        except OSError as error:
            raise BankError(f"The leases in {self._leases.folder} cannot be read: {error}.") from error

    def build(self, category: Category, report: Callable[[str, float], None]) -> None:
        """Make and store the category's prototypes, unless the bank has them; CLIP judges what was drawn.

        While another builder of the same bank makes them, this one waits and reports so; if that one is gone, this one
        goes on with the support images that it left.

        Args:
            category: the category to build.
            report: called with the name of the stage and the fraction done.

        Raises:
            VocabularyError: a phrase is longer than the text encoder reads.
            SupportError: no generated image shows the category.
            WeightsError: a model cannot be loaded.
            BankError: the bank cannot be written.
            StorageError: the bank's storage refuses, or is away for too long.
        """
        curation, recipe = self._asked(category)

        def is_built() -> bool:
            self.bank.look_anew()
            return self.bank.has(recipe.key)

        if not self.bank.has(recipe.key):
            with self._turn(_lease_name(recipe), report, is_built) as lease:
                if lease is not None:
                    self._build(category, curation, recipe, report)
        report("done", 1.0)

    def _build(
        self, category: Category, curation: Curation, recipe: Recipe, report: Callable[[str, float], None]
    ) -> None:
        """Make and store the prototypes of a recipe, which has a category's curation in it."""
        preset = self.parts.preset
        support = self._make_support_set(category, curation, report)
        require_foreground(support, recipe.phrases or (), preset)
        prototypes = make_prototype_set(self.parts, support, report)
        card = Card(
            category.name,
            preset.name,
            image_seeds=tuple(item.seed for item in support.images if not item.exemplar),
            images_with_foreground=support.with_foreground(),
            refused_images=support.refused,
            support_key=self.recipes.support(category).key,
            licences=weights_licences(preset),
            library_versions=library_versions(),
        )
        self.bank.save(recipe.key, prototypes, card.of_recipe(recipe))
        try:
            self.judge(category)
        except OVDiffError as error:  # The set is stored, and it is judged whenever somebody asks for its judgement.
            _log.warning("%r is built, and not judged yet: %s", category.name, error)

    @contextmanager
    def _turn(
        self, name: str, report: Callable[[str, float], None], is_done: Callable[[], bool] = lambda: False
    ) -> Iterator[Lease | None]:
        """Have the lease of a piece of work, after waiting for its holder and reporting so; ``None`` if it is done.

        Raises:
            BankError: the lease's file cannot be written.
            StorageError: the bank's storage refuses, or is away for too long.
        """
        try:
            lease = self._leases.take(name, is_done, lambda holder: report(f"waiting for {holder}", 0.0))
        except OSError as error:
            raise self._unwritable(name, error) from error
        try:
            yield lease
        finally:
            if lease is not None:
                lease.release()

    def _unwritable(self, lease: str, error: OSError) -> BankError:
        return BankError(
            f"The lease {lease} cannot be written to {self._leases.folder}: {error}. Make room there, or make it "
            "writable."
        )

    def judgement(self, category: Category) -> Judgement | None:
        """Return CLIP's judgement of the category's stored support images, from its card; loads no model.

        Returns:
            ``None`` if the category was not judged with this preset's anchors and CLIP.

        Raises:
            WeightsError: a model's files are missing.
        """
        key = self.recipes.prototypes(category).key
        if not judges_words(self.parts.preset) or not self.bank.has(key):
            return None
        found = self.bank.card(key).judgement
        return found if found is not None and found.key == self.recipes.judgement.key else None

    def judge(self, category: Category) -> Judgement | None:
        """Return the category's judgement; if it has none, judge its stored support images first and keep that.

        Returns:
            ``None`` if the preset has no anchors or no CLIP, or the category's prototypes or images are not stored.

        Raises:
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: not even one image fits into the device's memory.
            BankError: the bank cannot be written.
        """
        curation, recipe = self._asked(category)
        if not judges_words(self.parts.preset) or not self.bank.has(recipe.key):
            return None
        if (known := self.judgement(category)) is not None:
            return known
        drawn = [item for batch in self.shelf(category).batches() if curation.draw for item in batch.images]
        images = [item.image for item in drawn if item.number not in curation.rejected_numbers()]
        made = judge_images(self.parts, images, recipe.phrases or (), self.recipes.judgement.key) if images else None
        if made is not None:
            self.bank.judge(recipe.key, made)
            if made.is_doubtful:
                _log.warning("%r is doubtful: %s. %s.", category.name, made, ADVICE)
        return made

    def support_set(self, category: Category) -> SupportSet:
        """Return a category's support images, attribution maps and masks from the store, curated; loads no model.

        Raises:
            BankError: some of them are not stored; the message says what to do.
            WeightsError: a model's files are missing.
        """
        curation = self.recipes.curation(category)
        support = stored_support_set(self.shelf(category), self.parts.preset) if curation.draw else SupportSet(())
        if support is None:
            raise BankError(
                f"The support images of {category.name!r} are not in {self.store.folder}, or not all of them. "
                f"Build its category first; if it has prototypes already, remove them before that."
            )
        return curate(support, curation, self.curations.pictures, self.parts.preset)

    def shelf(self, category: Category) -> Shelf:
        """Return the shelf of a category's support images and their masks."""
        return self.store.shelf(self.recipes.support(category).key, self.recipes.masks().key)

    def _asked(self, category: Category) -> tuple[Curation, Recipe]:
        """Return a category's curation and the recipe with this very curation: another process may change it."""
        curation, phrases = self.recipes.curation(category), self.recipes.support(category).phrases or ()
        return curation, self.recipes.curated(phrases, curation.identity())

    def _make_support_set(
        self, category: Category, curation: Curation, report: Callable[[str, float], None]
    ) -> SupportSet:
        """Return a category's curated support set; what is stored is not drawn again."""
        drawn = self._draw(category, report) if curation.draw else SupportSet(())
        return curate(drawn, curation, self.curations.pictures, self.parts.preset)

    def _draw(self, category: Category, report: Callable[[str, float], None]) -> SupportSet:
        """Return a category's support set as it was drawn; presets that differ in what follows share its images."""
        if (stored := stored_support_set(self.shelf(category), self.parts.preset)) is not None:
            report("generating", 0.0)  # and nothing is left to be drawn
            return stored
        support = self.recipes.support(category)
        with self._turn(_drawing_lease(support), report):
            return draw_support_set(self.parts, support.phrases or (), report, self.shelf(category))


def _lease_name(recipe: Recipe) -> str:
    return f"prototypes-{recipe.key}"


def _drawing_lease(support: Recipe) -> str:
    return f"support-{support.key}"
