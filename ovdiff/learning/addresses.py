"""What identifies a lesson: its image, what the annotation says of it, and the recipe. Never imports torch.

Tested by tests/ovdiff/learning/test_lesson.py.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from ovdiff.bank.lessons import LessonWord
from ovdiff.learning.annotation import Annotation
from ovdiff.presets import Preset
from ovdiff.presets.mapping import digest
from ovdiff.vocabulary import with_phrase


def lesson_address(image: str, annotation: Annotation, words: Sequence[LessonWord], recipe: str) -> str:
    """Return the content address of a lesson.

    Names are not in it, phrases are: a renamed label of the same prompts gives the same lesson. Nor are words in it
    that the annotation does not speak about.

    Args:
        image: the content hash of the image's pixels.
        annotation: the annotation.
        words: its vocabulary.
        recipe: the key of the recipe of lessons.
    """
    masks = sorted(
        [list(word.phrases), hashlib.sha256(np.packbits(annotation.label_map == number).tobytes()).hexdigest()]
        for number, word in enumerate(words, start=1)
        if word.covered
    )
    return digest([recipe, image, list(annotation.label_map.shape), annotation.complete, masks])


def words_of(annotation: Annotation, preset: Preset) -> tuple[LessonWord, ...]:
    """Return the vocabulary of an annotation with the phrases by which prototypes are found, too."""
    phrased = (with_phrase(category, preset.generation.phrases) for category in annotation.vocabulary.categories)
    return tuple(LessonWord(each.name, each.phrases, annotation.covers(each.name)) for each in phrased)
