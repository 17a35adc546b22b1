"""COCO run lengths against pycocotools, and broken ones."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from converters.encodings.coco_rle import (
    box_in_image,
    box_to_coco_rle,
    coco_rle_area,
    coco_rle_bbox_xywh,
    coco_rle_intersection,
    coco_rle_to_mask,
    label_map_to_coco_rles,
    mask_to_coco_rle,
)
from converters.encodings.polygons import polygons_to_mask
from converters.errors import CocoRLEError, MaskError

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=48))
WIDE = np.tile(np.array([[False, True]]), (70_000, 1))  # counts of four digits, and differences below zero


@given(masks)
@example(np.ones((480, 640), dtype=np.bool_))
@example(np.zeros((480, 640), dtype=np.bool_))
@example(WIDE)
def test_a_mask_survives(mask: np.ndarray) -> None:
    rle = mask_to_coco_rle(mask)
    theirs = coco_mask.encode(np.asfortranarray(mask).view(np.uint8))
    assert rle == {"size": theirs["size"], "counts": theirs["counts"].decode()}
    assert rle["size"] == list(mask.shape)
    assert np.array_equal(coco_rle_to_mask(rle), mask)
    assert np.array_equal(coco_rle_to_mask({**rle, "counts": rle["counts"].encode()}), mask)
    assert np.array_equal(coco_mask.decode({**rle, "counts": rle["counts"].encode()}) > 0, mask)


@given(masks)
def test_uncompressed_counts_are_read(mask: np.ndarray) -> None:
    flat = mask.ravel(order="F")
    borders = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(borders, prepend=0, append=flat.size).tolist()
    assert np.array_equal(coco_rle_to_mask({"size": list(mask.shape), "counts": counts}), mask)


@given(masks)
def test_area_and_box_are_those_of_the_pixels(mask: np.ndarray) -> None:
    rle = mask_to_coco_rle(mask)
    assert coco_rle_area(rle) == mask.sum()
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if rows.size else [0, 0, 0, 0]
    assert coco_rle_bbox_xywh(rle) == box


def test_decoding_makes_a_c_ordered_mask_of_its_own() -> None:
    mask = coco_rle_to_mask({"size": [2, 3], "counts": [1, 2, 3]})
    assert mask.tolist() == [[False, True, False], [True, False, False]]
    assert mask.flags.c_contiguous
    assert mask.flags.writeable


BROKEN = [
    ([1, 2], "expected COCO RLE with the keys 'size' and 'counts', got list"),
    ({"size": [2, 3]}, r"got \['size'\]"),
    ({"size": 6, "counts": [6]}, r"expected 'size' to be \[height, width\], got 6"),
    ({"size": [2, 3], "counts": 6}, "expected 'counts' to be a string or a list, got int"),
    (
        {"size": [2, 3], "counts": [1, 2]},
        r"expected counts that sum to 6 \(a 3x2 image\), got 3: the RLE is cut",
    ),
    ({"size": [2, 3], "counts": []}, "expected counts that sum to 6"),
    ({"size": [2, 3], "counts": ""}, "expected counts that sum to 6"),
    ({"size": [2, 3], "counts": [7]}, "expected counts between 0 and 6, got 7: the RLE is damaged"),
    ({"size": [2, 3], "counts": [-1, 7]}, "expected counts between 0 and 6, got -1"),
    ({"size": [2, 3], "counts": [1 << 80]}, "expected counts between 0 and 6, got 4611686018427387904"),
    ({"size": [2, 3], "counts": [1.5, 4.5]}, "expected whole numbers in 'counts', got 1.5"),
    ({"size": [2, 3], "counts": [True, 5]}, "expected whole numbers in 'counts', got True"),
    ({"size": [2, 3], "counts": "é"}, "expected ASCII characters in 'counts', got 'é'"),
    ({"size": [2, 3], "counts": "1 5"}, "expected characters '0' to 'o' in 'counts', got ' ' at index 1"),
    (
        {"size": [2, 3], "counts": "1o"},
        "expected 'counts' to end with a whole number, got b'1o': it is cut short",
    ),
    ({"size": [2, 3], "counts": "oooooooo0"}, "expected numbers of at most 7 characters, got 9"),
]


@pytest.mark.parametrize(("rle", "message"), BROKEN)
def test_a_broken_rle_says_what_is_wrong(rle: object, message: str) -> None:
    with pytest.raises(CocoRLEError, match=message):
        coco_rle_to_mask(rle)  # type: ignore[arg-type]


def test_a_huge_size_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(MaskError, match="expected an image of at most 100000000 pixels, got 99999x99999"):
        coco_rle_to_mask({"size": [99_999, 99_999], "counts": [99_999 * 99_999]})


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=12))
def test_random_text_is_read_or_refused(counts: str) -> None:
    try:
        mask = coco_rle_to_mask({"size": [3, 4], "counts": counts})
    except CocoRLEError:
        return
    theirs = coco_mask.decode({"size": [3, 4], "counts": counts.encode()})
    assert np.array_equal(mask, theirs > 0)


@given(arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4)))
def test_each_label_of_a_map_is_encoded_as_its_mask_would_be(label_map: np.ndarray) -> None:
    expected = {int(label): mask_to_coco_rle(label_map == label) for label in np.unique(label_map) if label}
    assert label_map_to_coco_rles(label_map) == expected


@given(arrays(np.bool_, (5, 7)), arrays(np.bool_, (5, 7)))
def test_the_intersection_is_that_of_the_masks(first: np.ndarray, second: np.ndarray) -> None:
    shared = coco_rle_intersection(mask_to_coco_rle(first), mask_to_coco_rle(second))
    assert shared == np.count_nonzero(first & second)


def test_a_box_is_cut_at_the_borders_of_its_image_and_stands_on_its_feet() -> None:
    assert box_in_image((1.1, 2.2, 3.3, 4.4), (20, 30)) == (1.1, 2.2, 3.3, 4.4)
    assert box_in_image((-1.5, 18.0, 40.0, 5.0), (20, 30)) == (0.0, 18.0, 30.0, 2.0)
    assert box_in_image((9.0, 8.0, -4.0, -6.0), (20, 30)) == (5.0, 2.0, 4.0, 6.0)


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 3)), st.data())
def test_a_map_of_a_part_of_an_image_is_encoded_as_the_whole_would_be(part: np.ndarray, data: st.DataObject) -> None:
    top, left, below, beside = (data.draw(st.integers(0, 3)) for _ in range(4))
    whole = np.pad(part, ((top, below), (left, beside)))
    assert label_map_to_coco_rles(part, whole.shape, (top, left)) == label_map_to_coco_rles(whole)


def test_an_intersection_of_two_sizes_is_refused() -> None:
    with pytest.raises(CocoRLEError, match=r"expected two RLEs of one size, got \[5, 7\] and \[7, 5\]"):
        coco_rle_intersection(mask_to_coco_rle(np.ones((5, 7), bool)), mask_to_coco_rle(np.ones((7, 5), bool)))


edges = st.floats(-3, 14) | st.sampled_from([-1.0, 0.0, 0.5, 3.5, 4.0, 7.0, 9.0])


@given(edges, edges, st.floats(0, 14) | st.just(7.0), st.floats(0, 14) | st.just(9.0))
def test_a_box_has_the_pixels_of_its_polygon(x: float, y: float, width: float, height: float) -> None:
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
    filled = polygons_to_mask([corners], (7, 9))
    assert box_to_coco_rle((x, y, width, height), (7, 9)) == mask_to_coco_rle(filled)
