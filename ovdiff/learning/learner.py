"""The learner takes lessons with a segmenting half, and keeps them in the store beside the bank.

Tested through the engine by tests/ovdiff/learning/test_lesson.py.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.lessons import Lesson, LessonSource
from ovdiff.bank.recipe import Recipes
from ovdiff.images import image_key, require_image
from ovdiff.learning.addresses import lesson_address, words_of
from ovdiff.learning.annotation import Annotation
from ovdiff.learning.lesson import sourced, take_lesson
from ovdiff.segmenting.image_segmenter import ImageSegmenter


class Learner:
    """Takes lessons. Safe for several threads; the models run under their own lock."""

    def __init__(self, segmenter: ImageSegmenter, recipes: Recipes, store: LessonStore) -> None:
        """Load no model yet."""
        self._segmenter, self._recipes, self._store = segmenter, recipes, store

    def address(self, image: NDArray[np.uint8], annotation: Annotation) -> str:
        """Return the address that the lesson of an annotated image has or would have; no model runs.

        Raises:
            ImageError: ``image`` is not an (H, W, 3) uint8 array.
            LessonError: the annotation is of another size.
            WeightsError: a model's files are missing.
        """
        require_image(image)
        annotation.require_size(image)
        words = words_of(annotation, self._segmenter.parts.preset)
        return lesson_address(image_key(image), annotation, words, self._recipes.lessons.key)

    def draft(self, image: NDArray[np.uint8], annotation: Annotation) -> Lesson | None:
        """Take the lesson of an annotated image, and store nothing. See :meth:`ovdiff.engine.Engine.draft_lesson`."""
        address = self.address(image, annotation)
        return None if self._store.has(address) else self._taken(image, annotation, address, LessonSource())

    def learn(
        self,
        image: NDArray[np.uint8],
        annotation: Annotation,
        source: LessonSource,
        *,
        per_annotation: bool,
        draft: Lesson | None = None,
    ) -> Lesson:
        """Take the lesson of an annotated image and store it. See :meth:`ovdiff.engine.Engine.learn`."""
        address, recipe = self.address(image, annotation), self._recipes.lessons.key
        replaced = self._store.of_task(recipe, source, per_annotation=per_annotation)
        if self._store.has(address):
            for other in set(replaced) - {address}:
                self._store.remove(other)
            return self._store.load(address)
        if draft is not None and draft.address == address:
            lesson = replace(draft, source=source)
        else:
            lesson = self._taken(image, annotation, address, source)
        self._store.save(lesson, replaced)
        return lesson

    def _taken(self, image: NDArray[np.uint8], annotation: Annotation, address: str, source: LessonSource) -> Lesson:
        """Run the models, and return the lesson."""
        encoded, parts = self._segmenter.encode(image), self._segmenter.parts
        predicted = self._segmenter.label(encoded, annotation.vocabulary, lessons=False).label_map
        with parts.models.lock:
            stuff = self._segmenter.kinds.stuff(annotation.vocabulary)
            taken = take_lesson(parts, encoded, annotation, predicted, stuff)
        return sourced(taken, address, self._recipes.lessons.key, image_key(image), source)
