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


def test_objects_have_their_category_their_pixels_and_their_own_score() -> None:
    labels = np.array([[1, 1, 0, 1], [2, 2, 0, 1]], dtype=np.int32)
    ids = np.array([[1, 1, 0, 2], [3, 3, 0, 0]], dtype=np.int32)  # the pixel in the corner is too small for an object
    scores = np.array([[0.2, 0.4, 0.9, 0.8], [0.5, 0.7, 0.9, 0.0]], dtype=np.float32)
    found = list(Segmentation(labels, scores, scores, ids).objects())
    assert [(each.index, each.mask.sum()) for each in found] == [(0, 2), (0, 1), (1, 2)]
    assert [each.score for each in found] == pytest.approx([0.3, 0.8, 0.6])
    np.testing.assert_array_equal(found[1].mask, ids == 2)


def test_pixels_that_lost_their_label_are_in_no_object() -> None:
    """As when parts below a label's smallest area are taken away."""
    labels, scores = np.array([[0, 1, 0]], dtype=np.int32), np.ones((1, 3), dtype=np.float32)
    found = list(Segmentation(labels, scores, scores, np.array([[1, 1, 2]], dtype=np.int32)).objects())
    assert [(each.index, each.mask.tolist()) for each in found] == [(0, [[False, True, False]])]


def test_where_objects_were_not_told_apart_each_category_is_one() -> None:
    segmentation = _segmentation()
    assert [(each.index, each.score) for each in segmentation.objects()] == [
        (index, segmentation.category_score(index)) for index, _ in segmentation.found()
    ]
