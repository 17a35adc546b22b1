"""The engine: prototype sets made once a category, masks made once an image.

Building depends on one category alone, so a vocabulary edit builds only what is new; encoding depends on one
image alone, so a vocabulary edit encodes nothing again. The two meet in :mod:`ovdiff.segmenting.segmenter`.
"""

import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.bank.prototypes import FeatureSpacePrototypes
from ovdiff.bank.recipe import Recipes, library_versions
from ovdiff.bank.support import SupportSet
from ovdiff.bank.support_store import Shelf, SupportStore
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import Progress, make_prototype_set, make_support_set, stored_support_set
from ovdiff.errors import BankError, DeviceMemoryError, ImageError, MissingPrototypesError, WeightsError
from ovdiff.extractors import Extractors
from ovdiff.models.devices import require_device
from ovdiff.models.licences import weights_licences
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pamr import pamr
from ovdiff.models.weights import weights_identity
from ovdiff.presets import Preset
from ovdiff.presets.mapping import digest
from ovdiff.presets.needs import feature_settings, models_of
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.encoding import EncodedImage, EncodingCache, encode_image, image_key
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.prefilter import choose_categories
from ovdiff.segmenting.refine import clean_up
from ovdiff.segmenting.segmenter import BACKGROUND, PrototypeTable, ScoreMerger, class_scores, decide, make_table
from ovdiff.vocabulary import Category, Vocabulary, as_category, with_phrase
from ovdiff.vocabulary.kinds import KindDecision, NearestKinds, known_kind

__all__ = ["Engine", "Progress", "Segmentation"]

_TABLES_BYTES = 1 << 30  # of recent vocabularies; one of 171 categories in the paper's spaces takes 0.7 GB
_log = logging.getLogger(__name__)

Tables = dict[str, PrototypeTable]


class Engine:
    """The method on loaded models. Weights load when first needed, once; safe for several threads.

    Models run under one lock, which a build gives up after each batch of images: a prediction waits for a
    batch, not for a category.
    """

    def __init__(self, preset: Preset, bank: Bank, *, device: str = "cpu", models: LoadedModels | None = None) -> None:
        """Prepare without loading anything.

        Args:
            preset: models and hyper-parameters.
            bank: where prototype sets are stored.
            device: a torch device, such as "cpu" or "cuda".
            models: models to share with another engine, on their own device; ``None`` loads its own.
        """
        self.preset, self.bank = preset, bank
        self.support_store = SupportStore(bank.folder / "support")
        self._models = models or LoadedModels(device)
        extractors = Extractors(preset, self._models)
        self._recipes = Recipes(preset)
        self._building = BuildingParts(preset, self._models, extractors)
        self._segmenting = SegmentingParts(preset, self._models, extractors)
        self._encodings = EncodingCache(preset.cache.features_mib)
        self._tables: OrderedDict[tuple[str, ...], Tables] = OrderedDict()
        self._kinds: dict[Category, KindDecision] = {}

    def category_key(self, category: Category | str) -> str:
        """Return the content address (64 hex digits) of the category's prototype set; loads no model.

        This method, `has`, `build` and `support_set` take a category, or its name.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._recipes.prototypes(as_category(category)).key

    def fingerprint(self) -> str:
        """Return a hex hash of all that makes masks of an image, beside the prototypes: preset and weights.

        While weights are missing there are no masks, and it is another hash than when they are there.
        """
        try:
            return self._fingerprint
        except WeightsError:
            return self.preset.fingerprint()

    def has(self, category: Category | str) -> bool:
        """Say whether the bank holds the category's prototypes, undamaged."""
        return self.bank.has(self.category_key(category))

    def build(self, category: Category | str, progress: Progress | None = None) -> None:
        """Make and store the category's prototypes, unless the bank has them.

        Cost: minutes with full-size models, seconds with the embedded ones.

        Args:
            category: what to build, or its name.
            progress: called with the stage and the fraction done.

        Raises:
            VocabularyError: a phrase is longer than the text encoder reads.
            SupportError: no generated image shows the category.
            WeightsError: a model cannot be loaded.
            BankError: the bank cannot be written.
        """
        category, report = as_category(category), progress or (lambda _stage, _fraction: None)
        if not self.has(category):
            recipe = self._recipes.prototypes(category)
            support = make_support_set(self._building, recipe.phrases or (), report, self._shelf(category))
            prototypes = make_prototype_set(self._building, support, report)
            card = Card(
                category.name,
                self.preset.name,
                image_seeds=tuple(item.seed for item in support.images),
                images_with_foreground=support.with_foreground(),
                refused_images=support.refused,
                support_key=self._recipes.support(category).key,
                licences=weights_licences(self.preset),
                library_versions=library_versions(),
            )
            self.bank.save(recipe.key, prototypes, card.of_recipe(recipe))
        report("done", 1.0)

    def support_set(self, category: Category | str) -> SupportSet:
        """Return a category's support images, attribution maps and masks as they are kept; loads no model.

        Raises:
            BankError: they are not all there; the message says what to do.
            WeightsError: a model's files are missing.
        """
        category = as_category(category)
        support = stored_support_set(self._shelf(category), self.preset)
        if support is None:
            raise BankError(
                f"The support images of {category.name!r} are not in {self.support_store.folder}, or not all of them. "
                f"Remove the category's prototypes, if there are any, and build it again."
            )
        return support

    def kinds(self, vocabulary: Vocabulary) -> tuple[KindDecision, ...]:
        """Say what each category is taken for, thing or stuff, and by what (A.9), in the vocabulary's order.

        CLIP is loaded only where the preset asks it about unknown names, and only if there are any.

        Raises:
            WeightsError: CLIP cannot be loaded.
        """
        if unknown := [category for category in vocabulary.categories if category not in self._kinds]:
            with self._models.lock:
                self._kinds |= self._decide_kinds(unknown)
        return tuple(self._kinds[category] for category in vocabulary.categories)

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Say what a category is taken for, if that is decided or needs no model; never waits for the models."""
        return self._kinds.get(category) or known_kind(category, self.preset.stuff_filter)

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an image: :meth:`encode`, the expensive half, then :meth:`label`.

        Args:
            image: (H, W, 3) uint8 RGB, upright.
            vocabulary: every category must have been built.

        Raises:
            ImageError: not such an array.
            MissingPrototypesError: categories that must be built first.
            BankCorruptError: a stored set is damaged.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        _check_image(image)
        key = image_key(image)
        with self._models.lock:  # once for all: whenever it is given up, a build may take it for a batch of images
            tables = self._tables_of(vocabulary)  # what is missing is said before anything is encoded
            encoded = self._encode(image, key)
            candidates = self._candidates(encoded, vocabulary)
        return self._match(encoded, tables, candidates)

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Run the models on an (H, W, 3) uint8 RGB image; recent images are remembered.

        Raises:
            ImageError: not such an array.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        _check_image(image)
        return self._encode(image, image_key(image))

    def label(self, encoded: EncodedImage, vocabulary: Vocabulary) -> Segmentation:
        """Match an encoded image with a vocabulary's prototypes (Eq. 4); runs no image through a model.

        Raises:
            MissingPrototypesError: categories that must be built first.
            BankCorruptError: a stored set is damaged.
            WeightsError: CLIP cannot be loaded, which embeds the categories' names.
            DeviceMemoryError: the score maps do not fit into the device's memory.
        """
        with self._models.lock:
            tables, candidates = self._tables_of(vocabulary), self._candidates(encoded, vocabulary)
        return self._match(encoded, tables, candidates)

    @cached_property
    def _fingerprint(self) -> str:
        """Once: what lies in the folders later is not what this engine has loaded."""
        given = self.preset.models.all_given()
        weights = {name: weights_identity(given[name]) for name in models_of(self.preset, "segmenting")}
        return digest([self.preset.fingerprint(), weights])

    def _shelf(self, category: Category) -> Shelf:
        """Return where a category's support images and their masks are kept."""
        return self.support_store.shelf(self._recipes.support(category).key, self._recipes.masks().key)

    def _with_phrase(self, category: Category) -> Category:
        """Return what the preset takes a category for; the generator and the prefilter must see the same."""
        return with_phrase(category, self.preset.generation.phrases)

    def _encode(self, image: NDArray[np.uint8], key: str) -> EncodedImage:
        with self._models.lock:
            encoded = self._encodings.get(key)
            if encoded is None:
                encoded = encode_image(self._segmenting, image)
                self._encodings.put(key, encoded)
            return encoded

    def _match(self, encoded: EncodedImage, tables: Tables, candidates: Sequence[int]) -> Segmentation:
        """Do what needs no model, and so no lock."""
        try:
            scores, labels = self._scores(encoded, tables, candidates)
            if self.preset.refine.pamr:
                scores = pamr(encoded.working, scores, self.preset.refine)
            decided = decide(scores, labels, encoded.size_hw)
        except torch.OutOfMemoryError as error:
            height, width = encoded.working.shape[:2]
            raise DeviceMemoryError(
                f"The score maps of {len(candidates)} categories, {width} x {height} px each, do not fit into the "
                f"device's free memory. End other programs on it, or lower windows.max_long_side_px."
            ) from error
        return Segmentation(clean_up(decided.label_map, self.preset.refine), decided.scores, decided.margins)

    def _tables_of(self, vocabulary: Vocabulary) -> Tables:
        """Return a vocabulary's tables. Inside the lock."""
        keys = tuple(self.category_key(category) for category in vocabulary.categories)
        known = (vocabulary.fingerprint(), *keys)
        if known not in self._tables:
            self._tables[known] = self._make_tables(vocabulary, keys)
        self._tables.move_to_end(known)
        while len(self._tables) > 1 and sum(map(_size_bytes, self._tables.values())) > _TABLES_BYTES:
            self._tables.popitem(last=False)
        return self._tables[known]

    def _make_tables(self, vocabulary: Vocabulary, keys: Sequence[str]) -> Tables:
        missing = [
            category.name for category, key in zip(vocabulary.categories, keys, strict=True) if not self.bank.has(key)
        ]
        if missing:
            raise MissingPrototypesError(missing)
        sets = [self.bank.load(key) for key in keys]
        return {
            name: self._make_table(name, [prototypes.spaces[name] for prototypes in sets], self._stuff(vocabulary))
            for name in self.preset.active_extractors()
        }

    def _make_table(self, name: str, sets: Sequence[FeatureSpacePrototypes], stuff: Collection[int]) -> PrototypeTable:
        matching, settings = self.preset.matching, feature_settings(self.preset, name)
        table = make_table(sets, stuff, kinds=matching.kinds, background=matching.background == "prototypes")
        if not self.preset.stuff_filter.enabled:
            return table
        return table.without_stuff_in_background(stuff, settings.stuff_similarity, self._models.device)

    def _stuff(self, vocabulary: Vocabulary) -> frozenset[int]:
        return frozenset(index for index, found in enumerate(self.kinds(vocabulary)) if found.kind == "stuff")

    def _decide_kinds(self, categories: Sequence[Category]) -> dict[Category, KindDecision]:
        known = {category: known_kind(category, self.preset.stuff_filter) for category in categories}
        unknown = [category for category, decision in known.items() if decision is None]
        nearest = self._nearest_kinds.decide(list(map(self._with_phrase, unknown))) if unknown else ()
        asked = dict(zip(unknown, nearest, strict=True))
        found = {category: decision or asked[category] for category, decision in known.items()}
        _log.info("%s", "; ".join(map(str, found.values())))
        return found

    @cached_property
    def _nearest_kinds(self) -> NearestKinds:
        return NearestKinds(self._segmenting.texts, self.preset.prefilter.template, self.preset.stuff_filter)

    def _candidates(self, encoded: EncodedImage, vocabulary: Vocabulary) -> list[int]:
        """Return the categories to look for by index, ascending: all stuff, and likely things. Inside the lock."""
        everything = range(len(vocabulary.categories))
        if encoded.embedding is None or not self.preset.prefilter.enabled:
            return list(everything)
        stuff = self._stuff(vocabulary)
        things = [index for index in everything if index not in stuff]
        chosen = choose_categories(
            encoded.embedding,
            [self._with_phrase(vocabulary.categories[index]) for index in things],
            self._segmenting.texts,
            self.preset.prefilter,
        )
        return sorted([*stuff, *(things[position] for position in chosen)])

    def _scores(self, encoded: EncodedImage, tables: Tables, candidates: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Return score maps (C, h, w) at working size and their label ids; background, if there is one, first."""
        matching, device = self.preset.matching, self._models.device
        classes = [BACKGROUND, *candidates] if matching.background == "prototypes" else list(candidates)
        merger = ScoreMerger(len(classes), (encoded.working.shape[0], encoded.working.shape[1]), device)
        for name, table in tables.items():
            gated = table.gated(candidates).to(device)
            for batch in encoded.features[name]:
                merger.add(class_scores(batch.features, gated, classes), batch.windows)
        scores, labels = merger.mean(), [index + 1 for index in classes]  # BACKGROUND's is 0
        if matching.background == "threshold":
            threshold = torch.full_like(scores[:1], matching.background_threshold)
            return torch.cat([threshold, scores]), [0, *labels]
        return scores, labels


def make_engine(preset: Preset, bank: Bank, device: str) -> Engine:
    """Return the engine of a preset; it loads no weights yet.

    Raises:
        DeviceError: torch cannot use the device.
    """
    require_device(device)
    return Engine(preset, bank, device=device)


def _size_bytes(tables: Tables) -> int:
    return sum(table.vectors.nbytes for table in tables.values())


def _check_image(image: NDArray[np.uint8]) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"Expected an (H, W, 3) uint8 RGB array, got {kind}. `ovdiff.read_image` makes one.")
    if not image.size:
        raise ImageError(f"The image has no pixels: its shape is {image.shape}.")
