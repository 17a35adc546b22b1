"""The segmenting half as a whole: an image and a vocabulary become a segmentation. It draws no support image.

Tested alone by tests/ovdiff/test_halves.py, and through the engine by tests/ovdiff/engine/test_engine.py.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank import Bank
from ovdiff.bank.lesson_store import lessons_beside
from ovdiff.bank.recipe import Recipes
from ovdiff.errors import DeviceMemoryError, ImageError
from ovdiff.images import image_key, require_image
from ovdiff.models.memory import Work, batch_size
from ovdiff.models.weights import weights_identity
from ovdiff.presets.mapping import digest
from ovdiff.presets.needs import models_of
from ovdiff.region_scores import RegionScoring
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.anchors import Anchors
from ovdiff.segmenting.category_kinds import CategoryKinds
from ovdiff.segmenting.encoding import EncodedImage, EncodingCache, encode_image, encode_images
from ovdiff.segmenting.encoding_store import EncodingStore
from ovdiff.segmenting.instances import find_instances, reduced
from ovdiff.segmenting.lessons.discriminant import LearnedViews
from ovdiff.segmenting.lessons.in_force import Lessons
from ovdiff.segmenting.lessons.scores import with_lessons
from ovdiff.segmenting.matching import label_pixels, refined, score_maps
from ovdiff.segmenting.part_check import check_parts, leave_uncertain_stuff
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.prefilter import Choice, choose
from ovdiff.segmenting.prepared import Prepared, prepare
from ovdiff.segmenting.presence import presence
from ovdiff.segmenting.steps import PART_CHECK, Match, Step
from ovdiff.segmenting.tables import VocabularyTables
from ovdiff.vocabulary import Vocabulary, with_phrase

_New = tuple[str, EncodedImage]
"""An encoding that the store lacks, in the machine's memory, with its key there."""


class ImageSegmenter:
    """Segments images with the prototypes of a bank. Safe for several threads; the models run under their own lock."""

    def __init__(self, parts: SegmentingParts, bank: Bank, recipes: Recipes) -> None:
        """Load no model yet.

        Args:
            parts: the models.
            bank: the store of prototype sets.
            recipes: the recipes of the same preset.
        """
        self.parts, self.kinds = parts, CategoryKinds(parts)
        self.tables = VocabularyTables(parts, bank, recipes, self.kinds)
        self.anchors = Anchors(parts, bank, recipes)
        self.lessons = Lessons(parts, lessons_beside(bank.folder), recipes)
        self._recipes, cache = recipes, parts.preset.cache
        self._encodings = EncodingCache(cache.features_mib)
        self._features_mib: int | None = None
        self._stored_encodings = EncodingStore(bank.folder / "encodings", cache.disk_mib)

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an (H, W, 3) uint8 RGB image: :meth:`encode`, then :meth:`label`, under one lock.

        Raises:
            ImageError: ``image`` is not such an array.
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        require_image(image)
        key, new = image_key(image), list[_New]()
        try:
            with self.parts.models.lock:  # Held throughout: when it is free, a build may hold it for a batch of images.
                self.tables.require(vocabulary)  # First, so that missing categories are named before the long part.
                found = self._match(self._encode(image, key, new), vocabulary)
        except Exception:  # and not Ctrl-C: whoever presses it does not wait for the disk
            self._store(new)
            raise
        self._store(new)
        return found

    def prepared(self, image: NDArray[np.uint8], *, keep: bool = False) -> Prepared:
        """Return an image as `segment_together` takes it; no model runs, and any thread may ask.

        Raises:
            ImageError: ``image`` is not an (H, W, 3) uint8 array.
        """
        return prepare(self.parts, image, keep=keep)

    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], vocabulary: Vocabulary, prepared: Sequence[Prepared] | None = None
    ) -> list[Segmentation]:
        """Label every pixel of several images, whose windows share batches.

        Args:
            images: each (H, W, 3) uint8 RGB.
            vocabulary: the categories, all of which must have been built.
            prepared: the images as `prepared` returned them; ``None`` prepares them now, and keeps no encoding.

        Raises:
            ImageError: one of the images is not such an array.
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        ready = [self.prepared(each) for each in images] if prepared is None else prepared
        found: dict[int, Segmentation] = {}
        self._stored_encodings.catch_up()  # Not under the lock: with a slow disk, clicks would wait for it too.
        with self.parts.models.lock:
            self.tables.require(vocabulary)
            for index, image in enumerate(ready):
                if image.key and (known := self._known(image.key)) is not None:
                    found[index] = self._match(known, vocabulary)
            left = [index for index in range(len(images)) if index not in found]
            while left:
                some = left[: self._fitting(len(left))]
                left = left[len(some) :]
                encoded = encode_images(self.parts, [images[index] for index in some], [ready[index] for index in some])
                self._features_mib = max(math.ceil(each.size_bytes() / (1 << 20)) for each in encoded)
                for index, each in zip(some, encoded, strict=True):
                    found[index] = self._match(each, vocabulary)
                    self._keep(ready[index].key, each)
        return [found[index] for index in range(len(images))]

    def _fitting(self, images: int) -> int:
        """Return for how many of some images the device has room, if the features of all stay on it until matching.

        The first image says how much an image takes. Half of the room is left to the models.
        """
        models = self.parts.models
        if not models.options.resident:
            return images
        if self._features_mib is None:
            return 1
        budget = self.parts.preset.memory.segment_gib
        try:
            return batch_size(models.device, Work("an image's features", images, 2 * self._features_mib, budget))
        except DeviceMemoryError:
            return 1

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Run the models on an (H, W, 3) uint8 RGB image, unless its encoding is kept in memory or beside the bank.

        Raises:
            ImageError: ``image`` is not such an array.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        require_image(image)
        key, new = image_key(image), list[_New]()
        with self.parts.models.lock:
            encoded = self._encode(image, key, new)
        self._store(new)
        return encoded.on_the_cpu()

    def label(self, encoded: EncodedImage, vocabulary: Vocabulary, *, lessons: bool = True) -> Segmentation:
        """Match an encoded image with a vocabulary's prototypes (Eq. 4). Only CLIP may look at parts of the image.

        Args:
            encoded: the encoded image.
            vocabulary: the categories, all of which must have been built.
            lessons: whether the lessons in force count.

        Raises:
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: CLIP, which embeds the categories' names, cannot be loaded.
            DeviceMemoryError: the score maps do not fit into the device's memory.
        """
        with self.parts.models.lock:
            return self._match(encoded, vocabulary, lessons)

    def with_instances(
        self, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary
    ) -> Segmentation:
        """Return a segmentation of an image with the ids of its objects (:mod:`ovdiff.segmenting.instances`).

        Raises:
            ImageError: ``image`` is not an (H, W, 3) uint8 array, or is of another size than the segmentation.
            WeightsError: the model of the proposals, or CLIP, cannot be loaded.
        """
        require_image(image)
        if image.shape[:2] != segmentation.label_map.shape:
            sizes = f"{image.shape[:2]} and {segmentation.label_map.shape}"
            raise ImageError(f"Expected an image and its own segmentation, got {sizes} pixels.")
        with self.parts.models.lock:
            stuff, proposer = self.kinds.stuff(vocabulary), self.parts.proposer
            proposals = None if proposer is None else proposer.propose(reduced(image))
        settings = self.parts.preset.instances
        return replace(segmentation, instance_map=find_instances(segmentation.label_map, stuff, settings, proposals))

    def candidates(
        self, encoded: EncodedImage, vocabulary: Vocabulary, learned: LearnedViews | None = None
    ) -> list[int]:
        """Return the indices of the categories to look for, ascending: all stuff, and the likely things (A.10).

        Call it inside ``with parts.models.lock``.

        Args:
            encoded: the encoded image.
            vocabulary: the words that compete.
            learned: what annotated images say about which things an image holds.

        Raises:
            WeightsError: CLIP, which embeds the categories' names, cannot be loaded.
        """
        chosen = self.prefiltered(encoded, vocabulary, learned)
        if chosen is None:
            return list(range(len(vocabulary.categories)))
        things, choice = chosen
        others = set(range(len(vocabulary.categories))).difference(things)
        return sorted([*others, *(things[position] for position in choice.kept)])

    def prefiltered(
        self, encoded: EncodedImage, vocabulary: Vocabulary, learned: LearnedViews | None = None
    ) -> tuple[list[int], Choice] | None:
        """Return the indices of the things, and the prefilter's choice among them; ``None`` if there is no prefilter.

        Call it inside ``with parts.models.lock``.

        Raises:
            WeightsError: CLIP, which embeds the categories' names, cannot be loaded.
        """
        preset, embedding = self.parts.preset, self._embedding(encoded)
        if embedding is None or not preset.prefilter.enabled:
            return None
        stuff = self.kinds.stuff(vocabulary)
        things = [index for index in range(len(vocabulary.categories)) if index not in stuff]
        phrased = [with_phrase(vocabulary.categories[index], preset.generation.phrases) for index in things]
        added = None
        if learned is not None:
            added = learned.cosines(embedding[None], [index + 1 for index in things])[0]
        return things, choose(embedding, phrased, self.parts.texts, preset.prefilter, added)

    @property
    def encoding_key(self) -> str:
        """A hash of everything that shapes the encoding of an image, but the image.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._recipes.encodings.key

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the preset and of the weights that segment; computed once, as the weights are loaded once.

        Raises:
            WeightsError: a model's files are missing.
        """
        preset = self.parts.preset
        given = preset.models.all_given()
        weights = {name: weights_identity(given[name]) for name in models_of(preset, "segmenting")}
        return digest([preset.fingerprint(), weights])

    def match(self, encoded: EncodedImage, vocabulary: Vocabulary, *, lessons: bool = True) -> Match:
        """Return what competes for the pixels of an image. Call it inside ``with parts.models.lock``.

        Args:
            encoded: the encoded image.
            vocabulary: the asked categories.
            lessons: whether the lessons in force count.

        Raises:
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: CLIP, which embeds the categories' names, cannot be loaded.
        """
        competition = self.anchors.of(vocabulary)
        tables = self.tables.of(competition.vocabulary)
        model = None
        if lessons:
            model = self.lessons.of(competition, tables, self.kinds.stuff(competition.vocabulary))
        learned = None if model is None else model.images
        return Match(encoded, competition, tables, self.candidates(encoded, competition.vocabulary, learned), model)

    def steps(self, match: Match) -> Iterator[Step]:
        """Yield the score maps of an image after each step that changes them; the last ones decide.

        Call it inside ``with parts.models.lock``: score maps take the device's memory, and batches are given what they
        find free. Whoever explains a label takes the same steps.

        Raises:
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the score maps do not fit into the device's memory.
        """
        preset, encoded = self.parts.preset, match.encoded
        models = self.parts.models
        halved = models.options.bf16_matching
        maps = score_maps(encoded, match.tables, match.candidates, preset, models.device, halved=halved)
        yield Step("votes", maps)
        if match.lessons is not None:
            maps = with_lessons(encoded, maps, match.lessons, self.parts.models.device)
            yield Step("lessons", maps)
        if preset.refine.pamr:
            maps = refined(encoded, maps, preset)
            yield Step("PAMR", maps)
        if preset.part_check.enabled:
            stuff = self.kinds.stuff(match.competition.vocabulary)
            learned = None if match.lessons is None else match.lessons.crops
            maps, seen = check_parts(self.parts, encoded, maps, match.competition, stuff, learned)
            yield Step(PART_CHECK, maps, seen)
            yield Step("uncertain stuff", leave_uncertain_stuff(maps, stuff, preset.part_check), seen)

    def segmentation(self, match: Match, last: Step, vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation by the last step. Call it inside ``with parts.models.lock``.

        Raises:
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: the score maps do not fit into the device's memory.
        """
        preset, competition = self.parts.preset, match.competition
        found = label_pixels(match.encoded, last.maps, competition.asked, preset)
        names = tuple(category.name for category in vocabulary.categories)
        scoring = RegionScoring(preset.scores, names, self.kinds.stuff(vocabulary))
        seen = self._presence(match)
        return replace(found, parts=last.parts, presence=seen, scoring=scoring)

    def _match(self, encoded: EncodedImage, vocabulary: Vocabulary, lessons: bool = True) -> Segmentation:
        match = self.match(encoded, vocabulary, lessons=lessons)
        for step in self.steps(match):
            last = step
        return self.segmentation(match, last, vocabulary)

    def _presence(self, match: Match) -> tuple[float, ...]:
        """Return CLIP's share of each asked category in the whole image; () if it was encoded without CLIP."""
        preset, competition, embedding = self.parts.preset, match.competition, self._embedding(match.encoded)
        if embedding is None:
            return ()
        words = [with_phrase(each, preset.generation.phrases).phrases for each in competition.vocabulary.categories]
        words += [(text,) for text in competition.texts]
        added = None
        if match.lessons is not None and match.lessons.images is not None:
            added = match.lessons.images.cosines(embedding[None], range(1, len(words) + 1))[0]
        return presence(embedding, words, self.parts.texts, preset.prefilter.template, added)[: competition.asked]

    def _embedding(self, encoded: EncodedImage) -> Tensor | None:
        """Return CLIP's vector of an image where its texts are; that of a stored encoding comes from the CPU."""
        return None if encoded.embedding is None else encoded.embedding.to(self.parts.models.device)

    def _encode(self, image: NDArray[np.uint8], key: str, new: list[_New]) -> EncodedImage:
        """Return an image's encoding; one that is to be stored is added to `new`. Call it under the models' lock."""
        encoded = self._known(key)
        if encoded is None:
            encoded = encode_image(self.parts, image)
            self._encodings.put(key, encoded)  # A copy, if this is on the device, where it is matched next.
            if self._stored_encodings.keeps:
                new.append((self._stored_key(key), encoded.on_the_cpu()))
        return encoded

    def _store(self, new: Sequence[_New]) -> None:
        """Write encodings to the disk. Call it without the models' lock, so that nobody else waits for the disk."""
        for key, encoded in new:
            self._stored_encodings.put(key, encoded)

    def _known(self, key: str) -> EncodedImage | None:
        """Return the encoding of an image from memory or from the disk. Call it under the models' lock."""
        encoded = self._encodings.get(key)
        if encoded is None:
            encoded = self._stored_encodings.get(self._stored_key(key))
            if encoded is not None:
                self._encodings.put(key, encoded)
        return encoded

    def _keep(self, key: str, encoded: EncodedImage) -> None:
        """Keep an encoding in memory, and on the disk as soon as that has time; "" is no key."""
        if not key:
            return
        kept = encoded.on_the_cpu()
        self._encodings.put(key, kept)
        self._stored_encodings.put_soon(self._stored_key(key), kept)

    def _stored_key(self, key: str) -> str:
        return digest([self.encoding_key, key])
