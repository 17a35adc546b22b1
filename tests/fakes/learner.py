"""The quick stand-in for the method, with lessons: real addresses and a real store, and rows that no model made."""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.lesson_store import LessonStore, lessons_beside
from ovdiff.bank.lessons import Lesson, LessonRows, LessonSource, LessonWord
from ovdiff.learning.addresses import lesson_address
from ovdiff.learning.annotation import Annotation
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import FakeEngine

RECIPE = "fa" * 32


class LearningEngine(FakeEngine):
    """Learns, for each word of an annotation, one row of the pixels that were predicted so and one of the others."""

    learned: int = 0

    @property
    def lessons(self) -> LessonStore:
        return lessons_beside(self.folder)

    def lesson_address(self, image: NDArray[np.uint8], annotation: Annotation) -> str:
        annotation.require_size(image)
        return lesson_address(_key(image), annotation, _words(annotation), RECIPE)

    def lessons_version(self, vocabulary: Vocabulary) -> str:
        return self.lessons.digest(RECIPE, [category.phrases for category in vocabulary.categories])

    def learn(
        self,
        image: NDArray[np.uint8],
        annotation: Annotation,
        source: LessonSource | None = None,
        *,
        per_annotation: bool = False,
        draft: Lesson | None = None,
    ) -> Lesson:
        source, address = source or LessonSource(), self.lesson_address(image, annotation)
        replaced = self.lessons.of_task(RECIPE, source, per_annotation=per_annotation)
        if self.lessons.has(address):
            return self.lessons.load(address)
        type(self).learned += 1
        lesson = replace(draft or self._drafted(image, annotation), source=source)
        self.lessons.save(lesson, replaced)
        return lesson

    def draft_lesson(self, image: NDArray[np.uint8], annotation: Annotation) -> Lesson | None:
        there = self.lessons.has(self.lesson_address(image, annotation))
        return None if there else self._drafted(image, annotation)

    def _drafted(self, image: NDArray[np.uint8], annotation: Annotation) -> Lesson:
        address = self.lesson_address(image, annotation)
        predicted = self.segment(image, annotation.vocabulary).label_map
        pairs = np.stack([annotation.label_map, predicted], axis=-1).reshape(-1, 2)
        kept = pairs if annotation.complete else pairs[pairs[:, 0] > 0]
        words, counts = np.unique(kept, axis=0, return_counts=True)
        rows = LessonRows(
            np.eye(len(words), 64, dtype=np.float32),
            words[:, 0].astype(np.int32),
            words[:, 1].astype(np.int32),
            counts.astype(np.float32),
        )
        return Lesson(address, RECIPE, _key(image), _words(annotation), annotation.complete, {"clip": rows})


def _key(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def _words(annotation: Annotation) -> tuple[LessonWord, ...]:
    categories = annotation.vocabulary.categories
    return tuple(LessonWord(each.name, each.phrases, annotation.covers(each.name)) for each in categories)
