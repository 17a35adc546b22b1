"""Scores of label maps, held against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from converters.errors import EvaluationError
from converters.metrics.confusion import category_ious, confusion_matrix, mean_iou

label_maps = arrays(np.uint8, (6, 7), elements=st.integers(0, 3))


@given(label_maps, label_maps)
def test_confusion_and_iou_are_those_of_scikit_learn(truth: np.ndarray, predicted: np.ndarray) -> None:
    confusion = confusion_matrix(truth, predicted, 3)
    theirs = metrics.confusion_matrix(truth.ravel(), predicted.ravel(), labels=range(4))
    assert np.array_equal(confusion, theirs)
    present = np.union1d(truth, predicted)
    jaccard = metrics.jaccard_score(truth.ravel(), predicted.ravel(), labels=present, average=None)
    assert np.allclose(category_ious(confusion)[present], jaccard)
    assert mean_iou(confusion) == pytest.approx(jaccard.mean())


def test_images_add_up_before_they_are_divided() -> None:
    first = confusion_matrix(np.array([[1, 1, 1, 0]]), np.array([[1, 1, 1, 0]]), 2)
    second = confusion_matrix(np.array([[1, 0, 0, 2]]), np.array([[0, 0, 0, 2]]), 2)
    assert category_ious(first + second).tolist() == [0.75, 0.75, 1.0]
    assert mean_iou(first + second, with_background=False) == 0.875


def test_what_never_occurs_has_no_iou_and_no_part_in_the_mean() -> None:
    confusion = confusion_matrix(np.array([[1, 1]]), np.array([[1, 0]]), 3)
    assert np.isnan(category_ious(confusion)).tolist() == [False, False, True, True]
    assert mean_iou(confusion) == 0.25
    assert np.isnan(mean_iou(np.zeros((3, 3), dtype=np.int64)))


def test_ignored_pixels_do_not_count() -> None:
    confusion = confusion_matrix(np.array([[1, 255]]), np.array([[1, 2]]), 2)
    assert confusion.sum() == 1


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([[1, 2]], [[1]], r"expected label maps of one shape, got \(1, 2\) and \(1, 1\)"),
        ([[3]], [[1]], "expected true labels from 0 to 2, got 3"),
        ([[1]], [[-1]], "expected predicted labels from 0 to 2, got -1"),
        ([[1]], [[255]], "expected predicted labels from 0 to 2, got 255"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(truth: list, predicted: list, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        confusion_matrix(np.array(truth), np.array(predicted), 2)
