"""The lesson of one annotated image is taken: the same code for `ovdiff learn` and for the service.

So both give a lesson the same address, and never make two lessons of one annotation.

Tested by tests/backend/command/test_learn.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.errors import ImageSourceError
from backend.serving.teaching.annotated import Scope, to_annotation
from backend.serving.vocabulary import Labelling
from converters import records
from converters.errors import ImageFileError
from converters.label_studio.label_config import LabelConfig
from ovdiff.bank.lessons import Lesson, LessonSource
from ovdiff.distributed.engine_worker import engine_here
from ovdiff.engines.learning import Learns
from ovdiff.errors import DeviceMemoryError, ImageError, LessonError
from ovdiff.vocabulary import Vocabulary

REFUSALS = (LessonError, ImageSourceError, ImageFileError, ImageError, DeviceMemoryError)
"""Errors that concern one task alone: after them the other tasks are still learned from."""

ReadImage = Callable[[records.ImageRecord], NDArray[np.uint8]]
"""Gives the image of a task, (H, W, 3) uint8 RGB, upright."""


@dataclass(frozen=True)
class Taken:
    """What became of an annotation.

    Attributes:
        is_new: whether its lesson was not there before.
        replaced: how many lessons of older annotations were removed.
        contested_px: pixels that several labels claimed.
    """

    is_new: bool
    replaced: int
    contested_px: int


@dataclass(frozen=True)
class Taking:
    """Takes the lesson of one annotation after the other.

    Attributes:
        engine: the method.
        vocabularies: the vocabulary of each image tag, by its name.
        read_image: gives the image of a task.
        scope: what the annotations speak about.
        per_annotation: whether each person's annotation of a task keeps a lesson, and not one annotation alone.
    """

    engine: Learns
    vocabularies: dict[str, Vocabulary]
    read_image: ReadImage
    scope: Scope
    per_annotation: bool = False

    def take(self, record: records.ImageRecord, made: records.Annotation, draft: Lesson | None = None) -> Taken:
        """Take the lesson of an annotation of an image, unless it is there.

        Args:
            record: the image.
            made: the annotation.
            draft: the lesson, if another process has taken it (:class:`Drafting`); no model runs then.

        Raises:
            LessonError, ImageSourceError, ImageFileError, ImageError, DeviceMemoryError: this annotation gives no
                lesson; see `REFUSALS`.
            OVDiffError: no annotation gives a lesson, such as because prototypes are missing.
        """
        annotation, contested_px = to_annotation(made, self.vocabularies[record.image_tag], self.scope)
        image, store = self.read_image(record), self.engine.lessons
        before = set(store.addresses())
        is_there = store.has(self.engine.lesson_address(image, annotation))
        project, task, number, person = map(text_of, (record.project, record.task_id, made.id, made.annotator))
        source = LessonSource(project, task, number, person, made.updated_at, record.image)
        self.engine.learn(image, annotation, source, per_annotation=self.per_annotation, draft=draft)
        return Taken(not is_there, len(before - set(store.addresses())), contested_px)


@dataclass(frozen=True)
class Drafting:
    """Takes lessons with the engine of this process, for another process to store; picklable.

    Attributes:
        vocabularies: the vocabulary of each image tag, by its name.
        read_image: gives the image of a task.
        scope: what the annotations speak about.
    """

    vocabularies: dict[str, Vocabulary]
    read_image: ReadImage
    scope: Scope

    def __call__(self, given: tuple[records.ImageRecord, records.Annotation]) -> Lesson | None:
        """Return the lesson of an annotation of an image; None if it is there, or if this annotation gives none.

        Why it gives none is found again, and told, where it is to be stored.
        """
        record, made = given
        engine = engine_here()
        try:
            annotation, _ = to_annotation(made, self.vocabularies[record.image_tag], self.scope)
            image = self.read_image(record)
            return engine.draft_lesson(image, annotation) if isinstance(engine, Learns) else None
        except REFUSALS:
            return None


def text_of(value: object) -> str:
    """Return a number or a name as a lesson keeps it; "" if it is unknown."""
    return "" if value is None else str(value)


def vocabularies_of(labelling: Labelling) -> dict[str, Vocabulary]:
    """Return the vocabulary of each image tag, as the service segments with it."""
    outputs = labelling.by_image(labelling.categories)
    return {tag.name: Vocabulary([each.category for each in own]) for tag, own in outputs.items() if own}


def kinds_of(config: LabelConfig) -> dict[str, str]:
    """Return the tag of each control in lower case, by the control's name."""
    return {control.name: control.kind for control in config.controls}


def why_without_image(record: records.ImageRecord) -> str:
    """Return why a task shows no image."""
    return "; ".join(f"{item.reason}: {item.where}" for item in record.left_out) or "it cannot be read"
