"""The two halves of the method joined: each category is built once, and each image is encoded once.

Building depends on one category alone, so after a vocabulary edit only new categories are built. Encoding depends on
one image alone, so after a vocabulary edit no image is encoded again. The halves share the models and their lock. What
reads their result, such as lessons and explanations, is added by :class:`ovdiff.engine.Engine`.

Tested through the engine by tests/ovdiff/engine/test_engine.py; tests/ovdiff/test_halves.py runs each half alone.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.recipe import Recipes
from ovdiff.bank.support import SupportSet
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import Progress
from ovdiff.curation.store import CurationStore
from ovdiff.errors import WeightsError
from ovdiff.extractors import Extractors
from ovdiff.models.fetching import require_files
from ovdiff.models.files import BUILDING, SEGMENTING
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.needs import Stage
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.prepared import Prepared
from ovdiff.vocabulary import Category, Vocabulary, as_category
from ovdiff.vocabulary.kinds import KindDecision

_TOGETHER = 4
"""Images: their windows, six each of a 4:3 image with `fast`, make a batch and a half of its size."""


class Halves:
    """The halves on loaded models. Weights are loaded once, when they are first needed. Safe for several threads.

    Models run under one lock. A build releases it after each batch of images, so a prediction waits for a batch of the
    build and not for a whole category.
    """

    def __init__(
        self,
        preset: Preset,
        bank: Bank,
        *,
        device: str = "cpu",
        models: LoadedModels | None = None,
        curations: CurationStore | None = None,
    ) -> None:
        """Prepare the halves. No model is loaded yet.

        Args:
            preset: the models and hyper-parameters.
            bank: the store of prototype sets.
            device: a torch device, such as "cpu" or "cuda".
            models: loaded models to share with another engine, on their own device; with ``None`` models of its own are
                loaded.
            curations: what people changed of support sets; with ``None`` what is in force beside the bank.
        """
        self.preset, self.bank = preset, bank
        self._models = models or LoadedModels(device)
        self._recipes = Recipes(preset, curations or CurationStore(bank.folder))
        extractors = Extractors(preset, self._models)
        self._builder = CategoryBuilder(BuildingParts(preset, self._models, extractors), bank, self._recipes)
        self._segmenter = ImageSegmenter(SegmentingParts(preset, self._models, extractors), bank, self._recipes)
        self.support_store = self._builder.store
        self._complete: set[tuple[Stage, ...]] = set()

    def category_key(self, category: Category | str) -> str:
        """Return the content address (64 hex digits) of the category's prototype set; loads no model.

        This method, `has`, `build`, `judge`, `judgement` and `support_set` take a category, or its name.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._recipes.prototypes(as_category(category)).key

    def fingerprint(self) -> str:
        """Return a hex hash of the preset and the weights, which with the prototypes decide the masks of an image.

        While weights are missing the hash is another one than after they were found; so it is while anchors are.
        Lessons are not in it: see `Engine.lessons_version`.
        """
        try:
            return self.fingerprint_without_anchors() + ("-anchors" if self._segmenter.anchors.ready() else "")
        except WeightsError:
            return self.preset.fingerprint()

    def fingerprint_without_anchors(self) -> str:
        """Return a hex hash of the preset and the weights, whether or not the bank has the anchors."""
        try:
            return self._segmenter.fingerprint
        except WeightsError:
            return self.preset.fingerprint()

    def has(self, category: Category | str) -> bool:
        """Say whether the bank holds the category's prototypes, and holds them undamaged."""
        return self._builder.has(as_category(category))

    def build(self, category: Category | str, progress: Progress | None = None) -> None:
        """Make and store the category's prototypes, unless the bank has them.

        Cost: minutes with full-size models, seconds with the embedded ones.

        Args:
            category: the category to build, or its name.
            progress: called with the name of the stage and the fraction done.

        Raises:
            VocabularyError: a phrase is longer than the text encoder reads.
            SupportError: no generated image shows the category.
            WeightsError: a model cannot be loaded.
            BankError: the bank cannot be written.
        """
        wanted = as_category(category)
        if not self._builder.has(wanted):
            self._require_files(BUILDING)
        self._builder.build(wanted, progress or (lambda _stage, _fraction: None))

    @property
    def categories_together(self) -> int:
        """How many categories to give `draw_ahead`: 1, unless the device's option ``shared_batches`` is on.

        One category of `fast` has eight images; a GPU takes as many of four categories at once as memory allows.
        """
        return self._builder.categories_together

    def draw_ahead(self, categories: Sequence[Category], report: Callable[[Category, str, float], None]) -> None:
        """Draw support images of several categories, which share batches, so that `build` finds them.

        Categories that are built, that somebody else draws just now, or that cannot be drawn, are left out: `build`
        says why. Each finished batch is kept, and the keys of prototypes do not depend on it.

        Args:
            categories: what will be built next.
            report: called with a category, the name of the stage and the fraction done.

        Raises:
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: not even one image can be sampled.
            BankError: the bank cannot be written.
        """
        to_draw = self._builder.to_draw(categories)
        if len(to_draw) > 1:
            self._require_files(BUILDING)
            self._builder.draw_ahead(to_draw, report)

    def being_built(self, category: Category | str) -> str | None:
        """Return who builds the category just now, here or on another machine, or ``None``; loads no model.

        Raises:
            WeightsError: a model's files are missing.
            BankError: the bank cannot be read.
            StorageError: the bank's storage refuses, or is away for too long.
        """
        return self._builder.being_built(as_category(category))

    def judgement(self, category: Category | str) -> Judgement | None:
        """Return how well CLIP agrees that the category's support images show it, from its card; loads no model.

        Returns:
            ``None`` if that was not judged with this preset's anchors and CLIP.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._builder.judgement(as_category(category))

    def judge(self, category: Category | str) -> Judgement | None:
        """Return the category's judgement; if it has none, judge its stored support images first and keep that.

        `build` does this for new categories. Cost: one pass of CLIP for each image; nothing is drawn.

        Returns:
            ``None`` if the preset has no anchors or no CLIP, or the category's prototypes or images are not stored.

        Raises:
            WeightsError: CLIP cannot be loaded.
            DeviceMemoryError: not even one image fits into the device's memory.
            BankError: the bank cannot be written.
        """
        return self._builder.judge(as_category(category))

    def support_set(self, category: Category | str) -> SupportSet:
        """Return a category's support images, attribution maps and masks from the store; loads no model.

        Raises:
            BankError: some of them are not stored; the message says what to do.
            WeightsError: a model's files are missing.
        """
        return self._builder.support_set(as_category(category))

    def kinds(self, vocabulary: Vocabulary) -> tuple[KindDecision, ...]:
        """Decide whether each category is a thing or stuff, and by which rule (A.9), in the vocabulary's order.

        CLIP is loaded only if the preset uses it for unknown names and the vocabulary has such a name.

        Raises:
            WeightsError: CLIP cannot be loaded.
        """
        return self._segmenter.kinds.of(vocabulary)

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Return the decision whether a category is a thing or stuff, or ``None`` if a model must still make it.

        This never waits for the models.
        """
        return self._segmenter.kinds.so_far(category)

    def anchors(self) -> tuple[Category, ...]:
        """Return the words that compete for pixels beside any vocabulary, as soon as all of them are built."""
        return self._segmenter.anchors.categories()

    def anchors_aside(self, vocabulary: Vocabulary) -> tuple[tuple[str, str], ...]:
        """Return the anchors that step aside for a vocabulary, each with the asked name that means the same.

        Raises:
            WeightsError: CLIP, which compares the texts, cannot be loaded.
        """
        with self._models.lock:
            return self._segmenter.anchors.aside(vocabulary)

    def load_models(self) -> None:
        """Load the models that segment an image, unless they are loaded.

        Cost: seconds, or minutes if weights must be fetched. The models of building are loaded by `build`.

        Raises:
            WeightsError: a model cannot be loaded, or weights are missing and cannot be fetched.
            DeviceMemoryError: a model does not fit into the device's memory.
        """
        self._require_files(SEGMENTING)
        self._segmenter.parts.load()

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an image: :meth:`encode`, the expensive half, then :meth:`label`.

        Args:
            image: (H, W, 3) uint8 RGB, upright.
            vocabulary: the categories, all of which must have been built.

        Raises:
            ImageError: ``image`` is not such an array.
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        self._require_files(SEGMENTING)
        return self._segmenter.segment(image, vocabulary)

    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], vocabulary: Vocabulary, prepared: Sequence[Prepared] | None = None
    ) -> list[Segmentation]:
        """Label every pixel of several images, whose windows share batches.

        It raises what `segment` raises, for all images if one of them cannot be segmented.

        Args:
            images: each (H, W, 3) uint8 RGB, upright.
            vocabulary: the categories, all of which must have been built.
            prepared: what `prepared` made of the images; ``None`` prepares them now, and keeps no encoding.
        """
        self._require_files(SEGMENTING)
        return self._segmenter.segment_together(images, vocabulary, prepared)

    def prepared(self, image: NDArray[np.uint8], *, keep: bool = False) -> Prepared:
        """Return what `segment_together` would first make of an image: no model runs, and any thread may ask.

        Args:
            image: (H, W, 3) uint8 RGB, upright.
            keep: whether the image's encoding is looked up, and kept in memory and beside the bank, as by `segment`.

        Raises:
            ImageError: ``image`` is not such an array.
        """
        return self._segmenter.prepared(image, keep=keep)

    @property
    def images_together(self) -> int:
        """How many images of a run to segment at once: 1, unless the device's option ``together`` is on.

        On a GPU a batch of one image's windows is too small. On a CPU a batch of several takes no less, and rounds
        otherwise.
        """
        return _TOGETHER if self._models.options.together else 1

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Run the models on an (H, W, 3) uint8 RGB image, unless its encoding is kept in memory or beside the bank.

        Raises:
            ImageError: ``image`` is not such an array.
            WeightsError: a model cannot be loaded, or gives features that are not finite.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        self._require_files(SEGMENTING)
        return self._segmenter.encode(image)

    def encoding_key(self) -> str:
        """Return a hash of everything that shapes the encoding of an image, but the image.

        An engine can `label` what another one encoded if both have the same hash. It is cheap: no model loads.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._segmenter.encoding_key

    def label(self, encoded: EncodedImage, vocabulary: Vocabulary) -> Segmentation:
        """Match an encoded image with a vocabulary's prototypes (Eq. 4). Only CLIP may look at parts of the image.

        Raises:
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: CLIP, which embeds the categories' names, cannot be loaded.
            DeviceMemoryError: the score maps do not fit into the device's memory.
        """
        return self._segmenter.label(encoded, vocabulary)

    def candidates(self, encoded: EncodedImage, vocabulary: Vocabulary) -> tuple[int, ...]:
        """Return the indices of the categories that the prefilter leaves in an encoded image (A.10), ascending.

        Raises:
            WeightsError: CLIP, which embeds the categories' names, cannot be loaded.
        """
        with self._models.lock:
            return tuple(self._segmenter.candidates(encoded, vocabulary))

    def with_instances(
        self, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary
    ) -> Segmentation:
        """Tell the objects of one kind in a segmentation apart, as the preset's ``[instances]`` says.

        Cost: hundredths of a second, unless the method is "proposals", which runs a model on the image.

        Args:
            image: (H, W, 3) uint8 RGB, upright: the image that was segmented.
            segmentation: its segmentation.
            vocabulary: the categories of the segmentation.

        Returns:
            The same segmentation with an ``instance_map``.

        Raises:
            ImageError: ``image`` is not such an array, or is of another size than the segmentation.
            WeightsError: the model of the proposals, or CLIP, which decides the kinds of unknown names, does not load.
        """
        self._require_files(SEGMENTING)
        return self._segmenter.with_instances(image, segmentation, vocabulary)

    def _require_files(self, stages: tuple[Stage, ...]) -> None:
        """Check once that the weights for these stages are here or can be fetched (see `require_files`)."""
        if stages not in self._complete:
            require_files(self.preset, *stages)
            self._complete.add(stages)
