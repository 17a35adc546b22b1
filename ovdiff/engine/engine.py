"""All that OVDiff can do: the two halves of the method, and what reads their result.

Building, encoding and matching are in :class:`ovdiff.engine.halves.Halves`. Here are added: what people change of a
word, what annotated images teach, why a place has its label, what is none of the words, and what a vocabulary will be
good for.
"""

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.lessons import Lesson, LessonSource
from ovdiff.building.curating import Curator
from ovdiff.building.steps import Progress
from ovdiff.curation.drafts import DraftCurations
from ovdiff.curation.store import CurationStore
from ovdiff.engine.halves import Halves
from ovdiff.errors import WeightsError
from ovdiff.explaining.explainer import Explainer
from ovdiff.explaining.explanation import Explanation, Where
from ovdiff.forecasting.forecast import Forecast
from ovdiff.forecasting.forecaster import Forecaster
from ovdiff.learning.annotation import Annotation
from ovdiff.learning.curve import learning_curve
from ovdiff.learning.curve_points import CurvePoint
from ovdiff.learning.learner import Learner
from ovdiff.learning.next_tasks import TaskScore
from ovdiff.learning.task_scorer import TaskScorer
from ovdiff.models.devices import require_device
from ovdiff.models.files import SEGMENTING
from ovdiff.models.loaded import LoadedModels
from ovdiff.novelties.finder import NoveltyFinder
from ovdiff.novelties.groups import NovelRegion
from ovdiff.presets import Preset
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.vocabulary import Vocabulary


class Engine(Halves):
    """The method on loaded models, with all that it can do (:mod:`ovdiff.engines`). Safe for several threads."""

    def __init__(
        self,
        preset: Preset,
        bank: Bank,
        *,
        device: str = "cpu",
        models: LoadedModels | None = None,
        curations: CurationStore | None = None,
    ) -> None:
        """Prepare the engine; the arguments are those of `Halves`. No model is loaded yet."""
        super().__init__(preset, bank, device=device, models=models, curations=curations)
        self.curator = Curator(self._builder)
        """Changes what a word means: rejects its support images, adds exemplars, bans background (`Curator`)."""
        self.lessons = self._segmenter.lessons.store
        self._learner = Learner(self._segmenter, self._recipes, self.lessons)
        self._task_scorer = TaskScorer(self._segmenter, self._recipes, self.lessons)
        self._novelty_finder = NoveltyFinder(self._segmenter)
        self._explainer = Explainer(self._segmenter, self._builder, bank, self._recipes)

    def beside(self, preset: Preset, bank: Bank) -> "Engine":
        """Return an engine with another preset or bank on the models of this one; models that both use load once."""
        return Engine(preset, bank, models=self._models)

    def drafting(self) -> "Engine":
        """Return an engine on the models and the bank of this one, whose curations are changed in memory alone.

        What it builds is stored in the bank, under the keys that the same curations have when they are in force.
        """
        return Engine(self.preset, self.bank, models=self._models, curations=DraftCurations(self.bank.folder))

    def lessons_version(self, vocabulary: Vocabulary) -> str:
        """Return a hash of the lessons that count for a vocabulary; "" if none does, or weights are missing.

        Lessons that speak about none of its categories are not in it, so what one project learns changes no other.
        Cost: a look at the times of the lessons' files.
        """
        try:
            return self._segmenter.lessons.version(vocabulary)
        except WeightsError:
            return ""

    def lesson_address(self, image: NDArray[np.uint8], annotation: Annotation) -> str:
        """Return the address that the lesson of an annotated image has in `lessons`; no model runs.

        Raises:
            ImageError: ``image`` is not an (H, W, 3) uint8 array.
            LessonError: the annotation is of another size.
            WeightsError: a model's files are missing.
        """
        return self._learner.address(image, annotation)

    def draft_lesson(self, image: NDArray[np.uint8], annotation: Annotation) -> Lesson | None:
        """Return the lesson of an annotated image without its source, and store nothing; ``None`` if it is there.

        This is what costs anything of :meth:`learn`, which takes the lesson as its draft, in whatever process that is.

        Raises:
            OVDiffError: the errors of :meth:`learn`.
        """
        self._require_files(SEGMENTING)
        return self._learner.draft(image, annotation)

    def learn(
        self,
        image: NDArray[np.uint8],
        annotation: Annotation,
        source: LessonSource | None = None,
        *,
        per_annotation: bool = False,
        draft: Lesson | None = None,
    ) -> Lesson:
        """Take the lesson of an annotated image, and store it in `lessons`, unless it is there. Nothing is trained.

        Lessons that older annotations of the same task and image gave are removed.

        Cost: that of segmenting the image, and less than a second; of a lesson that is there no model runs.

        Args:
            image: (H, W, 3) uint8 RGB, upright.
            annotation: what a person says about it; all categories of its vocabulary must have been built.
            source: where the annotation comes from.
            per_annotation: keep the lessons of other annotations of the task, and remove only those of older versions
                of this one.
            draft: what :meth:`draft_lesson` returned, here or elsewhere; no model runs then.

        Raises:
            ImageError: ``image`` is not such an array.
            LessonError: the annotation is of another size, or the store cannot be written.
            MissingPrototypesError: some categories must be built first; the message names them.
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        self._require_files(SEGMENTING)
        source = source or LessonSource()
        return self._learner.learn(image, annotation, source, per_annotation=per_annotation, draft=draft)

    def task_score(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> TaskScore | None:
        """Return what an annotation of an image promises to teach; `ovdiff.learning.next_tasks.choose` orders tasks.

        Cost: that of :meth:`segment`.

        Args:
            image: (H, W, 3) uint8 RGB, upright.
            vocabulary: the categories, all of which must have been built.

        Returns:
            ``None`` if `lessons` holds a lesson of the image, on or off, of any preset.

        Raises:
            ImageError: ``image`` is not such an array.
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: not even one window fits into the device's memory.
        """
        self._require_files(SEGMENTING)
        return self._task_scorer.score(image, vocabulary)

    def learning_curve(self, vocabulary: Vocabulary) -> tuple[CurvePoint, ...]:
        """Return how much the lessons in force help, by their number (:mod:`ovdiff.learning.curve`); () without any.

        Raises:
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: CLIP cannot be loaded.
        """
        self._require_files(SEGMENTING)
        return learning_curve(self._segmenter, vocabulary)

    def novel_regions(self, encoded: EncodedImage, vocabulary: Vocabulary) -> tuple[NovelRegion, ...]:
        """Return the regions of an encoded image that show none of a vocabulary's words, the most novel first.

        :func:`ovdiff.novelties.groups.group_regions` groups those of many images as candidates for labels.

        Raises:
            PresetError: the preset has no CLIP.
            MissingPrototypesError: some categories must be built first; the message names them.
            WeightsError: CLIP cannot be loaded.
        """
        return self._novelty_finder.find(encoded, vocabulary)

    def explain(self, encoded: EncodedImage, vocabulary: Vocabulary, where: Where) -> Explanation:
        """Say why a place of an encoded image has its label: votes, prototypes and support images behind them, stages.

        Cost: that of :meth:`label`, a decision for each stage, and a pass of an extractor over the support images of
        each category and space of which a part prototype counted.

        Args:
            encoded: the image, by :meth:`encode`.
            vocabulary: the categories, all of which must have been built.
            where: a pixel (x, y) of the image, from (0, 0) at the top left; or a mask (H, W) bool of the image's size.
                Of a mask each figure is the mean over its pixels of what the figure is at a pixel, as score maps are
                enlarged to the image.

        Returns:
            The explanation; a support image that is not stored any more is left out, with the reason.

        Raises:
            ImageError: the pixel lies outside the image, or the mask is empty or of another size.
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: the score maps, or one support image, do not fit into the device's memory.
        """
        return self._explainer.explain(encoded, vocabulary, where)

    def forecast(self, vocabulary: Vocabulary, report: Progress | None = None) -> Forecast:
        """Say what a vocabulary will be good for, from support images and prototypes alone; see `ovdiff.forecasting`.

        Categories that are not built are forecast by their names alone. Nothing is drawn. Cost: each support image is
        encoded twice and segmented once.

        Args:
            vocabulary: at least two categories.
            report: called with a category's name and the fraction done.

        Raises:
            VocabularyError: the vocabulary has one category alone.
            BankError: the support images of a built category are not stored, or a stored file cannot be read.
            SupportError: half of a category's images gives no prototypes.
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: an image does not fit into the device's memory.
        """
        self._require_files(SEGMENTING)
        forecaster = Forecaster(self._builder, self._segmenter.parts, self.bank, self._recipes)
        return forecaster.forecast(vocabulary, report or (lambda _name, _fraction: None))


def make_engine(preset: Preset, bank: Bank, device: str) -> Engine:
    """Return the engine of a preset; it loads no weights yet.

    Raises:
        DeviceError: torch cannot use the device.
    """
    require_device(device)
    return Engine(preset, bank, device=device)
