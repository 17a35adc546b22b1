"""Parts of run lengths against the parts of their masks, and what is too small."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converters.encodings.coco_rle import coco_rle_area, coco_rle_to_mask, mask_to_coco_rle
from converters.encodings.masks import remove_small_parts, split_parts
from converters.encodings.parts import coco_rle_to_parts


@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_they_are_the_parts_of_the_mask_that_are_large_enough(seed: int, min_area_px: int) -> None:
    mask = np.random.default_rng(seed).random((9, 11)) < 0.3
    found = coco_rle_to_parts(mask_to_coco_rle(mask), min_area_px)
    wanted = [part for part in split_parts(mask) if part.sum() >= min_area_px]
    assert [coco_rle_to_mask(part).tolist() for part in found.parts] == [part.tolist() for part in wanted]
    assert found.dropped == len(list(split_parts(mask))) - len(wanted)
    kept = remove_small_parts(mask, min_area_px)
    assert found.whole == (mask_to_coco_rle(kept) if kept.any() else None)


def test_a_mask_in_one_part_keeps_its_run_lengths() -> None:
    mask = np.zeros((5, 5), dtype=np.bool_)
    mask[1:3, 1:4] = True
    rle = mask_to_coco_rle(mask)
    found = coco_rle_to_parts(rle, 6)
    assert found.parts == (rle,) and found.whole is rle
    assert coco_rle_to_parts(rle, 7).whole is None


def test_a_thousand_parts_take_one_pass() -> None:
    mask = np.zeros((1000, 1000), dtype=np.bool_)
    mask[::20, ::20] = True
    found = coco_rle_to_parts(mask_to_coco_rle(mask))
    assert len(found.parts) == 2500
    assert {coco_rle_area(part) for part in found.parts} == {1}


def test_small_parts_take_no_memory_of_their_large_image_but_its_mask() -> None:
    mask = np.zeros((2000, 2000), dtype=np.bool_)
    mask[990:1010, 700:720] = mask[1100:1110, 700:720] = mask[990, 730] = True
    rle = mask_to_coco_rle(mask)
    tracemalloc.start()
    try:
        found = coco_rle_to_parts(rle, 2)
        assert [coco_rle_area(part) for part in (*found.parts, found.whole or rle)] == [400, 200, 600]
        assert tracemalloc.get_traced_memory()[1] < 2 * mask.nbytes
    finally:
        tracemalloc.stop()
