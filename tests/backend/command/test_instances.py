import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backend.command.instances import instances_of, without_small_parts
from converters.encodings.coco_rle import coco_rle_area
from ovdiff.segmentation import Segmentation


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_what_is_left_and_what_is_dropped_are_all_parts(seed: int, min_area_px: int) -> None:
    label_map = np.random.default_rng(seed).integers(0, 3, (7, 9)).astype(np.int32)
    scores = np.ones(label_map.shape, dtype=np.float32)
    before = Segmentation(label_map, scores, scores)
    after, dropped = without_small_parts(before, min_area_px)
    areas = [coco_rle_area(i.rle) for index in range(2) for i in instances_of(before, index)]
    kept = [coco_rle_area(i.rle) for index in range(2) for i in instances_of(after, index)]
    assert sorted(kept) == sorted(area for area in areas if area >= min_area_px)
    assert dropped == len(areas) - len(kept)
    assert np.array_equal(before.label_map, label_map)  # the argument stays as it was
    assert ((after.label_map == 0) | (after.label_map == label_map)).all()
