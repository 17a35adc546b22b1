"""Parts and holes of masks, held against scipy."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from converters.encodings.masks import (
    fill_holes,
    has_holes,
    label_parts,
    mask_box,
    mask_iou,
    part_boxes_xywh,
    remove_small_parts,
    split_parts,
)
from converters.encodings.polygons import mask_to_polygons
from converters.errors import MaskError

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24))
EIGHT = np.ones((3, 3), dtype=np.bool_)
RING = np.pad(np.zeros((2, 2), dtype=np.bool_), 3, constant_values=True)
RING = np.pad(RING, 2)


@given(masks)
def test_parts_are_numbered_as_scipy_numbers_them(mask: np.ndarray) -> None:
    for connectivity, structure in ((4, None), (8, EIGHT)):
        labels, count = label_parts(mask, connectivity=connectivity)  # type: ignore[arg-type]
        expected, expected_count = ndimage.label(mask, structure)
        assert count == expected_count
        assert np.array_equal(labels, expected)


def test_a_long_spiral_is_one_part() -> None:
    spiral = np.zeros((41, 41), dtype=np.bool_)
    for inset in range(0, 20, 2):
        spiral[inset, inset : 41 - inset] = spiral[inset : 41 - inset, 40 - inset] = True
        spiral[40 - inset, inset : 41 - inset] = spiral[inset + 2 : 41 - inset, inset] = True
        spiral[inset + 2, inset : inset + 2] = True
    assert label_parts(spiral, connectivity=4)[1] == ndimage.label(spiral)[1] == 1


@given(masks)
def test_parts_add_up_to_the_mask(mask: np.ndarray) -> None:
    parts = list(split_parts(mask))
    assert np.array_equal(sum((part.astype(int) for part in parts), np.zeros(mask.shape, int)), mask)


@given(masks)
def test_boxes_are_those_of_the_parts(mask: np.ndarray) -> None:
    expected = []
    for part in split_parts(mask):
        rows, columns = np.nonzero(part)
        x, y = columns.min(), rows.min()
        expected.append((x, y, columns.max() + 1 - x, rows.max() + 1 - y))
    assert part_boxes_xywh(mask) == expected


def test_many_parts_are_not_held_as_as_many_masks() -> None:
    dots = np.zeros((1000, 1000), dtype=np.bool_)
    dots[::20, ::20] = True
    tracemalloc.start()
    try:
        assert len(part_boxes_xywh(dots)) == 2500 == sum(part.sum() for part in split_parts(dots))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100 * dots.size


@given(masks)
def test_holes_are_filled_as_scipy_fills_them(mask: np.ndarray) -> None:
    filled = ndimage.binary_fill_holes(mask)
    assert np.array_equal(fill_holes(mask), filled)
    assert has_holes(mask) == (filled != mask).any()


@given(masks)
def test_a_box_holds_all_pixels_of_a_mask_and_no_empty_side(mask: np.ndarray) -> None:
    inside = mask[mask_box(mask)]
    assert inside.sum() == mask.sum()
    assert all(side.any() for side in (inside[:1], inside[-1:], inside[:, :1], inside[:, -1:]) if mask.any())


def test_a_small_object_takes_no_memory_of_its_large_image() -> None:
    mask = np.zeros((2000, 2000), dtype=np.bool_)
    mask[990:1010, 700:720] = True
    tracemalloc.start()
    try:
        assert not has_holes(mask)
        assert [len(ring) for ring in mask_to_polygons(mask)] == [4]
        assert tracemalloc.get_traced_memory()[1] < mask.nbytes / 10
    finally:
        tracemalloc.stop()


def test_only_small_holes_and_parts_go() -> None:
    assert np.array_equal(fill_holes(RING, max_hole_px=3), RING)
    assert fill_holes(RING, max_hole_px=4).sum() == 64
    assert not remove_small_parts(RING, min_area_px=61).any()
    assert np.array_equal(remove_small_parts(RING, min_area_px=60), RING)


def test_a_hole_at_the_border_is_no_hole() -> None:
    assert not has_holes(RING[5:])


def test_iou() -> None:
    assert mask_iou(RING, RING) == 1.0
    assert mask_iou(RING, ~RING) == 0.0
    assert mask_iou(np.zeros((2, 2), np.bool_), np.zeros((2, 2), np.bool_)) == 1.0
    assert mask_iou(np.eye(2, dtype=np.bool_), np.ones((2, 2), np.bool_)) == 0.5
    with pytest.raises(MaskError, match=r"expected masks of one shape, got \(2, 2\) and \(12, 12\)"):
        mask_iou(np.eye(2, dtype=np.bool_), RING)
