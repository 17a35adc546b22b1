import numpy as np
import pytest

from ovdiff.errors import LessonError
from ovdiff.learning.annotation import Annotation
from ovdiff.vocabulary import Vocabulary

WORDS = Vocabulary(["ball", "mug"])
MAP = np.array([[0, 1], [1, 1]], np.int32)


def test_an_annotation_speaks_about_all_words_or_about_those_that_it_names() -> None:
    assert all(Annotation(MAP, WORDS).covers(name) for name in WORDS.names)
    some = Annotation(MAP, WORDS, covered=["ball"])
    assert some.covers("ball") and not some.covers("mug")


@pytest.mark.parametrize(
    ("labels", "covered", "message"),
    [
        (MAP.astype(float), None, r"Expected a label map of whole numbers \(H, W\), got float64 \(2, 2\)"),
        (MAP[None], None, r"got int32 \(1, 2, 2\)"),
        (MAP * 3, None, "has values from 0 to 3; expected 0 to 2"),
        (MAP - 1, None, "has values from -1 to 0"),
        (MAP * 0, None, "Nothing is annotated in the image"),
        (MAP[:0], None, "Nothing is annotated in the image"),
        (MAP, ["boat"], "The vocabulary has no 'boat'; its categories are ball, mug"),
        (MAP, ["mug"], "has 'ball', which the annotation does not speak about"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(
    labels: np.ndarray, covered: list[str] | None, message: str
) -> None:
    with pytest.raises(LessonError, match=message):
        Annotation(labels, WORDS, covered)


def test_an_annotation_of_another_size_than_its_image_is_refused() -> None:
    with pytest.raises(LessonError, match="annotation is of 2 x 2 px and its image of 5 x 4 px"):
        Annotation(MAP, WORDS).require_size(np.zeros((4, 5, 3), np.uint8))
