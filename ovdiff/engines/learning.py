"""What some engines learn from annotated images, and what of it counts for a vocabulary.

tests/ovdiff/engines/test_capabilities.py tells which engines can do what.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.lessons import Lesson, LessonSource
from ovdiff.engines.contract import SegmentationEngine
from ovdiff.learning.annotation import Annotation
from ovdiff.learning.curve_points import CurvePoint
from ovdiff.learning.next_tasks import TaskScore
from ovdiff.vocabulary import Vocabulary


@runtime_checkable
class Learns(Protocol):
    """An engine that learns from annotated images, and keeps what it learned as lessons."""

    @property
    def lessons(self) -> LessonStore:
        """The store of the lessons."""
        ...

    def lessons_version(self, vocabulary: Vocabulary) -> str:
        """Return a hash of the lessons that count for a vocabulary; "" if none does."""
        ...

    def lesson_address(self, image: NDArray[np.uint8], annotation: Annotation) -> str:
        """Return the address that the lesson of an annotated (H, W, 3) uint8 RGB image has; no model runs.

        Raises:
            OVDiffError: the annotation is of another size, or a model's files are missing.
        """
        ...

    def draft_lesson(self, image: NDArray[np.uint8], annotation: Annotation) -> Lesson | None:
        """Take the lesson of an annotated (H, W, 3) uint8 RGB image without its source, for any process to store.

        Returns:
            The lesson for `learn`; ``None`` if it is stored already.

        Raises:
            OVDiffError: the lesson cannot be taken.
        """
        ...

    def learn(
        self,
        image: NDArray[np.uint8],
        annotation: Annotation,
        source: LessonSource | None = None,
        *,
        per_annotation: bool = False,
        draft: Lesson | None = None,
    ) -> Lesson:
        """Take the lesson of an annotated image and store it, unless it is there.

        Lessons that older annotations of the same task and image gave are removed; with ``per_annotation`` only those
        of older versions of the same annotation. With a ``draft``, by `draft_lesson`, no model runs.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            OVDiffError: the lesson cannot be taken or stored for another reason.
        """
        ...


@runtime_checkable
class TellsCurve(Protocol):
    """An engine that can say how much its lessons help, by their number."""

    def learning_curve(self, vocabulary: Vocabulary) -> tuple[CurvePoint, ...]:
        """Return the learning curve of the lessons in force; () without any.

        Raises:
            OVDiffError: categories are not prepared, or a model cannot be loaded.
        """
        ...


@runtime_checkable
class ScoresTasks(Protocol):
    """An engine that can say from which images it would learn most."""

    def task_score(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> TaskScore | None:
        """Return what an annotation of an (H, W, 3) uint8 RGB image promises to teach; ``None`` if it was taught.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            OVDiffError: the image cannot be segmented for another reason.
        """
        ...


def engine_state(engine: SegmentationEngine, vocabulary: Vocabulary | None) -> str:
    """Return what decides about masks besides pixels and prepared categories: the fingerprint, and lessons that count.

    Args:
        engine: any engine.
        vocabulary: the categories that are asked for; ``None`` for none.
    """
    taught = engine.lessons_version(vocabulary) if isinstance(engine, Learns) and vocabulary is not None else ""
    return engine.fingerprint() + (f"-lessons-{taught}" if taught else "")
