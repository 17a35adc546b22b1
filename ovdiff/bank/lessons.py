"""A lesson is what a person's annotation of a whole image says, as features and not as pixels. Never imports torch.

Every row of a lesson stands for some cells of the image's features, in one feature space. It holds two words: the one
that the person gave to these cells, and the one that the prediction gave to them. Where the two differ the prediction
was wrong. Words are numbers from 1 into :attr:`Lesson.words`; 0 is background::

    label 0      a complete annotation says that the cells show none of the words that it speaks about
    predicted 0  the prediction gave the cells no word

A lesson that comes from a complete annotation also teaches which words are absent: those that it speaks about and that
no row has as its label. A partial annotation has no rows of label 0.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LESSON_VERSION = 1
"""The version of stored lessons and of the code that takes them. It is part of every address: raise it when either
changes."""


@dataclass(frozen=True)
class LessonSource:
    """Where a lesson comes from. The source is no part of the lesson's address.

    Attributes:
        project: the number of the Label Studio project; "" if unknown.
        task: the number of the task; "" if unknown.
        annotation: the number of the annotation; "" if unknown.
        person: who annotated: a number, a name or an address; "" if unknown.
        when: when the annotation was last changed (ISO 8601); "" if unknown.
        image: the image's address, as the task names it, or its file.
    """

    project: str = ""
    task: str = ""
    annotation: str = ""
    person: str = ""
    when: str = ""
    image: str = ""


@dataclass(frozen=True)
class LessonWord:
    """A word of the vocabulary with which a lesson was taken.

    Attributes:
        name: the category's name when the lesson was taken, for people.
        phrases: the phrases of the category, by which it is found again under another name.
        covered: whether the annotation speaks about the word: where it is, or that it is absent. The other words occur
            as predictions alone.
    """

    name: str
    phrases: tuple[str, ...]
    covered: bool = True


@dataclass(frozen=True)
class LessonRows:
    """The features of one extractor's cells, in all windows of the image.

    Attributes:
        vectors: (n, D) float32, each of length 1. They are stored as float16.
        labels: (n,) int32, the word that the person gave to the cells.
        predicted: (n,) int32, the word that the prediction gave to most of the cells.
        weights: (n,) float32, the number of cells that a row stands for. A window that counts several times counts
            so here too.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int32]
    predicted: NDArray[np.int32]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class LessonCrops:
    """CLIP's views of the annotated parts: connected pieces of things, cut out as the part check cuts its crops.

    Attributes:
        vectors: (m, P) float32, each of length 1. They are stored as float16.
        labels: (m,) int32, the word that the person gave to the part; never 0.
        predicted: (m,) int32, the word that the prediction gave to most of the part.
        areas: (m,) float32, the share of the image that the part covers.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int32]
    predicted: NDArray[np.int32]
    areas: NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """What one annotated image teaches.

    Attributes:
        address: the content address, 64 hexadecimal digits: the image, the annotation's content, and the recipe.
        recipe: the content address of everything that made the features. Lessons of another recipe cannot be used.
        image: the content hash of the image's pixels.
        words: the vocabulary. Labels are numbers from 1 into it.
        complete: whether the annotation speaks about the whole image. A partial one teaches no background.
        spaces: the rows of each extractor, by the extractor's name.
        crops: CLIP's views of annotated parts; ``None`` if the preset has no part check.
        embedding: (P,) float32, CLIP's unit vector of the whole image; ``None`` if it was encoded without CLIP.
        weight: how much the lesson counts beside the others; 1 unless a person changed it.
        source: where the lesson comes from.
    """

    address: str
    recipe: str
    image: str
    words: tuple[LessonWord, ...]
    complete: bool
    spaces: Mapping[str, LessonRows]
    crops: LessonCrops | None = None
    embedding: NDArray[np.float32] | None = None
    weight: float = 1.0
    source: LessonSource = field(default_factory=LessonSource)

    def present(self) -> tuple[int, ...]:
        """Return the numbers of the words that the person found in the image, ascending."""
        labels = [rows.labels for rows in self.spaces.values()]
        labels += [] if self.crops is None else [self.crops.labels]
        found = np.unique(np.concatenate(labels)) if labels else np.empty(0, np.int32)
        return tuple(int(number) for number in found if number > 0)

    def absent(self) -> tuple[int, ...]:
        """Return the numbers of the words that a complete annotation says are not in the image, ascending."""
        present = self.present()
        numbered = enumerate(self.words, start=1) if self.complete else ()
        return tuple(number for number, word in numbered if word.covered and number not in present)

    def number_of(self, phrases: tuple[str, ...]) -> int | None:
        """Return the number of the word that has these phrases; ``None`` if the lesson does not know it."""
        return next((n for n, word in enumerate(self.words, start=1) if word.phrases == phrases), None)

    def teaches(self, phrases: tuple[str, ...]) -> bool:
        """Say whether the annotation speaks about the word of these phrases."""
        return any(word.covered and word.phrases == phrases for word in self.words)


def set_digest(weights: Mapping[str, float]) -> str:
    """Return a hash of a set of lessons, given as the weight of each address; "" for no lessons. Order is ignored."""
    if not weights:
        return ""
    rows = json.dumps(sorted((address, float(weight)) for address, weight in weights.items()))
    return hashlib.sha256(rows.encode()).hexdigest()
