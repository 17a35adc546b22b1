import numpy as np
import pytest

from ovdiff.segmentation import Segmentation


def _segmentation() -> Segmentation:
    labels = np.array([[0, 1], [1, 2]], dtype=np.int32)
    scores = np.array([[0.2, 0.4], [0.8, 1.0]], dtype=np.float32)
    return Segmentation(labels, scores, scores / 2)


def test_mask_index_zero_is_the_first_category() -> None:
    np.testing.assert_array_equal(_segmentation().mask(0), [[False, True], [True, False]])


def test_negative_index_is_refused() -> None:
    with pytest.raises(IndexError, match="-1 is negative"):
        _segmentation().mask(-1)


def test_scores_are_means_and_zero_for_an_absent_category() -> None:
    found = _segmentation()
    assert found.category_score(0) == pytest.approx(0.6)
    assert found.category_score(7) == 0.0
    assert found.image_score() == pytest.approx(0.6)


def test_only_categories_that_have_a_pixel_are_found() -> None:
    labels = np.array([[3, 0], [0, 1]], dtype=np.int32)
    found = list(Segmentation(labels, labels.astype(np.float32), labels.astype(np.float32)).found())
    assert [index for index, _ in found] == [0, 2]
    np.testing.assert_array_equal([mask for _, mask in found], [[[0, 0], [0, 1]], [[1, 0], [0, 0]]])
    assert list(Segmentation(labels * 0, np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)).found()) == []
