"""Boundary IoU held against scipy's erosion, its definition, and cases counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from converters.errors import EvaluationError, MaskError
from converters.metrics.boundary import (
    boundary_counts,
    boundary_iou,
    boundary_ious,
    boundary_width_px,
    mask_to_boundary,
)

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 9).map(bool))
label_maps = arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 1, 1, 2]))


@given(masks, st.integers(1, 4))
def test_a_boundary_is_what_repeated_erosion_takes_away(mask: np.ndarray, width_px: int) -> None:
    inside = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width_px, border_value=0)
    assert np.array_equal(mask_to_boundary(mask, width_px), mask & ~inside)


@given(label_maps, label_maps)
def test_counts_are_those_of_the_definition(truth: np.ndarray, predicted: np.ndarray) -> None:
    counts = boundary_counts(truth, predicted, 2, width_px=1)
    for label in (1, 2):
        ours, theirs = (mask_to_boundary(labels == label, 1) for labels in (truth, predicted))
        assert counts[:, label - 1].tolist() == [(ours & theirs).sum(), (ours | theirs).sum()]


def test_the_width_is_two_percent_of_the_diagonal_and_at_least_a_pixel() -> None:
    assert [boundary_width_px(size) for size in ((480, 640), (3, 4), (1080, 1920))] == [16, 1, 44]
    assert boundary_width_px((480, 640), dilation_ratio=0.005) == 4


def test_a_large_object_one_pixel_off_shows_in_its_boundary() -> None:
    truth = np.zeros((60, 80), dtype=np.bool_)  # diagonal 100: a boundary of 2 pixels
    truth[10:50, 10:70] = True
    moved = np.roll(truth, 1, axis=1)
    ring = 40 * 60 - 36 * 56
    shared = 36 * 2 + 4 * 59  # one column of each upright side, and the lying sides but for a column
    assert boundary_iou(truth, moved) == pytest.approx(shared / (2 * ring - shared))
    assert boundary_iou(truth, truth) == 1.0


def test_the_image_s_border_is_an_outline_too() -> None:
    full = np.ones((60, 80), dtype=np.bool_)
    assert mask_to_boundary(full, 2).sum() == 60 * 80 - 56 * 76


def test_empty_masks_agree_and_empty_categories_have_no_iou() -> None:
    empty = np.zeros((4, 5), dtype=np.bool_)
    assert boundary_iou(empty, empty) == 1.0
    ious = boundary_ious(boundary_counts(np.eye(4, dtype=int), np.eye(4, dtype=int), 2, 1))
    assert ious[0] == 1.0
    assert np.isnan(ious[1])


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"expected label maps of one shape, got \(1, 2\) and \(2, 1\)"):
        boundary_counts(np.zeros((1, 2), dtype=int), np.zeros((2, 1), dtype=int), 1, 1)
    with pytest.raises(MaskError, match=r"expected a \(H, W\) bool mask"):
        mask_to_boundary(np.zeros((2, 2), dtype=np.uint8), 1)  # type: ignore[arg-type]
