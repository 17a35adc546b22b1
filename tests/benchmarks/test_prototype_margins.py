import math

import numpy as np
import pytest

from benchmarks.prototype_margins import likeness, margins
from ovdiff.bank.prototypes import KINDS, Prototypes


def test_a_margin_is_the_right_cosine_less_the_best_wrong_one() -> None:
    scores = np.array([[[0.1, 0.9]], [[0.6, 0.5]], [[0.4, 0.2]]], dtype=np.float32)  # background and two words
    found = margins(scores, np.array([[1, 2]], dtype=np.int32))
    assert found == pytest.approx({"right": 0.4, "wrong": 0.65, "margin": -0.25, "pixels right": 0.5})


def test_pixels_without_a_word_are_left_out() -> None:
    scores = np.array([[[0.1, 0.9]], [[0.6, 0.5]]], dtype=np.float32)
    assert margins(scores, np.array([[1, 0]], dtype=np.int32))["pixels right"] == 1.0
    assert all(map(math.isnan, margins(scores, np.zeros((1, 2), dtype=np.int32)).values()))


def test_prototypes_of_a_word_are_compared_with_one_another_and_with_the_nearest_of_other_words() -> None:
    instance, part = KINDS.index("instance"), KINDS.index("part")
    kinds, images = np.array([instance, instance, part], dtype=np.uint8), np.array([0, 1, -1], dtype=np.int32)
    one = Prototypes(np.array([[2, 0, 0], [0, 1, 0], [3, 0, 0]], dtype=np.float32), kinds, images)
    other = Prototypes(np.array([[0, 5, 0], [0, 0, 1], [0, 0, 2]], dtype=np.float32), kinds, images)
    assert likeness([one, other]) == pytest.approx(
        {"instances of a word": 0.0, "instances of two words": 0.5, "a part and its nearest instance": 1.0}
    )
